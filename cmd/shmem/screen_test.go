//go:build linux

package main

import (
	"context"
	"fmt"

	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// TestScreens shows the live views in a real terminal of 80 columns: what they show, that they
// pause, and that they end.
func TestScreens(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed")
	}
	dir, bin := interruptible(t)
	crowd(t, dir)
	for verb, want := range map[string]string{
		"watch -i 100ms config": `(?s)^config  live  version \d+  \+\d+ changes/s.*\n.*Limit .*\x1b\[[0-9;]*7m\d+.* \+\d+/s\n.*Routes .*q quit`,
		"top -i 100ms":          `(?s)^shmem top.*NAME +PER SEC +TOTAL +DEPTH +LOST +HELD +WAIT +.*STATE.*config +\+\d+ +\d+.*12k/66k +0 +\S`,
	} {
		term := &terminal{t: t, tmux: tmux, socket: filepath.Join(t.TempDir(), "tmux")} // a server of its own
		term.run("new-session", "-d", "-s", "v", "-x", "80", "-y", "24",
			fmt.Sprintf("SHMEM_DIR=%s %s %s", dir, bin, verb))
		re, screen := regexp.MustCompile(want), ""
		if !eventually(func() bool { screen = term.marked(); return re.MatchString(screen) }) {
			t.Errorf("%s shows\n%s", verb, screen)
		}
		for _, l := range strings.Split(escapes.ReplaceAllString(screen, ""), "\n") {
			if width(l) > 80 {
				t.Errorf("%s: a line of %d columns: %s", verb, width(l), l)
			}
		}
		term.run("send-keys", "-t", "v", "p")
		if !eventually(func() bool { return strings.Contains(term.marked(), "PAUSED") }) {
			t.Fatalf("%s does not pause", verb)
		}
		term.run("send-keys", "-t", "v", "q")
		if !eventually(term.gone) {
			t.Errorf("%s does not end with q", verb)
			term.run("kill-server")
		}
	}
}

// crowd makes a box that changes all the time, and a topic with a subscriber that is far behind.
func crowd(t *testing.T, dir string) {
	b, err := shmem.Create[Config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	tp, err := topic.Create[[1]byte]("a-topic-with-a-long-name",
		&topic.Options{Dir: dir, Capacity: 1 << 16, Holds: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tp.Subscribe(topic.Now); err != nil {
		t.Fatal(err)
	}
	for range 12_345 {
		if err := tp.TryPublish([1]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = b.Update(ctx, func(c *Config) error { c.Limit++; return nil })
			time.Sleep(2 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = b.Close()
		_ = tp.Close()
	})
}

// A terminal is a session of tmux with one program. The session ends with the program, and the
// server with the session.
type terminal struct {
	t            *testing.T
	tmux, socket string
}

func (e *terminal) run(args ...string) string {
	e.t.Helper()
	out, err := exec.Command(e.tmux, append([]string{"-S", e.socket, "-f", "/dev/null"},
		args...)...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// gone reports whether the session has ended.
func (e *terminal) gone() bool {
	return exec.Command(e.tmux, "-S", e.socket, "has-session", "-t", "v").Run() != nil
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// marked returns what is on the screen. Of the escape sequences it keeps reverse video, which marks
// a change; colours are removed.
func (e *terminal) marked() string {
	return escapes.ReplaceAllStringFunc(e.run("capture-pane", "-t", "v", "-p", "-e", "-J"),
		func(s string) string {
			if strings.Contains(s, "7m") && !strings.Contains(s, "37m") &&
				!strings.Contains(s, "47m") && !strings.Contains(s, ";5;") {
				return s
			}
			return ""
		})
}

// eventually polls a condition for up to 10 s.
func eventually(cond func() bool) bool {
	for range 200 {
		if cond() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}
