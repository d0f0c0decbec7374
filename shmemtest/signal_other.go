//go:build !unix && !windows

package shmemtest

import (
	"os"
	"syscall"
)

// These systems have no signals except os.Kill.
var stopSignal, continueSignal, quitSignal os.Signal

func prepare(*syscall.SysProcAttr) {}

func mayStartLater(error) bool { return false }

func signalProcess(p *os.Process, s os.Signal) error { return p.Signal(s) }

func signalGroup(p *os.Process, s os.Signal) error { return p.Signal(s) }

func endedBy(*os.ProcessState, os.Signal) bool { return false }

func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
}
