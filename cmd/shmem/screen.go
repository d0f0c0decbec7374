package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// A screen draws frames in place: on the alternate screen of a terminal, with keys to scroll and to
// leave. Where there is no terminal it prints one frame below the other.
type screen struct {
	e       *env
	keys    <-chan string // nil: there is no keyboard
	restore func()        // gives the keyboard back
	frame   []string      // lines of the last frame
	fixed   int           // how many of them stay at the top
	top     int           // the first of the others that is shown
	paused  bool
}

// screen takes the terminal, if there is one, until leaveScreen.
func (e *env) screen() *screen {
	s := &screen{e: e, restore: func() {}}
	if e.tty {
		// leaveScreen is also called by the handler of a second signal, which ends the program.
		screenOff.Lock()
		defer screenOff.Unlock()
		screenOff.f = func() {
			s.restore()
			fmt.Fprint(os.Stdout, "\x1b[?7h\x1b[?25h\x1b[?1049l")
		}
		fmt.Fprint(os.Stdout, "\x1b[?1049h\x1b[?25l\x1b[?7l")
		if restore, err := sys.KeyInput(os.Stdin.Fd()); err == nil {
			s.restore, s.keys = restore, keys(os.Stdin)
		}
	}
	return s
}

// keys reads what is typed, as long as the program runs. A terminal sends the bytes of one key in
// one piece.
func keys(in *os.File) <-chan string {
	c := make(chan string)
	go func() {
		for b := make([]byte, 64); ; {
			n, err := in.Read(b)
			if err != nil {
				return
			}
			c <- string(b[:n])
		}
	}()
	return c
}

// draw shows a frame. Its first fixed lines stay where they are when the others are scrolled.
func (s *screen) draw(frame string, fixed int) {
	if !s.e.tty {
		_, _ = os.Stdout.WriteString(frame)
		return
	}
	s.frame, s.fixed = strings.Split(strings.TrimSuffix(frame, "\n"), "\n"), fixed
	s.show()
}

// room is how many lines there are for what scrolls, beside the fixed ones and the status line.
func (s *screen) room() int { return max(s.e.height-1-s.fixed, 1) }

// show draws the part of the frame that is scrolled to. It is one write, so that it does not
// flicker.
func (s *screen) show() {
	s.fixed = min(s.fixed, len(s.frame))
	rest := s.frame[s.fixed:]
	s.top = max(min(s.top, len(rest)-s.room()), 0)
	end := min(s.top+s.room(), len(rest))
	all := append(slices.Clone(s.frame[:s.fixed]), rest[s.top:end]...)
	for len(all) < s.e.height-1 {
		all = append(all, "")
	}
	status := cut(s.status(end, len(rest)), s.e.width)
	// To the top left; then clear each line before it is written.
	const home, clearLine = "\x1b[H", "\x1b[2K"
	all = append(all, s.e.style.faint(status))
	_, _ = os.Stdout.WriteString(home + clearLine + strings.Join(all, "\r\n"+clearLine))
}

// status is the last line: what is shown of how many lines, and the keys.
func (s *screen) status(end, of int) string {
	status := ""
	if s.keys != nil {
		status = "q quit  p pause"
	}
	if of > s.room() {
		status = fmt.Sprintf("lines %d to %d of %d  ", s.top+1, end, of) + status
		if s.keys != nil {
			status += "  ↑↓ PgUp PgDn Home End scroll"
		}
	}
	if s.paused {
		status = "PAUSED  " + status
	}
	return status
}

// key does what a key says, and reports whether it ends the view. The arrows and the like come as
// the escape sequences of xterm and of the Linux console.
func (s *screen) key(k string) (quit bool) {
	switch k {
	case "q", "Q", "\x1b":
		return true
	case "p", "P":
		s.paused = !s.paused
	case "\x1b[A", "\x1bOA", "k":
		s.top--
	case "\x1b[B", "\x1bOB", "j":
		s.top++
	case "\x1b[5~", "b":
		s.top -= s.room()
	case "\x1b[6~", " ":
		s.top += s.room()
	case "\x1b[H", "\x1b[1~", "\x1bOH", "g":
		s.top = 0
	case "\x1b[F", "\x1b[4~", "\x1bOF", "G":
		s.top = len(s.frame)
	}
	s.show()
	return false
}

// ticks calls f at once and then each interval, until the user quits, f was called n times (n > 0),
// or f fails. The size of the terminal is read before each call. s is nil where nothing is drawn.
func (e *env) ticks(s *screen, interval time.Duration, n int, f func() error) error {
	t := time.NewTicker(max(interval, 10*time.Millisecond))
	defer t.Stop()
	var keys <-chan string
	if s != nil {
		keys = s.keys
	}
	for i := 1; ; i++ {
		e.resize()
		if err := f(); err != nil {
			return err
		}
		if i == n {
			return nil
		}
		for next := false; !next; {
			select {
			case <-t.C:
				next = s == nil || !s.paused
			case k := <-keys:
				if s.key(k) {
					return nil
				}
			case <-e.ctx.Done():
				return nil
			}
		}
	}
}
