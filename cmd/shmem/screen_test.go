//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// The live views in a real terminal of 80 columns.
func TestScreens(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed")
	}
	dir, err := os.MkdirTemp("/dev/shm", "screens-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(t.TempDir(), "shmem") // testscript.Main goes by the name
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := shmem.Create[Config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	tp, err := topic.Create[[1]byte]("a-topic-with-a-long-name", &topic.Options{Dir: dir, Capacity: 1 << 16, Holds: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	if _, err := tp.Subscribe(topic.Now); err != nil {
		t.Fatal(err)
	}
	for range 12_345 {
		if err := tp.TryPublish([1]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				_ = b.Update(context.Background(), func(c *Config) error { c.Limit++; return nil })
			}
		}
	}()
	socket := ""
	run := func(args ...string) string {
		out, err := exec.Command(tmux, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for verb, want := range map[string]string{
		"watch -i 100ms config": `(?s)^config  live  version \d+  \+\d+ changes/s.*\n.*Limit .*\x1b\[[0-9;]*7m\d+.* \+\d+/s\n.*Routes .*q quit`,
		"top -i 100ms":          `(?s)^shmem top.*NAME +PER SEC +TOTAL +DEPTH +LOST +HELD +WAIT +.*STATE.*config +\+\d+ +\d+.*12k/66k +0 +\S`,
	} {
		socket = filepath.Join(t.TempDir(), "tmux") // a server of its own
		run("new-session", "-d", "-s", "v", "-x", "80", "-y", "24", fmt.Sprintf("SHMEM_DIR=%s %s %s", dir, bin, verb))
		re, escapes := regexp.MustCompile(want), regexp.MustCompile(`\x1b\[[0-9;]*m`)
		var screen string
		for range 200 {
			time.Sleep(50 * time.Millisecond)
			screen = run("capture-pane", "-t", "v", "-p", "-e", "-J")
			// Reverse video is what marks a change; the other colours are left out of account.
			screen = escapes.ReplaceAllStringFunc(screen, func(s string) string {
				if strings.Contains(s, "7m") && !strings.Contains(s, "37m") && !strings.Contains(s, "47m") && !strings.Contains(s, ";5;") {
					return s
				}
				return ""
			})
			if re.MatchString(screen) {
				break
			}
		}
		if !re.MatchString(screen) {
			t.Errorf("%s shows\n%s", verb, screen)
		}
		for _, l := range strings.Split(escapes.ReplaceAllString(screen, ""), "\n") {
			if width(l) > 80 {
				t.Errorf("%s: a line of %d columns: %s", verb, width(l), l)
			}
		}
		run("send-keys", "-t", "v", "p")
		for i := 0; !strings.Contains(run("capture-pane", "-t", "v", "-p"), "PAUSED"); i++ {
			if i == 100 {
				t.Fatalf("%s does not pause", verb)
			}
			time.Sleep(20 * time.Millisecond)
		}
		// The session ends with the program, and the server with the session.
		run("send-keys", "-t", "v", "q")
		for i := 0; exec.Command(tmux, "-S", socket, "has-session", "-t", "v").Run() == nil; i++ {
			if i == 100 {
				t.Errorf("%s does not end with q", verb)
				run("kill-server")
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}
