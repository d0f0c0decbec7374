package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/shmembox/shmem/inspect"
)

// valueLines shows a value, a line for each field or element, or for several that fit on one.
type valueLines struct {
	style style
	width int
	limit int // of lines of an array; 0: all

	changed map[string]bool   // paths of leaves that are to be marked; nil: none
	beside  map[string]string // what stands behind a line, by its path
}

// print prints the value. What it finds no line of its own for stays in p.beside.
func (p valueLines) print(w io.Writer, v inspect.Value) {
	const most = 4096 // lines that are aligned with each other: a value may have millions
	var all []inspect.Line
	for l := range v.Lines(p.width, p.limit) {
		if all = append(all, l); len(all) == most {
			p.printLines(w, all)
			all = all[:0]
		}
	}
	p.printLines(w, all)
}

func (p valueLines) printLines(w io.Writer, all []inspect.Line) {
	columns := labelColumns(all)
	for i, l := range all {
		label := l.Label
		if (l.Text != "" || l.Note != "") && label != "" {
			label = pad(label, columns[i])
		}
		if label != "" {
			label = p.style.cyan(label)
			if l.Text != "" {
				label += "  "
			}
		}
		note := ""
		if l.Note != "" {
			note = "  " + p.style.faint(l.Note)
		}
		if text := p.beside[l.Path]; text != "" && l.Span <= 1 {
			note += "  " + text
			delete(p.beside, l.Path)
		}
		fmt.Fprintf(w, "%s%s%s%s\n", strings.Repeat("  ", l.Depth), label, p.paint(l), note)
	}
}

// paint colours the text of a line.
func (p valueLines) paint(l inspect.Line) string {
	switch {
	case p.changed != nil && isChanged(l, p.changed):
		return p.style.changed(l.Text)
	case l.Text == "all zero" || strings.HasSuffix(l.Text, " zero bytes"):
		return p.style.faint(l.Text)
	case l.Kind == inspect.Text:
		return p.style.green(l.Text)
	case l.Kind == inspect.Lock && l.Text != "free":
		return p.style.magenta(l.Text)
	}
	return l.Text
}

// labelColumns returns for each line how wide the labels of its siblings are. Siblings are lines of
// the same depth with no shallower line between them.
func labelColumns(all []inspect.Line) []int {
	const longLabel = 24 // a longer one does not move the others
	columns := make([]int, len(all))
	for i, first := range all {
		if columns[i] != 0 {
			continue
		}
		n := 1
		var siblings []int
		for j := i; j < len(all) && all[j].Depth >= first.Depth; j++ {
			if all[j].Depth != first.Depth {
				continue
			}
			siblings = append(siblings, j)
			if len(all[j].Label) <= longLabel {
				n = max(n, width(all[j].Label))
			}
		}
		for _, j := range siblings {
			columns[j] = n
		}
	}
	return columns
}

// isChanged reports whether a line shows a leaf that has changed.
func isChanged(l inspect.Line, changed map[string]bool) bool {
	if changed[l.Path] {
		return true
	}
	if l.Text == "" { // its parts have lines of their own
		return false
	}
	for path := range changed {
		if isBelow(path, l.Path) || l.Span > 1 && isInSpan(path, l) {
			return true
		}
	}
	return false
}

// isBelow reports whether a path leads to a part of what another one leads to.
func isBelow(path, of string) bool {
	rest, ok := strings.CutPrefix(path, of)
	return ok && (rest == "" || of == "" || rest[0] == '.' || rest[0] == '[')
}

// isInSpan reports whether a path leads to, or into, one of the elements that a line stands for.
func isInSpan(path string, l inspect.Line) bool {
	i := strings.LastIndexByte(l.Path, '[')
	if i < 0 || !strings.HasPrefix(path, l.Path[:i+1]) {
		return false
	}
	var n, first int
	if _, err := fmt.Sscanf(path[i+1:], "%d]", &n); err != nil {
		return false
	}
	_, _ = fmt.Sscanf(l.Path[i+1:], "%d]", &first)
	return n >= first && n < first+l.Span
}
