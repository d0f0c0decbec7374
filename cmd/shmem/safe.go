package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Names and texts come from files that any user may have written. What a terminal would act on is
// escaped, wherever it is printed:
//
//   - clean escapes a name or text: it stays on one line;
//   - a guard is the last writer before a terminal, file or pipe: it lets newlines, tabs and
//     colours pass, and escapes the rest of what clean would escape;
//   - safeJSON does the same in JSON, by escapes of JSON.
//
// Bytes leave as they are only where that is asked for: by --raw, and in the file of record.

// clean escapes what a terminal would act on, and what cannot be seen.
func clean(s string) string { return escaped(s, "") }

// cleanLine is clean for a line of text: tabs pass.
func cleanLine(s string) string { return escaped(s, "\t") }

// escaped escapes all that is not printable, except the characters of pass.
func escaped(s, pass string) string {
	if isPlain(s, pass) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r) || strings.ContainsRune(pass, r):
			b.WriteString(s[:n])
		default:
			b.WriteString(escape(r))
		}
		s = s[n:]
	}
	return b.String()
}

// isPlain reports whether escaped would change nothing.
func isPlain(s, pass string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if !strconv.IsPrint(r) && !strings.ContainsRune(pass, r) {
			return false
		}
	}
	return true
}

// escape is a character as Go writes it in a string.
func escape(r rune) string {
	q := strconv.QuoteRune(r)
	return q[1 : len(q)-1]
}

// A guard lets nothing reach a terminal that it would act on, except colours where there are any.
type guard struct {
	w       io.Writer
	colours bool
}

// Write writes text. A character or a colour must not be split between two calls.
func (g guard) Write(p []byte) (int, error) {
	if _, err := g.w.Write(guarded(p, g.colours)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// guarded returns p with all escaped but newlines, tabs and, where there are any, colours.
func guarded(p []byte, colours bool) []byte {
	const pass = "\n\t"
	if isPlain(string(p), pass) {
		return p
	}
	var b bytes.Buffer
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\x1b')
		if i < 0 {
			i = len(p)
		}
		b.WriteString(escaped(string(p[:i]), pass))
		p = p[i:]
		if n := colourLen(p); n > 0 && colours {
			b.Write(p[:n])
			p = p[n:]
		} else if len(p) > 0 {
			b.WriteString(`\x1b`)
			p = p[1:]
		}
	}
	return b.Bytes()
}

// colourLen returns the length of the sequence that p begins with, if it sets a colour; else 0.
func colourLen(p []byte) int {
	if len(p) < 3 || p[0] != '\x1b' || p[1] != '[' {
		return 0
	}
	for i, c := range p[2:] {
		switch {
		case c == 'm':
			return i + 3
		case c != ';' && (c < '0' || c > '9') || i > 16:
			return 0
		}
	}
	return 0
}

// safeJSON escapes in JSON what a terminal would act on.
func safeJSON(j []byte) []byte {
	if isPlain(string(j), "\n\t") {
		return j
	}
	var b bytes.Buffer
	for len(j) > 0 {
		r, n := utf8.DecodeRune(j)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\ufffd`)
		case r == '\n' || r == '\t' || strconv.IsPrint(r):
			b.Write(j[:n])
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		j = j[n:]
	}
	return b.Bytes()
}

// A safeWriter writes lines of JSON as safeJSON has them.
type safeWriter struct{ w io.Writer }

func (s safeWriter) Write(p []byte) (int, error) {
	_, err := s.w.Write(safeJSON(p))
	return len(p), err
}

// json prints a value as JSON. Segments' names and values are not escaped for HTML.
func (e *env) json(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := e.raw.Write(safeJSON(b.Bytes()))
	return err
}

// jsonLine prints a value as a line of JSON at once.
func (e *env) jsonLine(v any) error {
	enc := json.NewEncoder(safeWriter{e.raw})
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return e.stdout.flush()
}

// maxExact is the largest integer up to which every reader of JSON keeps all: many read numbers as
// floats of 64 bits.
const maxExact = 1<<53 - 1

// A num is an integer in JSON: a number, or beyond maxExact a string.
type num int64

// MarshalJSON never fails.
func (n num) MarshalJSON() ([]byte, error) {
	if n > maxExact || n < -maxExact {
		return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

// A count64 is num without a sign.
type count64 uint64

// MarshalJSON never fails.
func (n count64) MarshalJSON() ([]byte, error) {
	if n > maxExact {
		return strconv.AppendQuote(nil, strconv.FormatUint(uint64(n), 10)), nil
	}
	return strconv.AppendUint(nil, uint64(n), 10), nil
}

// A moment is a time in JSON. One that RFC 3339 cannot write is the last one that it can.
type moment time.Time

// MarshalJSON never fails.
func (m moment) MarshalJSON() ([]byte, error) {
	t := time.Time(m).UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		t = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return t.MarshalJSON()
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *moment) UnmarshalJSON(b []byte) error { return (*time.Time)(m).UnmarshalJSON(b) }

// A buffered writer writes to a file in large pieces: 10,000 lines would be as many system calls.
// It keeps its first error.
type buffered struct {
	f   *os.File
	b   []byte
	err error
}

func (w *buffered) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(w.b)+len(p) > 64<<10 {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > 64<<10 { // no copy of what is large already
		_, w.err = w.f.Write(p)
		return len(p), w.err
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// flush writes what is buffered.
func (w *buffered) flush() error {
	if len(w.b) > 0 && w.err == nil {
		_, w.err = w.f.Write(w.b)
	}
	w.b = w.b[:0]
	return w.err
}
