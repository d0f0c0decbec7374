//go:build unix

package shmemtest

import (
	"os"
	"syscall"
)

var (
	stopSignal     os.Signal = syscall.SIGSTOP
	continueSignal os.Signal = syscall.SIGCONT
	quitSignal     os.Signal = syscall.SIGQUIT
)

// prepare puts the child in a new process group. A new session is one already.
func prepare(attr *syscall.SysProcAttr) {
	if !attr.Setsid {
		attr.Setpgid, attr.Pgid = true, 0
	}
	dieWithParent(attr)
}

func mayStartLater(error) bool { return false }

func signalProcess(p *os.Process, s os.Signal) error { return p.Signal(s) }

func signalGroup(p *os.Process, s os.Signal) error {
	n, ok := s.(syscall.Signal)
	if !ok {
		return os.ErrInvalid
	}
	return syscall.Kill(-p.Pid, n)
}

func endedBy(s *os.ProcessState, sig os.Signal) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == sig
}

func die() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
