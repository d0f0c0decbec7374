package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// A screen draws frames in place: on the alternate screen of a terminal, with keys to scroll and to
// leave. Where there is no terminal it prints one frame below the other.
type screen struct {
	e      *env
	keys   <-chan string // nil: there is no keyboard
	again  chan struct{} // the program was stopped and goes on: draw again
	frame  []string      // lines of the last frame
	fixed  int           // how many of them stay at the top
	top    int           // the first of the others that is shown
	paused bool
	keep   int                   // a line of the others that must be shown; -1: none
	other  func(key string) bool // takes a key that is its own, before all others; may be nil
	hint   string                // names them in the status line
}

// The escape sequences that take the terminal, and that give it back.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	exitScreen  = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// terminalState is the state of the terminal. A signal may give it back at any moment.
var terminalState struct {
	sync.Mutex
	taken   bool
	left    bool   // for good
	restore func() // gives the keyboard back; nil: it was not taken
}

// takeScreen takes the terminal. The keyboard comes first: a program in the background is stopped
// there, before it has drawn anything.
func takeScreen() {
	terminalState.restore = nil
	if restore, err := sys.KeyInput(os.Stdin.Fd()); err == nil {
		terminalState.restore = restore
	}
	terminalState.taken = true
	_, _ = os.Stdout.WriteString(enterScreen)
}

// leaveScreen gives the terminal back if it is taken, for good.
func leaveScreen() {
	terminalState.Lock()
	defer terminalState.Unlock()
	giveScreen()
	terminalState.left = true
}

// giveScreen is leaveScreen with the lock held.
func giveScreen() {
	if !terminalState.taken {
		return
	}
	terminalState.taken = false
	if terminalState.restore != nil {
		terminalState.restore()
	}
	_, _ = os.Stdout.WriteString(exitScreen)
}

// screen takes the terminal, if there is one, until leaveScreen.
func (e *env) screen() *screen {
	s := &screen{e: e, keep: -1, again: make(chan struct{}, 1)}
	if !e.tty {
		return s
	}
	terminalState.Lock()
	defer terminalState.Unlock()
	takeScreen()
	if terminalState.restore != nil {
		s.keys = keys(os.Stdin)
	}
	if stopSignal != nil {
		stops := make(chan os.Signal, 1)
		signal.Notify(stops, stopSignal)
		go s.stops(stops)
	}
	return s
}

// stops gives the terminal back when the program is to stop (Ctrl-Z), stops it, and takes the
// terminal again when it goes on in the foreground.
func (s *screen) stops(stops chan os.Signal) {
	for range stops {
		terminalState.Lock()
		giveScreen()
		terminalState.Unlock()
		for sys.Stop() && !sys.Foreground(os.Stdin.Fd()) {
		}
		terminalState.Lock()
		if !terminalState.left {
			takeScreen()
		}
		terminalState.Unlock()
		select {
		case s.again <- struct{}{}:
		default:
		}
	}
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
func (s *screen) draw(frame string, fixed int) error {
	if !s.e.tty {
		_, err := io.WriteString(s.e.out, frame)
		if err == nil {
			err = s.e.stdout.flush()
		}
		return err
	}
	s.frame, s.fixed = frameLines(frame), fixed
	return s.show()
}

func frameLines(frame string) []string {
	return strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
}

// room is how many lines there are for what scrolls, beside the fixed ones and the status line.
func (s *screen) room() int { return max(s.e.height-1-s.fixed, 1) }

// show draws the part of the frame that is scrolled to. It is one write, so that it does not
// flicker.
func (s *screen) show() error {
	s.fixed = min(s.fixed, len(s.frame))
	rest := s.frame[s.fixed:]
	if s.keep >= 0 {
		s.top = min(max(s.top, s.keep-s.room()+1), s.keep)
	}
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
	for i, l := range all {
		all[i] = string(guarded([]byte(l), true))
	}
	terminalState.Lock()
	defer terminalState.Unlock()
	if !terminalState.taken { // a signal was faster
		return nil
	}
	_, err := os.Stdout.WriteString(home + clearLine + strings.Join(all, "\r\n"+clearLine))
	return err
}

// status is the last line: what is shown of how many lines, and the keys.
func (s *screen) status(end, of int) string {
	status := ""
	if s.keys != nil {
		status = "q quit  p pause"
		if s.hint != "" {
			status += "  " + s.hint
		}
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
	if s.other != nil && s.other(k) {
		return false
	}
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
	_ = s.show() // the next frame meets the same error
	return false
}

// ticks calls f at once and then each interval, until the user quits, f was called n times (n > 0),
// or f fails. The size of the terminal is read before each call. s is nil where nothing is drawn.
func (e *env) ticks(s *screen, interval time.Duration, n int, f func() error) error {
	t := time.NewTicker(max(interval, 10*time.Millisecond))
	defer t.Stop()
	var keys <-chan string
	var again <-chan struct{}
	if s != nil {
		keys, again = s.keys, s.again
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
			case <-again:
				next = true
			case <-e.ctx.Done():
				return e.unlessInterrupted()
			}
		}
	}
}
