//go:build !unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

func openFiles() (uint64, bool) { return 0, false }

var started = time.Now()

// cpuTime is the time since the start: at least the CPU time of one thread.
func cpuTime() time.Duration { return time.Since(started) }

func groupOf(fs.FileInfo) (gid uint32, ok bool) { return 0, false }

func userOf(fs.FileInfo) (uid uint32, ok bool) { return 0, false }

func setMode(uintptr, uint32) error { return errors.ErrUnsupported }

var errNoListener = errors.ErrUnsupported

func fileIDOf(fs.FileInfo) (dev, ino uint64, ok bool) { return 0, 0, false }

func endSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

var stopSignal os.Signal // there is none
