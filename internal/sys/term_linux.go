package sys

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TerminalSize returns the size of the terminal that fd is open on, 0 if it does not know it; ok
// reports whether there is one.
func TerminalSize(fd uintptr) (columns, rows int, ok bool) {
	w, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return int(w.Col), int(w.Row), true
}

// KeyInput makes the terminal that fd is open on deliver each key at once and not show it, until
// restore is called. Ctrl-C and similar keys still send signals.
func KeyInput(fd uintptr) (restore func(), err error) {
	was, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(fd), unix.TCSETS, &now); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(int(fd), unix.TCSETS, was) }, nil
}

// Stop stops this process until it gets SIGCONT, as SIGTSTP does: not if there is no shell that
// could continue it. It reports whether there is one.
func Stop() bool {
	if !hasShell() {
		return false
	}
	// A signal to the own thread arrives before the call returns.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
	return true
}

// hasShell reports whether an ancestor outside this process group is in the same session. Else the
// group is an orphan in the words of POSIX, which the kernel does not stop.
func hasShell() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	group := unix.Getpgrp()
	for pid := os.Getppid(); pid > 1; pid = parent(pid) {
		if s, err := unix.Getsid(pid); err != nil || s != session {
			return false
		}
		if g, err := unix.Getpgid(pid); err == nil && g != group {
			return true
		}
	}
	return false
}

// parent returns the parent of a process, 0 if there is no such process.
func parent(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name in brackets may have any characters.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	p, _ := strconv.Atoi(f[1])
	return p
}

// Foreground reports whether this process is in the foreground of the terminal that fd is open on,
// and true if there is no such terminal.
func Foreground(fd uintptr) bool {
	group, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}
