package shmemtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nested names what a test binary started by TestMainCatches does wrong.
var nested = os.Getenv("SHMEMTEST_NESTED")

func TestMain(m *testing.M) {
	roles := []Role{
		{Name: "echo", Run: echo},
		{Name: "counter", Run: counter},
		{Name: "stuck", Run: stuck, Optional: true}, // only nested
		{Name: "parent", Run: parent, Optional: runtime.GOOS != "linux"},
	}
	if nested == "unused" {
		roles = append(roles[:0], Role{Name: "ghost", Run: echo}, Role{Name: "guest", Run: echo, Optional: true})
	}
	Main(m, roles...)
}

// outer skips in a nested test binary.
func outer(t *testing.T) {
	if nested != "" {
		t.Skip("nested")
	}
}

func echo(c *Conn) error {
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "say":
			c.Send("%s", rest)
		case "lines":
			c.Send("%s", "a\nb\n")
		case "args":
			c.Send("args %q", c.Args())
		case "env":
			c.Send("env %s", os.Getenv(rest))
		case "pid":
			c.Send("pid %d", os.Getpid())
		case "print":
			fmt.Println(rest)
			c.Send("printed")
		case "fail":
			return errors.New(rest)
		case "exit":
			return nil
		case "flood":
			n, _ := strconv.Atoi(rest)
			for i := range n {
				c.Send("flood %d", i)
			}
		case "sleep": // in a process of its own
			cmd := exec.Command("sleep", "1000")
			cmd.Stdout, cmd.Stderr = nil, os.Stderr
			if err := cmd.Start(); err != nil {
				return err
			}
			c.Send("sleep %d", cmd.Process.Pid)
		}
	}
}

// counter is the one of the package's documentation.
func counter(c *Conn) error {
	path := c.Args()[0]
	for n := 1; ; n++ {
		line, err := c.Recv()
		if err != nil {
			return err // io.EOF: leave
		}
		if line != "add" {
			return fmt.Errorf("what is %q?", line)
		}
		if err := os.WriteFile(path, fmt.Append(nil, n), 0o600); err != nil {
			return err
		}
		c.Send("count %d", n)
	}
}

func stuck(c *Conn) error {
	c.Send("stuck")
	hereItHangs()
	return nil
}

//go:noinline
func hereItHangs() { time.Sleep(time.Hour) }

// parent starts an echo and tells its process id.
func parent(c *Conn) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv := append(strings.Fields(os.Getenv(WrapEnv)), self, argPrefix+"echo")
	cmd := exec.Command(argv[0], argv[1:]...)
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.Send("child %d", cmd.Process.Pid)
	_, err = c.Recv()
	return err
}

func TestCounterIsKilled(t *testing.T) {
	outer(t)
	path := filepath.Join(Dir(t), "n")
	c := Start(t, "counter", path)
	c.Send("add")
	c.Send("add")
	c.Expect(t, "count 1")
	c.Expect(t, "count 2")
	c.Kill()
	if got, _ := os.ReadFile(path); string(got) != "2" {
		t.Errorf("after the kill the file holds %q, want 2", got)
	}
	os.Remove(path)
}

func TestTalk(t *testing.T) {
	outer(t)
	c := Command{Role: "echo", Args: []string{"a b", "", "ü\n"}, Env: []string{"SHMEMTEST_X=y z"}}.Start(t)
	for _, q := range [][2]string{
		{"args", `args ["a b" "" "ü\n"]`},
		{"env SHMEMTEST_X", "env y z"},
		{"pid", fmt.Sprintf("pid %d", c.Pid())},
		{"say ", ""},
		{"say  two  spaces ", " two  spaces "},
		{"say one\ntwo", `one\ntwo`},
		{"lines", `a\nb`},
		{"print this goes to the log", "printed"},
	} {
		if got := c.Ask(t, "%s", q[0]); got != q[1] {
			t.Errorf("%q: got %q, want %q", q[0], got, q[1])
		}
	}
	c.Send("flood 20000")
	for i := range 20000 {
		if got := c.Expect(t, "flood"); got != strconv.Itoa(i) {
			t.Fatalf("flood %s, want %d", got, i)
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("Recv after the end: %v", err)
	}
	if err := c.Send("say"); err == nil {
		t.Error("Send after the end: no error")
	}
	if err := c.Signal(os.Kill); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end: %v", err)
	}
	c.Kill()
}

func TestExit(t *testing.T) {
	outer(t)
	c := Start(t, "echo")
	c.Send("fail on purpose")
	x, ok := errors.AsType[*exec.ExitError](c.Wait())
	if !ok || x.ExitCode() != 1 || Killed(x) {
		t.Errorf("Wait after an error: %v", x)
	}
	if _, err := c.Recv(); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("Recv: %v", err)
	}
	c = Start(t, "echo")
	c.Send("exit")
	if err := c.Wait(); err != nil {
		t.Errorf("Wait: %v", err)
	}
	c = Start(t, "echo")
	c.Kill()
	if err := c.Wait(); err == nil || Killed(err) != (runtime.GOOS != "windows") {
		t.Errorf("Wait after Kill: %v", err)
	}
}

func TestStop(t *testing.T) {
	outer(t)
	c := Start(t, "echo")
	c.Ask(t, "say x")
	if err := c.Stop(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	c.Send("say y")
	if line, err := c.out.get(50 * time.Millisecond); err == nil {
		t.Errorf("a stopped child said %q", line)
	}
	if err := c.Continue(); err != nil {
		t.Fatal(err)
	}
	c.Expect(t, "y")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if err := c.Wait(); !Killed(err) {
		t.Errorf("Wait after Kill of a stopped child: %v", err)
	}
	if err := c.Stop(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Stop after the end: %v", err)
	}
}

func TestStartManyAtOnce(t *testing.T) {
	outer(t)
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			for range 3 {
				c := Start(t, "echo")
				c.Ask(t, "say x")
				c.Kill()
			}
			Start(t, "echo")
		})
	}
}

func TestDir(t *testing.T) {
	outer(t)
	var a, b string
	t.Run("in", func(t *testing.T) {
		a, b = Dir(t), Dir(t)
		if a == b {
			t.Errorf("the same directory twice: %s", a)
		}
		if e, err := os.ReadDir(a); err != nil || len(e) != 0 {
			t.Errorf("not empty: %v %v", e, err)
		}
	})
	for _, d := range []string{a, b} {
		if _, err := os.Stat(d); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", d, err)
		}
	}
}

// again runs this test binary with a fault built in.
func again(t *testing.T, fault string, args ...string) (output string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append(strings.Fields(os.Getenv(WrapEnv)), self), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "SHMEMTEST_NESTED="+fault)
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestMainCatches(t *testing.T) {
	outer(t)
	for _, c := range []struct {
		fault     string
		linux     bool
		want, not string
	}{
		{"none", false, "", "shmemtest:"},
		{"unused", false, `role "ghost" was never started`, "guest"},
		{"unknown", false, "start missing: no such role", ""},
		{"fd", true, "file descriptor left open: ", ""},
		{"map", true, "mapping left: ", ""},
		{"memfd", true, "mapping left: ", ""},
		{"zombie", true, "ended, not waited for", ""},
		{"orphan", true, " sleep (state S)", ""},
		{"file", false, "forgotten (-rw", ""},
		{"recv", false, "waited 200ms for a line", ""},
		{"wait", false, "waited 200ms for its end", ""},
		{"expect", false, `got line "yes", want "no"`, ""},
		{"dead", false, "exit status 1", ""},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			if c.linux && runtime.GOOS != "linux" {
				t.Skip("looked for on Linux only")
			}
			args := []string{"-test.run=^TestNested$"}
			if c.fault == "unused" {
				args = nil
			}
			out, err := again(t, c.fault, args...)
			if (err == nil) != (c.want == "") {
				t.Errorf("the tests ended with %v, and said\n%s", err, out)
			}
			if !strings.Contains(out, c.want) || c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("want %q in the output, and not %q:\n%s", c.want, c.not, out)
			}
			if (c.fault == "recv" || c.fault == "wait") && stopSignal != nil {
				for _, s := range []string{"hereItHangs", "< stuck", "stuck["} {
					if !strings.Contains(out, s) {
						t.Errorf("no %q in the output:\n%s", s, out)
					}
				}
			}
		})
	}
}

func TestNested(t *testing.T) {
	switch nested {
	case "":
		t.Log("only for TestMainCatches")
		return
	case "none":
		Start(t, "echo").Ask(t, "say x")
		os.Remove(filepath.Join(Dir(t), "x"))
	case "unused":
	case "unknown":
		Start(t, "missing")
	case "file":
		d := Dir(t)
		if err := os.WriteFile(filepath.Join(d, "forgotten"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	case "recv", "wait":
		c := Command{Role: "stuck", Limit: 200 * time.Millisecond}.Start(t)
		for { // The limit is short for a loaded machine to start a process in.
			line, err := c.out.get(0)
			if err != nil || line == "stuck" {
				break
			}
		}
		if nested == "recv" {
			if _, err := c.Recv(); err == nil {
				t.Error("a line came")
			}
		} else if err := c.Wait(); err == nil {
			t.Error("it ended well")
		}
	case "expect":
		c := Start(t, "echo")
		c.Send("say yes")
		c.Expect(t, "no")
	case "dead":
		c := Start(t, "echo")
		c.Send("fail")
		c.Expect(t, "yes")
	default:
		nestedLinux(t)
	}
}

func TestExpectMatchesWords(t *testing.T) {
	outer(t)
	c := Start(t, "echo")
	for _, q := range [][3]string{
		{"value 1", "value 1", ""},
		{"value 1 and more", "value 1", "and more"},
		{"value 1", "value", "1"},
	} {
		c.Send("say %s", q[0])
		if got := c.Expect(t, q[1]); got != q[2] {
			t.Errorf("Expect(%q) of %q = %q, want %q", q[1], q[0], got, q[2])
		}
	}
}
