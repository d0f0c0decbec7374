package shmemtest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// A request is what stands for a signal here, beside os.Kill.
type request string

func (r request) String() string { return string(r) }
func (request) Signal()          {}

var (
	stopSignal     os.Signal = request("stop")
	continueSignal os.Signal = request("continue")
	quitSignal     os.Signal // there is none: nothing makes a process print its goroutines
)

// killedCode is the exit code of a process that this package has killed.
const killedCode = 0xdead

var (
	ntdll          = syscall.NewLazyDLL("ntdll.dll")
	suspendProcess = ntdll.NewProc("NtSuspendProcess")
	resumeProcess  = ntdll.NewProc("NtResumeProcess")
)

func prepare(*syscall.SysProcAttr) {}

// mayStartLater reports whether a process was not started for an error that passes: Wine has
// ERROR_INTERNAL_ERROR at times while it is busy.
func mayStartLater(err error) bool { return errors.Is(err, syscall.Errno(1359)) }

func signalProcess(p *os.Process, s os.Signal) error {
	err := os.ErrInvalid
	call := func(proc *syscall.LazyProc) func(uintptr) {
		return func(h uintptr) {
			if status, _, _ := proc.Call(h); status == 0 {
				err = nil
			} else {
				err = fmt.Errorf("%s: status %#x", proc.Name, status)
			}
		}
	}
	do := func(uintptr) {}
	switch s {
	case os.Kill:
		do = func(h uintptr) { err = syscall.TerminateProcess(syscall.Handle(h), killedCode) }
	case stopSignal:
		do = call(suspendProcess)
	case continueSignal:
		do = call(resumeProcess)
	}
	if e := p.WithHandle(do); e != nil {
		return e
	}
	return err
}

// signalGroup reaches the process alone: there are no groups.
func signalGroup(p *os.Process, s os.Signal) error { return signalProcess(p, s) }

func endedBy(p *os.ProcessState, s os.Signal) bool {
	return s == os.Kill && p.ExitCode() == killedCode
}

func die() {
	if self, err := syscall.GetCurrentProcess(); err == nil {
		_ = syscall.TerminateProcess(self, killedCode)
	}
}
