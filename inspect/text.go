package inspect

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// String returns the whole value on one line. Structs are in braces with the names of their fields,
// arrays and lists in brackets.
func (v Value) String() string {
	s, _ := v.inline(int(^uint(0) >> 1))
	return s
}

// Short returns the beginning of what String returns, of at least limit bytes if it is longer. It
// costs no more than that, however large the value is.
func (v Value) Short(limit int) string {
	s, _ := v.inline(limit)
	return s
}

// inline returns the value on one line. ok is false if that takes more than limit bytes; the text
// is then cut off anywhere.
func (v Value) inline(limit int) (text string, ok bool) {
	var b strings.Builder
	ok = v.write(&b, limit)
	return b.String(), ok && b.Len() <= limit
}

// write appends the value to b. It stops and reports false when b has grown beyond limit, so that
// an array of a million elements does not cost a million numbers where there is room for ten.
func (v Value) write(b *strings.Builder, limit int) bool {
	switch v.Kind() {
	case Bool:
		b.WriteString(strconv.FormatBool(v.bool()))
	case Int:
		if v.t.Name == "time.Duration" {
			b.WriteString(time.Duration(v.int()).String())
			break
		}
		b.WriteString(strconv.FormatInt(v.int(), 10))
	case Uint:
		b.WriteString(strconv.FormatUint(v.uint(), 10))
	case Float:
		b.WriteString(strconv.FormatFloat(v.float(), 'g', -1, 8*len(v.b)))
	case Complex:
		b.WriteString(strconv.FormatComplex(v.complex(), 'g', -1, 8*len(v.b)))
	case Text:
		writeText(b, v.text(), limit)
	case Lock:
		b.WriteString(v.lock().String())
	case Raw:
		writeBytes(b, v.b, limit)
	case Struct:
		return v.writeFields(b, limit)
	case Array, List:
		if v.Kind() == Array && isBytes(v.t) {
			writeBytes(b, v.b, limit)
			break
		}
		return v.writeElements(b, limit)
	}
	return b.Len() <= limit
}

func (v Value) writeFields(b *strings.Builder, limit int) bool {
	b.WriteByte('{')
	first := true
	for name, f := range v.Fields() {
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(name)
		b.WriteByte(' ')
		if !f.write(b, limit) {
			return false
		}
	}
	b.WriteByte('}')
	return b.Len() <= limit
}

func (v Value) writeElements(b *strings.Builder, limit int) bool {
	b.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			b.WriteByte(' ')
		}
		if !v.Index(i).write(b, limit) {
			return false
		}
	}
	b.WriteByte(']')
	return b.Len() <= limit
}

// writeText writes text in quotes. What is not printable is escaped.
func writeText(b *strings.Builder, text []byte, limit int) {
	b.WriteString(strconv.Quote(string(head(text, limit))))
}

// head returns the beginning of a text that is longer than limit bytes: a little more than that,
// and whole characters.
func head(text []byte, limit int) []byte {
	const more = 16
	if len(text)-more <= limit {
		return text
	}
	n := max(limit, 0) + more
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// writeBytes writes printable bytes as quoted text without the zeros at the end, and others in hex.
func writeBytes(b *strings.Builder, p []byte, limit int) {
	text := bytes.TrimRight(p, "\x00")
	if len(text) == 0 {
		fmt.Fprintf(b, "%d zero bytes", len(p))
		return
	}
	if text = head(text, limit); printable(string(text)) {
		writeText(b, text, limit)
		return
	}
	for i, c := range p {
		if i > 0 && i%8 == 0 {
			b.WriteByte(' ')
		}
		if b.Len() > limit {
			return
		}
		const hex = "0123456789abcdef"
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}

// printable reports whether s is text: valid UTF-8 of printable characters, newlines and tabs.
func printable(s string) bool {
	for _, r := range s {
		if r == '\n' || r == '\t' {
			continue
		}
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// A Line is one line of a value shown to people.
type Line struct {
	Path  string // of what the line shows, relative to the value that Lines was called on
	Depth int    // levels of indentation
	Label string // the field's name or the element's index; "" for the value itself
	Text  string // "" if the parts follow on deeper lines
	Note  string // an addition, such as a length or "atomic"
	Kind  Kind
	Span  int // how many elements the line stands for, if more than one
}

// Lines shows the value in lines of about width columns. Structs and arrays that fit are on one
// line, equal elements in a row are shown once. Of an array, at most limit lines are shown and then
// one that says how many are missing; limit <= 0 means all.
func (v Value) Lines(width, limit int) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		p := &printer{width: max(width, 20), limit: limit, yield: yield}
		switch k := v.Kind(); {
		case k == Struct:
			p.fields("", 0, v)
		case (k == Array || k == List) && !v.fits(width):
			p.elements("", 0, v)
		default:
			p.value(Line{Kind: k}, v, 0)
		}
	}
}

// fits reports whether the value fits on a line of width columns.
func (v Value) fits(width int) bool {
	_, ok := v.inline(width)
	return ok
}

// A printer makes lines. Its methods report false when the consumer wants no more.
type printer struct {
	width, limit int
	yield        func(Line) bool
}

const (
	minRoom  = 24 // columns that a value gets even where the line is full
	maxLabel = 24 // a longer label does not widen the column of its neighbours
)

// room returns the columns beside a label.
func (p *printer) room(depth, label int) int { return max(p.width-2*depth-label-2, minRoom) }

// value shows a value beside the label of l, or below it. column is the width of the labels around.
func (p *printer) value(l Line, v Value, column int) bool {
	l.Kind = v.Kind()
	if v.t != nil && v.t.Atomic {
		l.Note = "atomic"
	}
	text, ok := v.inline(p.room(l.Depth, max(column, len(l.Label))))
	zeros := l.Kind == Array && v.zero() // shown in two words instead
	switch {
	case ok && !(zeros && v.Len() > 4):
		l.Text = text
		return p.yield(l)
	case l.Kind == Raw || l.Kind == Array && isBytes(v.t):
		return p.bytes(l, v.b)
	case zeros && v.t.Size > 0:
		l.Text, l.Note = "all zero", typeOf(v.t).String()
		return p.yield(l)
	case l.Kind == Struct:
		return p.yield(l) && p.fields(l.Path, l.Depth+1, v)
	case l.Kind == List:
		l.Note = fmt.Sprintf("%d of %d", v.Len(), v.t.Fields[1].Type.Len)
		return p.yield(l) && p.elements(l.Path, l.Depth+1, v)
	case l.Kind == Array:
		l.Note = strconv.Itoa(v.Len())
		return p.yield(l) && p.elements(l.Path, l.Depth+1, v)
	}
	l.Text = v.String() // a text or number, however long
	return p.yield(l)
}

// bytes shows bytes as text, or in hex on the lines below.
func (p *printer) bytes(l Line, b []byte) bool {
	text := strings.TrimRight(string(b), "\x00")
	switch {
	case text == "":
		l.Text = fmt.Sprintf("%d zero bytes", len(b))
		return p.yield(l)
	case printable(text):
		l.Text = strconv.Quote(text)
		return p.yield(l)
	}
	l.Note = fmt.Sprintf("%d bytes", len(b))
	depth := l.Depth
	if l.Label != "" {
		if !p.yield(l) {
			return false
		}
		depth++
	}
	return p.hex(l.Path, depth, b)
}

// fields shows the fields of a struct.
func (p *printer) fields(path string, depth int, v Value) bool {
	column := 0
	for _, f := range v.t.Fields {
		if n := utf8.RuneCountInString(f.Name); n <= maxLabel {
			column = max(column, n)
		}
	}
	for name, f := range v.Fields() {
		if !p.value(Line{Path: join(path, name), Depth: depth, Label: name}, f, column) {
			return false
		}
	}
	return true
}

// elements shows the elements of an array or list.
func (p *printer) elements(path string, depth int, v Value) bool {
	n := v.Len()
	column := len(strconv.Itoa(max(n-1, 0))) + 2
	lines, equal := 0, 0 // the elements before equal are the same, and too long for one line
	for i := 0; i < n; lines++ {
		e := v.Index(i)
		l := Line{Path: path + "[" + strconv.Itoa(i) + "]", Depth: depth,
			Label: "[" + strconv.Itoa(i) + "]", Kind: e.Kind()}
		if p.limit > 0 && lines == p.limit && n-i > 1 {
			l.Label, l.Note, l.Kind = "...", fmt.Sprintf("%d more", n-i), v.Kind()
			return p.yield(l)
		}
		if same := p.same(v, i, equal); same > 2 {
			if text, ok := p.shortText(e, depth); ok {
				l.Label, l.Text, l.Span = fmt.Sprintf("[%d..%d]", i, i+same-1), text, same
				if !p.yield(l) {
					return false
				}
				i += same
				continue
			}
			equal = i + same
		}
		if small(e.Kind()) {
			l.Text, l.Span = p.numbers(v, i, p.width-2*depth-column-2)
			if !p.yield(l) {
				return false
			}
			i += l.Span
			continue
		}
		if !p.value(l, e, column) {
			return false
		}
		i++
	}
	return true
}

// same returns how many elements from i on are the same, 0 for those before known.
func (p *printer) same(v Value, i, known int) int {
	if i < known {
		return 0
	}
	return v.sameFrom(i, v.Len())
}

// sameFrom returns how many elements from i on have the same bytes, at most limit.
func (v Value) sameFrom(i, limit int) int {
	e, n := v.Index(i), 1
	for n < limit && i+n < v.Len() && string(v.Index(i+n).b) == string(e.b) {
		n++
	}
	return n
}

// shortText returns a value as text if that fits beside a label such as [100..199].
func (p *printer) shortText(v Value, depth int) (string, bool) {
	if v.zero() {
		return "all zero", true
	}
	return v.inline(max(p.width-2*depth-20, minRoom))
}

// numbers shows as many elements from i on as fit into width columns, at least one. It stops before
// three equal ones in a row, which get a line of their own. n is how many it shows.
func (p *printer) numbers(v Value, i, width int) (text string, n int) {
	var b strings.Builder
	for i+n < v.Len() && (n == 0 || v.sameFrom(i+n, 3) < 3) {
		s := v.Index(i + n).String()
		if n > 0 {
			if b.Len()+1+len(s) > width {
				break
			}
			b.WriteByte(' ')
		}
		b.WriteString(s)
		n++
	}
	return b.String(), n
}

// small reports whether several values of a kind share a line.
func small(k Kind) bool { return k >= Bool && k <= Complex }

// hex shows bytes in hex, in at most p.limit lines.
func (p *printer) hex(path string, depth int, b []byte) bool {
	lines := 0
	for text := range Hex(b, 0) {
		l := Line{Path: path, Depth: depth, Text: text, Kind: Raw}
		if p.limit > 0 && lines == p.limit {
			l.Text, l.Label, l.Note = "", "...", fmt.Sprintf("%d bytes in all", len(b))
			return p.yield(l)
		}
		lines++
		if !p.yield(l) {
			return false
		}
	}
	return true
}

// Hex shows bytes as hexdump -C does, 16 on a line. off is the offset that is shown for the first
// of them. Of equal lines in a row only the first is shown, and then a star.
func Hex(b []byte, off int) iter.Seq[string] {
	return func(yield func(string) bool) { hexRows(b, off, yield) }
}

func hexRows(b []byte, off int, yield func(string) bool) {
	const row = 16
	starred := false
	for i := 0; i < len(b); i += row {
		this := b[i:min(i+row, len(b))]
		last := i+row >= len(b) // always shown, so that the end can be seen
		if i >= row && !last && string(this) == string(b[i-row:i]) {
			if !starred && !yield("*") {
				return
			}
			starred = true
			continue
		}
		starred = false
		if !yield(hexRow(this, off+i, row)) {
			return
		}
	}
}

// hexRow shows up to width bytes: the offset, hex digits in two groups, and ASCII.
func hexRow(b []byte, off, width int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%08x ", off)
	for i := range width {
		if i%8 == 0 {
			s.WriteByte(' ')
		}
		if i < len(b) {
			fmt.Fprintf(&s, "%02x ", b[i])
		} else {
			s.WriteString("   ")
		}
	}
	s.WriteString(" |")
	for _, c := range b {
		if c < ' ' || c > '~' {
			c = '.'
		}
		s.WriteByte(c)
	}
	s.WriteByte('|')
	return s.String()
}
