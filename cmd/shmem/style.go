package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// A style colours text. Where the terminal has 256 colours they are of middle brightness, which can be
// read on black and on white (4 to 1 at least); where it has 16 they are those that its palette makes of
// them.
type style int

const (
	colourless style = iota
	colours16
	colours256
)

func (s style) paint(code, better, text string) string {
	switch {
	case text == "" || s == colourless:
		return text
	case s == colours256:
		code = better
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string    { return s.paint("1", "1", t) }
func (s style) faint(t string) string   { return s.paint("2", "38;5;243", t) }
func (s style) green(t string) string   { return s.paint("32", "38;5;28", t) }
func (s style) red(t string) string     { return s.paint("31", "38;5;196", t) }
func (s style) magenta(t string) string { return s.paint("35", "38;5;133", t) }
func (s style) cyan(t string) string    { return s.paint("36", "38;5;30", t) }
func (s style) changed(t string) string { return s.paint("1;7", "1;7", t) }

// state colours a word by the state that it belongs to.
func (s style) state(st shmem.State, text string) string {
	switch st {
	case shmem.Live:
		return s.green(text)
	case shmem.Kept:
		return s.cyan(text)
	case shmem.Orphaned:
		return s.magenta(text)
	case shmem.Garbage, shmem.Damaged:
		return s.red(text)
	}
	return s.faint(text)
}

func newEnv(c *cli) *env {
	e := &env{ctx: interrupted(), dir: c.Dir, out: os.Stdout, err: os.Stderr, width: 80, height: 24}
	if w, h, ok := sys.TerminalSize(os.Stdout.Fd()); ok {
		e.width, e.height, e.tty = w, h, true
	}
	term := os.Getenv("TERM")
	if c.Color == "always" || c.Color == "auto" && e.tty && os.Getenv("NO_COLOR") == "" && term != "dumb" {
		e.style = colours16
		if strings.Contains(term, "256color") || os.Getenv("COLORTERM") != "" {
			e.style = colours256
		}
	}
	return e
}

func version() string {
	v := "(devel)"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		v = b.Main.Version
	}
	return "shmem " + v
}

// count is a number in at most 5 characters.
func count(n uint64) string {
	f, unit := float64(n), 0
	for n >= 10_000 && f >= 1000 {
		f, unit = f/1000, unit+1
	}
	return fmt.Sprintf("%.0f%s", f, []string{"", "k", "M", "G", "T", "P", "E"}[unit])
}

// size is a number of bytes in at most five columns.
func size(n int64) string {
	switch {
	case n < 0:
		return "-"
	case n < 10000:
		return fmt.Sprintf("%dB", n)
	}
	f, units := float64(n), "BKMGTPE"
	i := 0
	for f >= 1000 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%c", f, units[i])
	}
	return fmt.Sprintf("%.0f%c", f, units[i])
}

// words is a number of bytes as people say it.
func words(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}

func width(s string) int { return utf8.RuneCountInString(s) }

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-width(s))) }
func lpad(s string, n int) string {
	return strings.Repeat(" ", max(0, n-width(s))) + s
}

// cut shortens s to n columns.
func cut(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// fold breaks text into lines of at most n columns.
func fold(text string, n int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && width(line)+1+width(w) > n {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}

// A column of a table.
type column struct {
	head  string
	right bool
	least int  // if positive, it may be cut down to so many columns
	fold  bool // the last column: what does not fit goes on below
	spare bool // left out where the table is too wide
	paint func(row int, text string) string
}

// table prints rows. On a terminal it fits its width; else nothing is cut.
func (e *env) table(columns []column, rows [][]string) {
	w := make([]int, len(columns))
	for i, c := range columns {
		w[i] = width(c.head)
		for _, r := range rows {
			w[i] = max(w[i], width(r[i]))
		}
	}
	if e.tty {
		total := 2 * (len(w) - 1)
		for _, n := range w {
			total += n
		}
		for i := len(columns) - 1; i >= 0; i-- {
			if c := columns[i]; c.spare && total > e.width {
				total -= w[i] + 2
				w = slices.Delete(w, i, i+1)
				columns = slices.Delete(slices.Clone(columns), i, i+1)
				for k, r := range rows {
					rows[k] = slices.Delete(slices.Clone(r), i, i+1)
				}
			}
		}
		for total > e.width { // take from the widest that can give
			widest := -1
			for i, c := range columns {
				if c.least > 0 && w[i] > c.least && (widest < 0 || w[i]-c.least > w[widest]-columns[widest].least) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			w[widest]--
			total--
		}
	}
	var b strings.Builder
	line := func(row int, cells []string) {
		for i, c := range columns {
			s := cut(printable(cells[i]), w[i])
			if c.right {
				s = lpad(s, w[i])
			} else if i < len(columns)-1 {
				s = pad(s, w[i])
			}
			switch {
			case row < 0:
				s = e.style.faint(s)
			case c.paint != nil:
				s = c.paint(row, s)
			}
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(s)
		}
		b.WriteByte('\n')
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	line(-1, heads)
	last := len(columns) - 1
	for i, r := range rows {
		if !columns[last].fold || width(r[last]) <= w[last] {
			line(i, r)
			continue
		}
		r = append([]string(nil), r...)
		for _, part := range fold(r[last], w[last]) {
			r[last] = part
			line(i, r)
			clear(r)
		}
	}
	fmt.Fprint(e.out, b.String())
}

func (e *env) json(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// resize looks at the terminal's size again.
func (e *env) resize() {
	if w, h, ok := sys.TerminalSize(os.Stdout.Fd()); ok && e.tty {
		e.width, e.height = w, h
	}
}
