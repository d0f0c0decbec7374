package sys

import "golang.org/x/sys/unix"

// TerminalSize returns the size of the terminal that fd is open on; ok reports whether there is
// one.
func TerminalSize(fd uintptr) (columns, rows int, ok bool) {
	w, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 {
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
