//go:build !unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

func openFiles() (uint64, bool) { return 0, false }

func groupOf(fs.FileInfo) (gid uint32, ok bool) { return 0, false }

func fileIDOf(fs.FileInfo) (dev, ino uint64, ok bool) { return 0, 0, false }

func endSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

var stopSignal os.Signal // there is none
