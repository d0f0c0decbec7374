package calls

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
)

// childEnv holds the directory of the child.
const childEnv = "SHMEM_CALLS_DIR"

// rounds is how often each operation is counted. The least counts: the runtime of Go makes calls of
// its own now and then.
const rounds = 8

type number struct{ N int64 }

// An operation is what is counted, with the calls that it is to make.
type operation struct {
	name string
	want string
}

var operations = []operation{
	{"Open", "openat fstat geteuid mmap fcntl pread64 newfstatat fcntl fcntl pwrite64 fcntl"},
	{"Close", "fcntl fcntl mmap close"},
	{"Open of a new box", "openat geteuid openat fstat fallocate mmap fcntl pwrite64 linkat"},
	{"Close of the only one", "fcntl pread64 pwrite64 newfstatat unlinkat fcntl mmap close"},
}

// names are the calls that count. The others are those of Go's runtime.
var names = map[uint64]string{
	3: "close", 5: "fstat", 9: "mmap", 10: "mprotect", 11: "munmap", 17: "pread64", 18: "pwrite64",
	72: "fcntl", 87: "unlink", 107: "geteuid", 91: "fchmod", 137: "statfs", 138: "fstatfs", 257: "openat",
	262: "newfstatat", 263: "unlinkat", 265: "linkat", 285: "fallocate",
}

// The child makes the counted calls in its first thread, and only one thread may trace.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// mark stops the child where counting begins or ends.
func mark() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_TKILL, uintptr(syscall.Getpid()), uintptr(syscall.SIGUSR1), 0)
}

// child opens and closes a box that another attachment has, and one that no other has.
func child(dir string) error {
	o := &shmem.Options{Dir: dir}
	owner, err := shmem.Open[number]("calls", o)
	if err != nil {
		return err
	}
	for range rounds {
		for _, name := range []string{"calls", "new"} {
			mark()
			b, err := shmem.Open[number](name, o)
			mark()
			if err != nil {
				return err
			}
			mark()
			err = b.Close()
			mark()
			if err != nil {
				return err
			}
		}
	}
	return owner.Close()
}

// TestCalls counts the calls of opening and closing a box that exists, and a new one.
func TestCalls(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "calls-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	all, err := trace(dir)
	if errors.Is(err, syscall.EPERM) {
		t.Logf("this machine lets no process trace another: %v", err)
		return
	}
	if err != nil || len(all) != rounds*len(operations) {
		t.Fatalf("%d counts, %v", len(all), err)
	}
	for i, op := range operations {
		var least []string
		for r := range rounds {
			if got := all[r*len(operations)+i]; r == 0 || len(got) < len(least) {
				least = got
			}
		}
		t.Logf("%s: %d calls: %s", op.name, len(least), strings.Join(least, " "))
		if got := strings.Join(least, " "); got != op.want {
			t.Errorf("%s makes the calls\n%s, want\n%s", op.name, got, op.want)
		}
	}
}

// trace runs the child, and returns the calls between each two marks.
func trace(dir string) (all [][]string, err error) {
	runtime.LockOSThread() // the thread that starts the child traces it
	defer runtime.UnlockOSThread()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), childEnv+"="+dir, "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, err
	}
	defer c.Process.Kill()
	pid := c.Process.Pid
	var s syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &s, 0, nil); err != nil {
		return nil, err
	}
	const sysgood = 1 // PTRACE_O_TRACESYSGOOD
	if err := syscall.PtraceSetOptions(pid, sysgood); err != nil {
		return nil, err
	}
	counting, entry, pass := false, true, 0
	var calls []string
	for {
		if err := syscall.PtraceSyscall(pid, pass); err != nil {
			return nil, err
		}
		if _, err := syscall.Wait4(pid, &s, 0, nil); err != nil {
			return nil, err
		}
		pass = 0
		switch {
		case s.Exited() && s.ExitStatus() == 0:
			return all, nil
		case !s.Stopped():
			return nil, fmt.Errorf("the child ended: %v", s)
		case s.StopSignal() == syscall.SIGTRAP|0x80:
			if entry && counting {
				var regs syscall.PtraceRegs
				if err := syscall.PtraceGetRegs(pid, &regs); err != nil {
					return nil, err
				}
				if name := names[regs.Orig_rax]; name != "" {
					calls = append(calls, name)
				}
			}
			entry = !entry
		case s.StopSignal() == syscall.SIGUSR1:
			if counting {
				all = append(all, calls)
			}
			counting, calls = !counting, nil
		default:
			pass = int(s.StopSignal())
		}
	}
}
