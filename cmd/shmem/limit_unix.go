//go:build unix

package main

import (
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// openFiles is how many files this process may have open.
func openFiles() (uint64, bool) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0, false
	}
	return uint64(r.Cur), true
}

// cpuTime is the CPU time that this process has taken.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// groupOf is the group of a file.
func groupOf(st fs.FileInfo) (gid uint32, ok bool) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Gid, true
	}
	return 0, false
}

// userOf is the owner of a file.
func userOf(st fs.FileInfo) (uid uint32, ok bool) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Uid, true
	}
	return 0, false
}

// setMode sets the mode of what a descriptor leads to. For a socket without a name only Linux can.
func setMode(fd uintptr, mode uint32) error { return syscall.Fchmod(int(fd), mode) }

// errNoListener is the error of a connection to a socket that no process listens at.
const errNoListener = syscall.ECONNREFUSED

// fileIDOf is what identifies a file.
func fileIDOf(st fs.FileInfo) (dev, ino uint64, ok bool) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev), uint64(s.Ino), true
	}
	return 0, 0, false
}

// endSignals are those that end a command. One that was ignored from the start, as nohup does it
// with SIGHUP, is left out.
func endSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// stopSignal is what Ctrl-Z sends.
var stopSignal os.Signal = syscall.SIGTSTP
