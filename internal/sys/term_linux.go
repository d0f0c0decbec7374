package sys

import "golang.org/x/sys/unix"

// TerminalSize is the size of the terminal that fd is open on; ok is false where there is none.
func TerminalSize(fd uintptr) (columns, rows int, ok bool) {
	w, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 {
		return 0, 0, false
	}
	return int(w.Col), int(w.Row), true
}
