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
		term := &tmuxTerminal{t: t, tmux: tmux, socket: filepath.Join(t.TempDir(), "tmux")} // a server of its own
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

// TestTopKeys: in top a row can be selected, the table filtered, and one segment shown in full; in
// all widths no line is too long.
func TestTopKeys(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed")
	}
	dir, bin := interruptible(t)
	crowd(t, dir)
	for _, columns := range []int{40, 80, 200} {
		term := &tmuxTerminal{t: t, tmux: tmux, socket: filepath.Join(t.TempDir(), "tmux")}
		term.run("new-session", "-d", "-s", "v", "-x", fmt.Sprint(columns), "-y", "24",
			fmt.Sprintf("SHMEM_DIR=%s %s top --sort name -i 100ms", dir, bin))
		shows := func(want string) {
			t.Helper()
			screen, re := "", regexp.MustCompile(want)
			if !eventually(func() bool { screen = term.plain(); return re.MatchString(screen) }) {
				t.Fatalf("%d columns: no %s in\n%s", columns, want, screen)
			}
		}
		keys := func(keys ...string) {
			t.Helper()
			term.run(append([]string{"send-keys", "-t", "v"}, keys...)...)
		}
		shows(`(?m)^›a-topic(.*\n)+ config.* live`)
		keys("Down")
		shows(`(?m)^›config.* live`)
		keys("/")
		shows("filter _")
		keys("-l", "topicz")
		shows("filter topicz_")
		keys("BSpace")
		shows(`filter topic_(.*\n)+›a-topic`)
		if strings.Contains(term.plain(), "config") {
			t.Errorf("config passes the filter:\n%s", term.plain())
		}
		keys("Enter")
		shows("filter topic\n")
		keys("Enter")
		shows(`(?s)a-topic-with-a-long-name  live.*fate .*Esc|(?s)a-topic-with-a-long-name  live.*fate .*q quit`)
		for _, l := range strings.Split(term.plain(), "\n") {
			if width(l) > columns {
				t.Errorf("a line of %d columns of %d: %s", width(l), columns, l)
			}
		}
		keys("Escape")
		shows("PER SEC")
		keys("Escape")
		shows("(?m)^.config")
		keys("q")
		if !eventually(term.gone) {
			t.Errorf("it does not end with q")
			term.run("kill-server")
		}
	}
}

// plain returns what is on the screen, without colours.
func (e *tmuxTerminal) plain() string { return e.run("capture-pane", "-t", "v", "-p") }

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

// A tmuxTerminal is a session of tmux with one program. The session ends with the program, and the
// server with the session.
type tmuxTerminal struct {
	t            *testing.T
	tmux, socket string
}

func (e *tmuxTerminal) run(args ...string) string {
	e.t.Helper()
	out, err := exec.Command(e.tmux, append([]string{"-S", e.socket, "-f", "/dev/null"},
		args...)...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// gone reports whether the session has ended.
func (e *tmuxTerminal) gone() bool {
	return exec.Command(e.tmux, "-S", e.socket, "has-session", "-t", "v").Run() != nil
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// marked returns what is on the screen. Of the escape sequences it keeps reverse video, which marks
// a change; colours are removed.
func (e *tmuxTerminal) marked() string {
	return escapes.ReplaceAllStringFunc(e.run("capture-pane", "-t", "v", "-p", "-e", "-J"),
		func(s string) string {
			if strings.Contains(s, "7m") && !strings.Contains(s, "37m") &&
				!strings.Contains(s, "47m") && !strings.Contains(s, ";5;") {
				return s
			}
			return ""
		})
}

// eventually polls a condition for up to a minute: the machine may be loaded.
func eventually(cond func() bool) bool {
	for range 1200 {
		if cond() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// TestTerminalComesBack: whatever ends or stops a live view, the terminal is as it was before.
func TestTerminalComesBack(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("tmux is not installed")
	}
	dir, bin := interruptible(t)
	crowd(t, dir)
	for _, verb := range []string{"top -i 100ms", "watch -i 100ms config"} {
		term := &tmuxTerminal{t: t, tmux: tmux, socket: filepath.Join(t.TempDir(), "tmux")}
		term.run("new-session", "-d", "-s", "v", "-x", "80", "-y", "24", "-e", "SHMEM_DIR="+dir,
			"bash --norc --noprofile")
		line := func(text string) {
			term.run("send-keys", "-t", "v", "-l", text)
			term.run("send-keys", "-t", "v", "Enter")
		}
		n := 0
		settings := func() string {
			n++
			line(fmt.Sprintf(`clear; echo "is%d: $(stty -a | cksum) code: $code"`, n))
			re, got := regexp.MustCompile(fmt.Sprintf(`is%d: (\d+ \d+) code: (\d*)\n`, n)), []string(nil)
			eventually(func() bool { got = re.FindStringSubmatch(term.marked()); return got != nil })
			if got == nil {
				t.Fatalf("no answer:\n%s", term.marked())
			}
			return got[1] + " " + got[2]
		}
		line("code=0")
		before, _, _ := strings.Cut(settings(), "  ")
		view := func() bool {
			return eventually(func() bool { return term.flags() == "1 0" && strings.Contains(term.marked(), "q quit") })
		}
		back := func(how, code string) {
			t.Helper()
			// What is typed before the shell is in front again, the command may read.
			if !eventually(func() bool { return term.flags() == "0 1" && term.front() == "bash" }) {
				t.Errorf("%s, %s: the screen has alternate and cursor %s", verb, how, term.flags())
			}
			if got, want := settings(), strings.Fields(before)[0]+" "+strings.Fields(before)[1]+" "+code; got != want {
				t.Errorf("%s, %s: settings and code %s, want %s", verb, how, got, want)
			}
		}
		for _, end := range []struct{ how, code string }{
			{"HUP", "129"}, {"INT", "0"}, {"QUIT", "131"}, {"TERM", "143"},
		} {
			line(bin + " " + verb + "; code=$?")
			if !view() {
				t.Fatalf("%s does not begin:\n%s", verb, term.marked())
			}
			pid := term.foreground()
			if err := exec.Command("kill", "-"+end.how, pid).Run(); err != nil {
				t.Fatal(err)
			}
			back(end.how, end.code)
		}
		// Ctrl-Z, and in the foreground again
		line("code=0; " + bin + " " + verb)
		if !view() {
			t.Fatalf("%s does not begin:\n%s", verb, term.marked())
		}
		for range 2 {
			term.run("send-keys", "-t", "v", "C-z")
			back("Ctrl-Z", "0")
			line("fg")
			if !view() {
				t.Fatalf("%s does not go on:\n%s", verb, term.marked())
			}
		}
		term.run("send-keys", "-t", "v", "q")
		back("q", "0")
		term.run("kill-server")
	}
}

// front is the name of the program that has the terminal.
func (e *tmuxTerminal) front() string {
	return strings.TrimSpace(e.run("display-message", "-p", "-t", "v", "#{pane_current_command}"))
}

// flags says whether the alternate screen is on, and whether the cursor is shown.
func (e *tmuxTerminal) flags() string {
	return strings.TrimSpace(e.run("display-message", "-p", "-t", "v",
		"#{alternate_on} #{cursor_flag}"))
}

// foreground is the pid of the program that the shell has started.
func (e *tmuxTerminal) foreground() string {
	shell := strings.TrimSpace(e.run("display-message", "-p", "-t", "v", "#{pane_pid}"))
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", shell).Output()
	if err != nil {
		e.t.Fatal(err)
	}
	pids := strings.Fields(string(out))
	return pids[len(pids)-1]
}
