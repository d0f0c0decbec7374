package inspect

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteJSON writes the value for programs in other languages: as MarshalJSON does, except that
//
//   - an integer beyond ±(2^53-1), which many readers of JSON would round, is a string;
//   - in strings, what a terminal would act on is escaped.
//
// With an indent that is not empty each field and element has a line of its own. The text is
// written in pieces: a large value costs no memory. The error is that of w.
func (v Value) WriteJSON(w io.Writer, indent string) error {
	j := &jsonWriter{w: w, indent: indent}
	j.value(v)
	j.flush()
	return j.err
}

// A jsonWriter writes JSON in pieces. It keeps the first error; afterwards it writes nothing.
type jsonWriter struct {
	w      io.Writer
	b      []byte
	indent string
	depth  int
	err    error
}

const jsonPiece = 32 << 10

func (j *jsonWriter) flush() {
	if j.err == nil {
		_, j.err = j.w.Write(j.b)
	}
	j.b = j.b[:0]
}

// line begins a line, if there are lines.
func (j *jsonWriter) line() {
	if len(j.b) > jsonPiece {
		j.flush()
	}
	if j.indent != "" {
		j.b = append(append(j.b, '\n'), strings.Repeat(j.indent, j.depth)...)
	}
}

func (j *jsonWriter) value(v Value) {
	if j.err != nil {
		return
	}
	switch v.Kind() {
	case Int:
		n := v.int()
		j.integer(strconv.AppendInt(nil, n, 10), n > maxExact || n < -maxExact)
	case Uint:
		n := v.uint()
		j.integer(strconv.AppendUint(nil, n, 10), n > maxExact)
	case Array, List:
		j.list('[', ']', v.Len(), func(i int) { j.value(v.Index(i)) })
	case Struct:
		colon := ":"
		if j.indent != "" {
			colon = ": "
		}
		j.list('{', '}', len(v.t.Fields), func(i int) {
			f := v.t.Fields[i]
			j.b = append(appendSafeString(j.b, f.Name), colon...)
			j.value(v.sub(f.Type, f.Offset))
		})
	case Text:
		j.b = appendSafeString(j.b, string(v.text()))
	case Raw:
		j.base64(v.b)
	case Lock:
		j.b = appendSafeString(j.b, v.String())
	default: // numbers, true and false, and the names of numbers that JSON lacks
		j.b = v.appendJSON(j.b)
	}
}

// maxExact is the largest integer up to which every integer is exact in a float of 64 bits.
const maxExact = 1<<53 - 1

func (j *jsonWriter) integer(digits []byte, quoted bool) {
	if quoted {
		j.b = append(append(append(j.b, '"'), digits...), '"')
		return
	}
	j.b = append(j.b, digits...)
}

// list writes n elements between brackets.
func (j *jsonWriter) list(open, end byte, n int, element func(i int)) {
	j.b = append(j.b, open)
	j.depth++
	for i := range n {
		if i > 0 {
			j.b = append(j.b, ',')
		}
		j.line()
		if element(i); j.err != nil {
			return
		}
	}
	j.depth--
	if n > 0 {
		j.line()
	}
	j.b = append(j.b, end)
}

// base64 writes bytes as encoding/json writes a []byte.
func (j *jsonWriter) base64(b []byte) {
	j.b = append(j.b, '"')
	for len(b) > 0 {
		n := min(len(b), jsonPiece/4*3) // a multiple of 3
		j.b = base64.StdEncoding.AppendEncode(j.b, b[:n])
		if b = b[n:]; len(b) > 0 {
			j.flush()
		}
	}
	j.b = append(j.b, '"')
}

// appendSafeString appends a string of JSON in which all that is not printable is escaped.
func appendSafeString(b []byte, s string) []byte {
	q := appendJSONString(nil, s)
	for len(q) > 0 {
		r, n := utf8.DecodeRune(q)
		switch {
		case strconv.IsPrint(r):
			b = append(b, q[:n]...)
		case r > math.MaxUint16:
			r -= 1 << 16
			b = appendEscape(appendEscape(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			b = appendEscape(b, r)
		}
		q = q[n:]
	}
	return b
}

func appendEscape(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

func appendJSONString(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string never fails
	return append(b, q...)
}
