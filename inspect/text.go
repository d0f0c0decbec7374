package inspect

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// String is the value on one line, in full.
func (v Value) String() string {
	s, _ := v.inline(int(^uint(0) >> 1))
	return s
}

// inline is the value on one line if it has at most limit bytes.
func (v Value) inline(limit int) (string, bool) {
	var b strings.Builder
	ok := v.write(&b, limit)
	return b.String(), ok && b.Len() <= limit
}

// write reports false once it has given up.
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
		b.WriteString(strconv.Quote(string(v.text())))
	case Lock:
		b.WriteString(v.lock().String())
	case Raw:
		writeBytes(b, v.b, limit)
	case Struct:
		b.WriteByte('{')
		first := true
		for n, f := range v.Fields() {
			if !first {
				b.WriteString(", ")
			}
			first = false
			b.WriteString(n)
			b.WriteByte(' ')
			if !f.write(b, limit) || b.Len() > limit {
				return false
			}
		}
		b.WriteByte('}')
	case Array, List:
		if v.Kind() == Array && isBytes(v.t) {
			writeBytes(b, v.b, limit)
			break
		}
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(' ')
			}
			if !v.Index(i).write(b, limit) || b.Len() > limit {
				return false
			}
		}
		b.WriteByte(']')
	}
	return b.Len() <= limit
}

// writeBytes shows bytes as text if that is what they are, else in hex.
func writeBytes(b *strings.Builder, p []byte, limit int) {
	text := strings.TrimRight(string(p), "\x00")
	if text == "" {
		fmt.Fprintf(b, "%d zero bytes", len(p))
		return
	}
	if printable(text) {
		b.WriteString(strconv.Quote(text))
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

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || r < ' ' && r != '\n' && r != '\t' || !strconv.IsPrint(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}

// A Line is one line of a value shown to people.
type Line struct {
	Path  string // of what it shows, from the value that was asked for on
	Depth int    // how far it is to be indented
	Label string // the field's name or the element's index; "" for the value itself
	Text  string // "" if what it holds follows on deeper lines
	Note  string // what else there is to say, such as a type
	Kind  Kind
	Span  int // how many elements it stands for: what is the same in a row is shown once
}

// Lines shows the value in lines of about width columns. Of an array at most limit lines are shown,
// and how many are missing; no limit if it is not positive. The arrays and structs that fit are on
// one line.
func (v Value) Lines(width, limit int) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		p := &printer{width: max(width, 20), limit: limit, yield: yield}
		if v.Kind() == Struct || (v.Kind() == Array || v.Kind() == List) && !v.fits(width) {
			p.parts("", 0, v)
			return
		}
		p.one("", 0, "", v, 0)
	}
}

func (v Value) fits(width int) bool {
	_, ok := v.inline(width)
	return ok
}

type printer struct {
	width, limit int
	yield        func(Line) bool
}

// one shows a value beside its label, or below it.
func (p *printer) one(path string, depth int, label string, v Value, column int) bool {
	l := Line{Path: path, Depth: depth, Label: label, Kind: v.Kind()}
	if v.t != nil && v.t.Atomic {
		l.Note = "atomic"
	}
	room := p.width - 2*depth - max(column, len(label)) - 2
	text, ok := v.inline(max(room, 24))
	switch k := v.Kind(); {
	case ok && !(k == Array && v.zero() && v.Len() > 4), k != Struct && k != Array && k != List && k != Raw:
		if !ok { // a text or number, however long
			text = v.String()
		}
		l.Text = text
		return p.yield(l)
	case k == Raw || k == Array && isBytes(v.t):
		if v.zero() {
			l.Text = fmt.Sprintf("%d zero bytes", len(v.b))
			return p.yield(l)
		}
		if s := strings.TrimRight(string(v.b), "\x00"); printable(s) {
			l.Text = strconv.Quote(s)
			return p.yield(l)
		}
		l.Note = fmt.Sprintf("%d bytes", len(v.b))
		if label != "" {
			if !p.yield(l) {
				return false
			}
			depth++
		}
		return p.hex(path, depth, v.b)
	case k == Array && v.zero() && v.t.Size > 0:
		l.Text = "all zero"
		l.Note = typeOf(v.t).String()
		return p.yield(l)
	case k == List:
		l.Note = fmt.Sprintf("%d of %d", v.Len(), v.t.Fields[1].Type.Len)
	case k == Array:
		l.Note = fmt.Sprintf("%d", v.Len())
	}
	return p.yield(l) && p.parts(path, depth+1, v)
}

// parts shows what a struct, array or list holds.
func (p *printer) parts(path string, depth int, v Value) bool {
	if v.Kind() == Struct {
		column := 0
		for _, f := range v.t.Fields {
			if n := utf8.RuneCountInString(f.Name); n > column && n <= 24 {
				column = n
			}
		}
		for n, f := range v.Fields() {
			if !p.one(join(path, n), depth, n, f, column) {
				return false
			}
		}
		return true
	}
	n := v.Len()
	column := len(strconv.Itoa(max(n-1, 0))) + 2
	lines := 0
	for i := 0; i < n; {
		at := path + "[" + strconv.Itoa(i) + "]"
		if p.limit > 0 && lines == p.limit && n-i > 1 {
			return p.yield(Line{Path: at, Depth: depth, Label: "...", Note: fmt.Sprintf("%d more", n-i), Kind: v.Kind()})
		}
		lines++
		e := v.Index(i)
		j := i + 1
		for j < n && string(v.Index(j).b) == string(e.b) {
			j++
		}
		label := "[" + strconv.Itoa(i) + "]"
		if j-i > 2 { // the same in a row
			l := Line{Path: at, Depth: depth, Label: fmt.Sprintf("[%d..%d]", i, j-1), Kind: e.Kind(), Span: j - i}
			if e.zero() {
				l.Text = "all zero"
			} else if l.Text, _ = e.inline(max(p.width-2*depth-20, 24)); !e.fits(max(p.width-2*depth-20, 24)) {
				l.Text = ""
			}
			if l.Text != "" {
				if !p.yield(l) {
					return false
				}
				i = j
				continue
			}
		}
		if small(e.Kind()) { // numbers: as many on a line as fit
			var b strings.Builder
			k := i
			for k < n && (k == i || p.run(v, k) <= 2) {
				s := v.Index(k).String()
				if b.Len() > 0 && b.Len()+1+len(s) > p.width-2*depth-column-2 {
					break
				}
				if b.Len() > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(s)
				k++
			}
			if !p.yield(Line{Path: at, Depth: depth, Label: label, Text: b.String(), Kind: e.Kind(), Span: k - i}) {
				return false
			}
			i = k
			continue
		}
		if !p.one(at, depth, label, e, column) {
			return false
		}
		i++
	}
	return true
}

// run is how many elements from i on are the same, up to 3.
func (p *printer) run(v Value, i int) int {
	n := 1
	for n < 3 && i+n < v.Len() && string(v.Index(i).b) == string(v.Index(i+n).b) {
		n++
	}
	return n
}

func small(k Kind) bool { return k >= Bool && k <= Complex }

func (p *printer) hex(path string, depth int, b []byte) bool {
	lines := 0
	for l := range Hex(b, 0) {
		if p.limit > 0 && lines == p.limit {
			return p.yield(Line{Path: path, Depth: depth, Label: "...", Note: fmt.Sprintf("%d bytes in all", len(b)), Kind: Raw})
		}
		lines++
		if !p.yield(Line{Path: path, Depth: depth, Text: l, Kind: Raw}) {
			return false
		}
	}
	return true
}

// Hex shows bytes 16 on a line, as hexdump -C does: the first is at offset off, and of lines that are
// the same only the first is shown, and a star.
func Hex(b []byte, off int) iter.Seq[string] {
	return func(yield func(string) bool) {
		starred := false
		for i := 0; i < len(b); i += 16 {
			row := b[i:min(i+16, len(b))]
			if i >= 16 && len(row) == 16 && i+16 < len(b) && string(row) == string(b[i-16:i]) {
				if !starred && !yield("*") {
					return
				}
				starred = true
				continue
			}
			starred = false
			var s strings.Builder
			fmt.Fprintf(&s, "%08x ", off+i)
			for k := range 16 {
				if k%8 == 0 {
					s.WriteByte(' ')
				}
				if k < len(row) {
					fmt.Fprintf(&s, "%02x ", row[k])
				} else {
					s.WriteString("   ")
				}
			}
			s.WriteString(" |")
			for _, c := range row {
				if c < ' ' || c > '~' {
					c = '.'
				}
				s.WriteByte(c)
			}
			s.WriteByte('|')
			if !yield(s.String()) {
				return
			}
		}
	}
}
