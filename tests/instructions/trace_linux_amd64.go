package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// The child counts in its first thread, and only one thread may trace.
func init() { runtime.LockOSThread() }

// mark stops the child where counting begins or ends. Only the child calls it.
func mark() {
	thread := uintptr(syscall.Getpid())
	_, _, _ = syscall.RawSyscall(syscall.SYS_TKILL, thread, uintptr(syscall.SIGUSR1), 0)
}

// A tracee is the child with all its threads. While instructions of the first thread are counted,
// the others are stopped, so that the runtime's monitor thread does not interrupt it.
type tracee struct {
	pid    int
	others map[int]bool // thread ids
}

// startTraced starts the child, which stops before its first instruction.
func startTraced(base string) (*exec.Cmd, *tracee, error) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), childEnv+"="+base, "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	t := &tracee{c.Process.Pid, map[int]bool{}}
	var s syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &s, syscall.WALL, nil); err != nil {
		return c, nil, err
	}
	if err := syscall.PtraceSetOptions(t.pid, syscall.PTRACE_O_TRACECLONE); err != nil {
		return c, nil, fmt.Errorf("ptrace: %w", err)
	}
	return c, t, nil
}

// trace runs the child and counts the instructions of every operation.
func trace(base string) ([]int, error) {
	c, t, err := startTraced(base)
	if c != nil {
		defer c.Process.Kill()
	}
	if err != nil {
		return nil, err
	}
	var s syscall.WaitStatus
	var all []int // between marks
	for tid, pass := t.pid, 0; ; {
		if err := syscall.PtraceCont(tid, pass); err != nil && err != syscall.ESRCH {
			return nil, fmt.Errorf("ptrace: %w", err)
		}
		var err error
		if tid, err = wait(-1, &s); err != nil {
			return nil, err
		}
		pass = 0
		switch {
		case tid == t.pid && (s.Exited() || s.Signaled()):
			if s.ExitStatus() != 0 {
				return nil, fmt.Errorf("the traced process ended with status %d", s.ExitStatus())
			}
			return perOperation(all)
		case s.Exited() || s.Signaled():
			delete(t.others, tid)
		case tid == t.pid && s.StopSignal() == syscall.SIGUSR1:
			n, err := t.count()
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		case tid != t.pid:
			t.others[tid] = true
			if sig := s.StopSignal(); sig != syscall.SIGSTOP && sig != syscall.SIGTRAP {
				pass = int(sig)
			}
		case s.StopSignal() != syscall.SIGTRAP:
			pass = int(s.StopSignal())
		}
	}
}

// wait waits until a thread stops or ends; -1 is any.
func wait(tid int, s *syscall.WaitStatus) (int, error) {
	for {
		tid, err := syscall.Wait4(tid, s, syscall.WALL, nil)
		if err == nil {
			return tid, nil
		}
		if err != syscall.EINTR {
			return 0, fmt.Errorf("wait: %w", err)
		}
	}
}

// count counts the instructions of the first thread until its next mark.
func (t *tracee) count() (n int, err error) {
	var s syscall.WaitStatus
	for tid := range t.others {
		if syscall.Tgkill(t.pid, tid, syscall.SIGSTOP) != nil {
			continue
		}
		for s = 0; !s.Stopped() || s.StopSignal() != syscall.SIGSTOP; {
			if _, err := wait(tid, &s); err != nil {
				return 0, err
			}
			if s.Stopped() && s.StopSignal() != syscall.SIGSTOP {
				_ = syscall.PtraceCont(tid, 0)
			}
		}
		defer syscall.PtraceCont(tid, 0)
	}
	for {
		if err := syscall.PtraceSingleStep(t.pid); err != nil {
			return 0, fmt.Errorf("ptrace: %w", err)
		}
		if _, err := wait(t.pid, &s); err != nil {
			return 0, err
		}
		switch {
		case !s.Stopped():
			return 0, fmt.Errorf("the traced process ended: %v", s)
		case s.StopSignal() == syscall.SIGUSR1:
			return n, nil
		}
		n++
	}
}

// perOperation returns the counts of one of each operation.
func perOperation(all []int) ([]int, error) {
	if len(all) != len(operations)*rounds*2 {
		return nil, fmt.Errorf("%d marks, want %d", len(all), len(operations)*rounds*2)
	}
	counts := make([]int, len(operations))
	for i := range counts {
		for j := range rounds {
			k := (i*rounds + j) * 2
			if c := (all[k+1] - all[k] + some/2) / some; j == 0 || c < counts[i] {
				counts[i] = c
			}
		}
	}
	return counts, nil
}
