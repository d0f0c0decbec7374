// Package gen writes code in C, Python, Rust and Go that attaches to a segment. The code declares
// the type of the value and asserts every offset and size. In C, Python and Rust it also carries
// the protocol of docs/format.md in a runtime: runtime.h, runtime.py and runtime.rs, and topic.py
// to follow a topic. In Go the library does that.
//
// A runtime does two things: it loads snapshots without a lock and a slot, and it stores a whole
// value under the box's own lock. The package is pure: it reads a schema and returns text.
//
// gen.go has what all languages share: which structs there are, how they are called, where padding
// is. c.go, python.go, rust.go and golang.go write the code.
package gen

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	schema "github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

var (
	//go:embed runtime.h
	runtimeC string
	//go:embed runtime.py
	runtimePython string
	//go:embed topic.py
	topicPython string
	//go:embed runtime.rs
	runtimeRust string
)

// maxParts bounds the ranges of bytes that a generated store copies. They are what the box's lock
// protects: everything but sync/atomic and psync fields.
const maxParts = 1 << 14

// ErrStream is returned for a queue or topic that there is no code for: code that stores it as a
// whole would break it.
var ErrStream = errors.New("it is no box")

// refuse returns ErrStream for a queue or topic that there is no code for, with what to use
// instead.
func refuse(lang string, t *schema.Type) error {
	item := ""
	if i := layout.Item(t); i != nil {
		item = i.String()
		if i.Name != "" {
			item = i.Name
		}
	}
	switch stream := layout.Stream(t); {
	case stream == layout.QueueName:
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while other "+
			"processes send and receive; Go programs attach by queue.Attach[%s]", ErrStream, stream,
			item)
	case stream == layout.BytesName:
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while other "+
			"processes send and receive; Go programs attach by queue.AttachBytes, others by "+
			"pipes from `shmem tail` and to `shmem pump`", ErrStream, stream)
	case stream != "" && (lang == "c" || lang == "rust"):
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while other "+
			"processes publish; Go programs attach by topic.Attach[%s], Python by the follow() "+
			"of gen python, others by pipes from `shmem tail --raw` and to `shmem pump`; "+
			"docs/format.md describes how to follow one",
			ErrStream, stream, item)
	}
	return nil
}

// Generate writes the code for a value of type t. ident is the name of the type in the code; ""
// means its name in Go. For a topic, Go code has the type of its messages, and Python code follows
// them; for other languages, and for queues, Generate returns ErrStream.
func Generate(lang string, t *schema.Type, ident string) ([]byte, error) {
	if err := refuse(lang, t); err != nil {
		return nil, err
	}
	if layout.Stream(t) != "" && lang == "go" {
		t = layout.Item(t)
	}
	if ident == "" {
		ident = identOf(t.Name)
	}
	if ident == "" {
		ident = "Value"
	}
	if ident != clean(ident) {
		return nil, fmt.Errorf("%q is no identifier", ident)
	}
	g := &generator{root: t, ident: ident, names: map[string]*schema.Type{},
		of: map[*schema.Type]string{}, print: t.Fingerprint()}
	if lang == "go" {
		return g.golang()
	}
	if t.Kind != schema.Struct { // a struct with one field has the same bytes
		g.root = &schema.Type{
			Kind: schema.Struct, Name: t.Name, Size: t.Size, Align: t.Align,
			Fields: []schema.Field{{Name: "Value", Type: t}},
		}
	}
	g.collect(g.root, ident)
	if err := g.collectParts(); err != nil {
		return nil, err
	}
	switch lang {
	case "c":
		return g.c(), nil
	case "python":
		return g.python(), nil
	case "rust":
		return g.rust(), nil
	}
	return nil, fmt.Errorf("language %q is unknown: there are c, python, rust and go", lang)
}

// A generator writes the code for one type.
type generator struct {
	bytes.Buffer
	root  *schema.Type // a struct, except for Go
	ident string       // what it is called
	print uint64       // fingerprint of the type in the segment

	order []*schema.Type          // all structs, each behind those that it uses
	names map[string]*schema.Type // the structs by name
	of    map[*schema.Type]string // and the names by struct
	parts []schema.Span           // what a store copies
}

func (g *generator) f(format string, a ...any) { fmt.Fprintf(g, format, a...) }

// identOf makes an identifier of the name of a Go type: main.Pair[int,main.T] becomes Pair_int_T.
func identOf(name string) string {
	base, args, generic := strings.Cut(name, "[")
	base = base[strings.LastIndexByte(base, '.')+1:]
	if generic {
		for _, a := range strings.FieldsFunc(args,
			func(r rune) bool { return r == ',' || r == ']' || r == '[' }) {
			base += "_" + a[strings.LastIndexByte(a, '.')+1:]
		}
	}
	return clean(base)
}

// clean replaces what cannot be in an identifier of any language.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '_' || r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r >= 128 &&
			unicode.IsLetter(r) {
			return r
		}
		return '_'
	}, s)
	if s != "" && unicode.IsDigit(rune(s[0])) {
		s = "_" + s
	}
	return s
}

func isText(t *schema.Type) bool {
	return strings.HasPrefix(t.Name, "shmem.Text[") && len(t.Fields) == 1 &&
		t.Fields[0].Type.Kind == schema.Array &&
		t.Fields[0].Type.Elem.Kind == schema.Uint8 && !t.Fields[0].Type.Elem.Atomic
}

// collect gives every struct a name, and orders them. at names a struct that has no name in Go:
// that of the struct it is in, and of the field. Structs with the same bytes share one declaration;
// others that have the same name get a number.
func (g *generator) collect(t *schema.Type, at string) {
	switch {
	case t.Kind == schema.Array:
		g.collect(t.Elem, at)
		return
	case t.Kind != schema.Struct || isText(t) && t != g.root || g.of[t] != "":
		return
	}
	name := at
	if t != g.root {
		if name = identOf(t.Name); name == "" {
			name = at
		}
		name = g.escape(name)
	}
	fingerprint := t.Fingerprint()
	for n := 2; ; n++ {
		other, taken := g.names[name]
		if !taken {
			break
		}
		if other != g.root && other.Fingerprint() == fingerprint && other.Align == t.Align {
			g.of[t] = name
			return
		}
		name = strings.TrimRight(name, "0123456789") + strconv.Itoa(n)
	}
	g.names[name], g.of[t] = t, name
	for _, f := range t.Fields {
		g.collect(f.Type, name+"_"+clean(f.Name))
	}
	g.order = append(g.order, t)
}

// escape keeps the name of the root for the root.
func (g *generator) escape(name string) string {
	if name == g.ident {
		return name + "_"
	}
	return name
}

// collectParts collects what a store copies: all of the value between the fields of sync/atomic and
// psync.
func (g *generator) collectParts() error {
	at := 0
	for s := range g.root.Spans() {
		if s.Off > at {
			g.parts = append(g.parts, schema.Span{Off: at, Len: s.Off - at})
		}
		if at = s.Off + s.Len; len(g.parts) > maxParts {
			return errors.New("atomics and locks are in too many places of the value for " +
				"generated code; put them together")
		}
	}
	if at < g.root.Size {
		g.parts = append(g.parts, schema.Span{Off: at, Len: g.root.Size - at})
	}
	return nil
}

// reserved are words that cannot name a field in C, Rust or Python.
var reserved = map[string]bool{}

func init() {
	for _, w := range strings.Fields(`
		auto break case char const continue default do double else enum extern float for goto if
		inline int long register restrict
		return short signed sizeof static struct switch typedef union unsigned void volatile while
		bool true false NULL asm errno unix linux
		as async await crate dyn fn impl in let loop match mod move mut pub ref self Self super
		trait type unsafe use where abstract become box
		final macro override priv try typeof unsized virtual yield
		False None True and assert class def del elif except from global import is lambda nonlocal
		not or pass raise with`) {
		reserved[w] = true
	}
}

// field returns the name of a field in the other languages.
func field(name string) string {
	if name = clean(name); reserved[name] {
		return name + "_"
	}
	return name
}

// fields calls yield for each field of a struct, with a name that is unique in the struct, and with
// the name and the size of the padding before it. pad is 0 if there is none. Padding at the end of
// the struct comes with the field name "".
func (g *generator) fields(t *schema.Type,
	yield func(name string, f schema.Field, padding string, pad int)) {
	seen, end, pads := map[string]bool{}, 0, 0
	for _, f := range t.Fields {
		seen["."+clean(f.Name)] = true // padding must have another name
	}
	padding := func() string {
		for {
			n := fmt.Sprintf("pad%d_", pads)
			if pads++; !seen["."+n] {
				return n
			}
		}
	}
	for _, f := range t.Fields {
		n := field(f.Name)
		for seen[n] {
			n += "_"
		}
		seen[n] = true
		pad := ""
		if f.Offset > end {
			pad = padding()
		}
		yield(n, f, pad, f.Offset-end)
		end = f.Offset + f.Type.Size
	}
	if end < t.Size {
		yield("", schema.Field{Offset: end}, padding(), t.Size-end)
	}
}

// note says in a comment what the type does not.
func note(t *schema.Type) string {
	for t.Kind == schema.Array {
		t = t.Elem
	}
	switch {
	case t.Atomic:
		return "atomic"
	case t.Kind == schema.Sync:
		return t.Name + ": do not touch"
	case t.Kind == schema.Bool:
		return "bool"
	case t.Kind == schema.Int || t.Kind == schema.Uint || t.Kind == schema.Uintptr:
		return "Go " + t.Kind.String()
	case isText(t):
		return "text, not terminated when full"
	}
	return ""
}

// dims returns the element type of an array of any number of dimensions, and the dimensions. A type
// that is no array has none.
func dims(t *schema.Type) (*schema.Type, []int) {
	var d []int
	for t.Kind == schema.Array {
		d = append(d, t.Len)
		t = t.Elem
	}
	return t, d
}

// bits returns the size of a number in bits.
func (g *generator) bits(t *schema.Type) string { return strconv.Itoa(8 * t.Size) }
