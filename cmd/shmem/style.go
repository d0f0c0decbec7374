package main

import (
	"cmp"
	"os"
	"runtime/debug"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

// A style colours text. With 256 colours it uses those of middle brightness, which can be read on
// black and on white (contrast of at least 4 to 1). With 16 the terminal's palette decides.
type style int

const (
	colourless style = iota
	colours16
	colours256
)

// paint wraps text in the escape sequence with code16 or, where there are 256 colours, code256.
func (s style) paint(code16, code256, text string) string {
	switch {
	case text == "" || s == colourless:
		return text
	case s == colours256:
		return "\x1b[" + code256 + "m" + text + "\x1b[0m"
	}
	return "\x1b[" + code16 + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string    { return s.paint("1", "1", t) }
func (s style) faint(t string) string   { return s.paint("2", "38;5;243", t) }
func (s style) green(t string) string   { return s.paint("32", "38;5;28", t) }
func (s style) red(t string) string     { return s.paint("31", "38;5;196", t) }
func (s style) magenta(t string) string { return s.paint("35", "38;5;133", t) }
func (s style) cyan(t string) string    { return s.paint("36", "38;5;30", t) }
func (s style) changed(t string) string { return s.paint("1;7", "1;7", t) }

// state colours text by the state of a segment.
func (s style) state(st shmem.State, text string) string {
	switch st {
	case shmem.Live:
		return s.green(text)
	case shmem.Idle:
		return s.cyan(text)
	case shmem.Orphaned:
		return s.magenta(text)
	case shmem.Garbage, shmem.Copied, shmem.OtherVersion, shmem.Damaged:
		return s.red(text)
	}
	return s.faint(text)
}

// newEnv looks at the terminal. Where there is none, output is 80 columns wide and has no colours.
func newEnv(c *cli) *env {
	w := &buffered{f: os.Stdout}
	e := &env{ctx: interrupted(), dir: c.Dir, stdout: w, raw: w, unlinked: inspect.Unlinked,
		err: guard{w: os.Stderr}, width: columns, height: lines}
	if e.containers = c.Every; c.In > 0 {
		e.dir = inPlace(c.In, c.Dir)
	}
	e.tty = e.measure()
	term := os.Getenv("TERM")
	if c.Color == "always" || c.Color == "auto" && e.tty && os.Getenv("NO_COLOR") == "" &&
		term != "dumb" {
		e.style = colours16
		if strings.Contains(term, "256color") || os.Getenv("COLORTERM") != "" {
			e.style = colours256
		}
	}
	e.out = guard{w, e.style != colourless}
	return e
}

// The size of a terminal that does not know its own.
const columns, lines = 80, 24

// measure reads the size of the terminal, and reports whether there is one.
func (e *env) measure() bool {
	w, h, ok := sys.TerminalSize(os.Stdout.Fd())
	if ok {
		e.width, e.height = cmp.Or(w, columns), cmp.Or(h, lines)
	}
	return ok
}

// resize reads the size of the terminal again.
func (e *env) resize() {
	if e.tty {
		e.measure()
	}
}

// version is the version of the module that the command was built from, and the commit.
func version() string {
	v := versionOf(debug.ReadBuildInfo())
	text := "shmem " + v.Version
	if v.Commit != "" {
		text += " commit " + v.Commit
		if v.Modified {
			text += ", modified"
		}
	}
	return text
}
