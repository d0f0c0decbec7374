package shmemtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nestedLinux are the faults that are looked for on Linux.
func nestedLinux(t *testing.T) {
	switch nested {
	case "fd":
		if _, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	case "map", "memfd":
		f, err := os.OpenFile(memory, os.O_RDWR|0o20000000|syscall.O_DIRECTORY, 0o600) // O_TMPFILE
		if nested == "memfd" || err != nil {
			f, err = os.Create(filepath.Join(Dir(t), "mapped"))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if err := f.Truncate(4096); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
			t.Fatal(err)
		}
	case "zombie":
		if err := exec.Command("true").Start(); err != nil {
			t.Fatal(err)
		}
	case "orphan":
		if !adopting {
			t.Fatal("orphans are not seen here: sleep (state S)")
		}
		if err := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 &").Run(); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("no such fault: %s", nested)
	}
}

// alive is false for a zombie: it holds nothing any more, and where orphans are
// not adopted its reaping is up to the init process.
func alive(pid int) bool {
	s, ok := readStat("/proc/" + strconv.Itoa(pid) + "/stat")
	return ok && s.state != "Z"
}

func goesAway(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// The end of a test takes what its children started.
func TestCleanupTakesTheGroup(t *testing.T) {
	outer(t)
	var pid int
	t.Run("in", func(t *testing.T) {
		c := Start(t, "echo")
		pid, _ = strconv.Atoi(strings.TrimPrefix(c.Ask(t, "sleep"), "sleep "))
		c.Kill()
		if !alive(pid) {
			t.Error("Kill killed the child's child")
		}
	})
	if pid == 0 || alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
}

// A killed test process takes its children along: those of its own by
// PR_SET_PDEATHSIG, others as they read the end of their input.
func TestParentIsKilled(t *testing.T) {
	outer(t)
	c := Start(t, "parent")
	pid, _ := strconv.Atoi(c.Expect(t, "child"))
	if !alive(pid) {
		t.Fatalf("process %d is not there", pid)
	}
	c.Kill()
	if !adopting {
		goesAway(t, pid)
		return
	}
	// This process is its parent now, and it ends by itself.
	var ws syscall.WaitStatus
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, err := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil); err != nil {
			t.Fatal(err)
		} else if got == pid {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
	if !ws.Exited() || ws.ExitStatus() != 0 {
		t.Errorf("it ended with %v", ws)
	}
	goesAway(t, pid)
}

func TestPdeathsig(t *testing.T) {
	outer(t)
	attr := &syscall.SysProcAttr{}
	prepare(attr)
	if attr.Pdeathsig != syscall.SIGKILL || !attr.Setpgid {
		t.Errorf("%+v", attr)
	}
}

func TestWrap(t *testing.T) {
	outer(t)
	for _, wrap := range [][]string{
		{"env", "SHMEMTEST_X=wrapped"},
		{"env", "-i", "SHMEMTEST_X=wrapped"}, // The role does not hang on the environment.
		{"sh", "-c", `SHMEMTEST_X=wrapped "$0" "$@"; exit $?`},
	} {
		c := Command{Role: "echo", Wrap: wrap}.Start(t)
		if got := c.Ask(t, "env SHMEMTEST_X"); got != "env wrapped" {
			t.Errorf("%q: %q", wrap, got)
		}
		pid, _ := strconv.Atoi(strings.TrimPrefix(c.Ask(t, "pid"), "pid "))
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		c.Kill()
		if err := c.Wait(); !Killed(err) {
			t.Errorf("%q: %v", wrap, err)
		}
		if alive(pid) {
			t.Errorf("%q: the child is still there after Kill", wrap)
		}
	}
}

func TestWrapUnshare(t *testing.T) {
	outer(t)
	wrap := []string{"unshare", "-p", "-f"}
	if out, err := exec.Command(wrap[0], append(wrap[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("unshare: %v: %s", err, bytes.TrimSpace(out))
	}
	c := Command{Role: "echo", Wrap: wrap}.Start(t)
	if got := c.Ask(t, "pid"); got != "pid 1" {
		t.Errorf("got %q, want pid 1", got)
	}
	c.Kill()
	if err := c.Wait(); !Killed(err) {
		t.Errorf("Wait: %v", err)
	}

	if os.Getenv(WrapEnv) != "" {
		t.Skip("an emulator does not clone into namespaces")
	}
	c = Command{Role: "echo", SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}}.Start(t)
	if got := c.Ask(t, "pid"); got != "pid 1" {
		t.Errorf("got %q, want pid 1", got)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestWrapEnv(t *testing.T) {
	outer(t)
	t.Setenv(WrapEnv, "env  SHMEMTEST_X=both "+os.Getenv(WrapEnv))
	c := Command{Role: "echo", Wrap: []string{"env", "SHMEMTEST_Y=y"}}.Start(t)
	if got := c.Ask(t, "env SHMEMTEST_X"); got != "env both" {
		t.Errorf("got %q", got)
	}
	if got := c.Ask(t, "env SHMEMTEST_Y"); got != "env y" {
		t.Errorf("got %q", got)
	}
}

func TestKilledBySelf(t *testing.T) {
	outer(t)
	c := Start(t, "echo")
	if err := c.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); !Killed(err) {
		t.Errorf("Wait: %v", err)
	}
	c = Start(t, "echo")
	c.Ask(t, "say ready")
	if err := c.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || Killed(err) {
		t.Errorf("Wait after SIGTERM: %v", err)
	}
}

// The directories of a test process that was killed are removed by the next,
// those of a living one are not.
func TestMakeBase(t *testing.T) {
	outer(t)
	a, lock, err := makeBase()
	if err != nil {
		t.Skip(err)
	}
	b, lock2, err := makeBase()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(b)
	defer lock2.Close()
	if _, err := os.Stat(a); err != nil {
		t.Errorf("the directory of a living process: %v", err)
	}
	lock.Close()
	c, lock3, err := makeBase()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(c)
	defer lock3.Close()
	if _, err := os.Stat(a); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of a dead process: %v", err)
		os.Remove(a)
	}
	if _, err := os.Stat(b); err != nil {
		t.Errorf("the directory of a living process: %v", err)
	}
}

func TestDirIsInMemory(t *testing.T) {
	outer(t)
	var st syscall.Statfs_t
	if err := syscall.Statfs(memory, &st); err != nil || uint64(st.Type)&0xffffffff != tmpfsMagic {
		t.Skip("no tmpfs at " + memory)
	}
	if d := Dir(t); !strings.HasPrefix(d, memory+"/") {
		t.Error(d)
	}
}

func TestReadStat(t *testing.T) {
	outer(t)
	path := filepath.Join(t.TempDir(), "stat")
	if err := os.WriteFile(path, []byte("12 (a) (b c) T 3 4 5 0 -1 "), 0o600); err != nil {
		t.Fatal(err)
	}
	got, ok := readStat(path)
	if want := (stat{12, 3, 4, 5, "a) (b c", "T"}); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
}

func TestFindMemory(t *testing.T) {
	outer(t)
	if d, err := findMemory("/proc", "/nowhere", "", memory); d != memory || err != nil {
		t.Errorf("%q, %v", d, err)
	}
	_, err := findMemory("/proc", "/nowhere")
	if err == nil || !strings.Contains(err.Error(), "/proc is not a tmpfs") || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
