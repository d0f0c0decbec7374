//go:build !linux

package shmemtest

import (
	"os"
	"syscall"
)

func adoptOrphans() {}

func dieWithParent(*syscall.SysProcAttr) {}

// killGroup does nothing: where orphans are not adopted the id may belong to another group by now.
func killGroup(int) {}

func stopped(int, bool) bool { return true }

func leftProcesses() []string { return nil }
func endProcesses()           {}
func openFiles() []string     { return nil }
func mappedFiles() []string   { return nil }

// makeBase makes this process's directory. What a process that was killed leaves there takes no
// memory.
func makeBase() (string, *os.File, error) {
	path, err := os.MkdirTemp("", "shmemtest-")
	if err != nil {
		return "", nil, err
	}
	lock, err := os.Open(os.DevNull) // there is nothing to be locked
	return path, lock, err
}
