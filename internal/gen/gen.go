// Package gen writes code in C, Python, Rust and Go that attaches to a segment. The code declares
// the type of the value and asserts every offset and size. In C, Python and Rust it also carries
// the protocol of docs/format.md in a runtime: runtime.h, runtime.py and runtime.rs, and topic.py
// to follow a topic. In Go the library does that.
//
// A runtime loads snapshots without a lock and a slot, and stores and updates the value under the
// box's own lock. The package is pure: it reads a schema and returns text.
//
// A schema may be of any program, also of one that means harm: see names.go.
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
	"sync"

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

// ErrStream is returned for a queue, topic or map that there is no code for: code that stores it as
// a whole would break it.
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
	case stream == layout.TopicBytesName:
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while other "+
			"processes publish; Go programs attach by topic.AttachBytes, others by pipes from "+
			"`shmem tail --raw` and to `shmem pump`; docs/format.md describes how to follow one",
			ErrStream, stream)
	case layout.IsMap(t):
		return fmt.Errorf("%w: code that stores a %s would overwrite what other processes change; "+
			"Go programs attach by kv.Attach, and docs/format.md describes how to read one",
			ErrStream, layout.MapName)
	case layout.IsCalls(t):
		return fmt.Errorf("%w: code that stores a %s would overwrite what other processes change; "+
			"Go programs make calls by rpc.Dial", ErrStream, layout.CallsName)
	case layout.IsCache(t):
		return fmt.Errorf("%w: code that stores a %s would overwrite what other processes change; "+
			"Go programs attach by kv.AttachCache, and docs/format.md describes how to read one",
			ErrStream, layout.CacheName)
	case layout.IsPool(t):
		return fmt.Errorf("%w: code that stores a %s would overwrite what other processes change; "+
			"Go programs attach by blob.Attach", ErrStream, layout.PoolName)
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
// means its name in Go. What is no identifier of the language, or means something else there, is
// changed until it is one. For a topic, Go code has the type of its messages, and Python code
// follows them; for other languages, and for queues, Generate returns ErrStream.
func Generate(lang string, t *schema.Type, ident string) ([]byte, error) {
	if err := refuse(lang, t); err != nil {
		return nil, err
	}
	if layout.Stream(t) != "" && lang == "go" {
		t = layout.Item(t)
	}
	if ident == "" {
		ident = spellType(t.Name)
	}
	if ident == "" {
		ident = "Value"
	}
	if ident != spell(ident) {
		return nil, fmt.Errorf("%q is no identifier, or begins with an underscore", ident)
	}
	g := &generator{root: t, scope: newNamer(), known: map[identity]string{},
		of: map[*schema.Type]string{}, print: t.Fingerprint()}
	if t.Kind == schema.Struct {
		g.longer = t.AppendCanonical(nil)
	}
	g.reserved, g.prefix = reservedTypes()[lang], lang == "c"
	g.ident = g.scope.name(ident, g.isReserved)
	if lang == "go" {
		return g.golang()
	}
	if g.reserved == nil {
		return nil, fmt.Errorf("language %q is unknown: there are c, python, rust and go", lang)
	}
	if lang == "python" {
		g.scope.taken[g.ident+"Box"] = true
	}
	if t.Kind != schema.Struct { // a struct with one field has the same bytes
		g.root = &schema.Type{
			Kind: schema.Struct, Name: t.Name, Size: t.Size, Align: t.Align,
			Fields: []schema.Field{{Name: "Value", Type: t}},
		}
	}
	g.collect(g.root, "")
	if err := g.collectParts(); err != nil {
		return nil, err
	}
	switch lang {
	case "c":
		return g.c(), nil
	case "python":
		return g.python(), nil
	default:
		return g.rust(), nil
	}
}

// A generator writes the code for one type.
type generator struct {
	bytes.Buffer
	root   *schema.Type // a struct, except for Go
	ident  string       // what it is called
	print  uint64       // fingerprint of the type in the segment
	longer []byte       // what the schema of a type with appended fields begins like; nil: none

	reserved map[string]bool         // names that no type can have
	prefix   bool                    // the names of structs begin with that of the root
	scope    *namer                  // of the structs
	order    []*schema.Type          // all structs, each behind those that it uses
	known    map[identity]string     // their names
	of       map[*schema.Type]string // likewise
	parts    []schema.Span           // what a store copies
	used     map[string]bool         // packages that Go code needs, with the dot
}

// An identity is what structs that share a declaration have in common.
type identity struct {
	name        string
	fingerprint uint64
	align       int
}

// reservedTypes returns the names that no type can have, by language: words of the language, and
// all that is in the runtime.
var reservedTypes = sync.OnceValue(func() map[string]map[string]bool {
	macros, declared := libcNames()
	return map[string]map[string]bool{
		"c": union(words, tokens(runtimeC, cText), macros, declared),
		"python": union(set(pyWords), tokens(runtimePython+topicPython+pyImports, pyText), set(`
		VALUE DTYPE SIZE FINGERPRINT`)),
		"rust": union(set(rsWords), set(rsNames)),
		"go":   set(goNames),
	}
})

func union(all ...map[string]bool) map[string]bool {
	u := map[string]bool{}
	for _, s := range all {
		for w := range s {
			u[w] = true
		}
	}
	return u
}

func (g *generator) isReserved(name string) bool {
	return g.reserved[name] || g.prefix && isMacro(name)
}

func (g *generator) f(format string, a ...any) { fmt.Fprintf(g, format, a...) }

// isText reports whether t is a shmem.Text: an array of bytes, and nothing else. Others may have
// the name.
func isText(t *schema.Type) bool {
	return t.Kind == schema.Struct && strings.HasPrefix(t.Name, "shmem.Text[") && t.Align == 1 &&
		len(t.Fields) == 1 && isBytes(t.Fields[0].Type) && t.Fields[0].Type.Size == t.Size
}

func isBytes(t *schema.Type) bool {
	return t.Kind == schema.Array && t.Elem.Kind == schema.Uint8 && !t.Elem.Atomic
}

// collect gives every struct a name, and orders them. at names a struct that has no name in Go:
// that of the struct it is in, and of the field. Structs of one name with the same bytes share one
// declaration; others that have the same name get a number.
func (g *generator) collect(t *schema.Type, at string) {
	switch {
	case t.Kind == schema.Array:
		g.collect(t.Elem, at)
		return
	case t.Kind != schema.Struct || isText(t) && t != g.root || g.of[t] != "":
		return
	}
	if !g.declare(t, at) {
		return
	}
	for _, f := range t.Fields {
		g.collect(f.Type, g.of[t]+"_"+spell(f.Name))
	}
	g.order = append(g.order, t)
}

// declare gives a struct its name. It returns false if another one with that name is the same.
func (g *generator) declare(t *schema.Type, at string) bool {
	if t == g.root {
		g.of[t] = g.ident
		return true
	}
	name := spellType(t.Name)
	switch {
	case name == "":
		name = at
	case g.prefix:
		name = g.ident + "_" + name
	}
	is := identity{name, t.Fingerprint(), t.Align}
	if g.known[is] != "" {
		g.of[t] = g.known[is]
		return false
	}
	name = g.scope.name(name, func(name string) bool {
		rest, ok := strings.CutPrefix(name, g.ident+"_")
		return g.isReserved(name) || ok && g.prefix && cOwn[rest]
	})
	g.known[is], g.of[t] = name, name
	return true
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

// fields calls yield for each field of a struct, with a name that is unique in the struct, and with
// the name and the size of the padding before it. pad is 0 if there is none. Padding at the end of
// the struct comes with the field name "".
func (g *generator) fields(t *schema.Type,
	yield func(name string, f schema.Field, padding string, pad int)) {
	scope := newNamer()
	// C++ has one scope for the fields of a struct and the types in them; the root is in none.
	reserved := func(name string) bool {
		return reservedField(name) || g.prefix && name != g.ident && g.scope.taken[name]
	}
	names := make([]string, len(t.Fields))
	for i, f := range t.Fields {
		names[i] = scope.name(spell(f.Name), reserved)
	}
	end, pads := 0, 0
	padding := func() string {
		pads++
		return scope.name(fmt.Sprintf("pad%d_", pads-1), reserved)
	}
	for i, f := range t.Fields {
		pad := ""
		if f.Offset > end {
			pad = padding()
		}
		yield(names[i], f, pad, f.Offset-end)
		end = f.Offset + f.Type.Size
	}
	if end < t.Size {
		yield("", schema.Field{Offset: end}, padding(), t.Size-end)
	}
}

// natural returns the alignment of a type in C, Rust and Python on a machine of 64 bits: that of
// the generated declaration.
func natural(t *schema.Type) int {
	switch t.Kind {
	case schema.Array:
		return natural(t.Elem)
	case schema.Struct:
		if isText(t) || packed(t) {
			return 1
		}
		align := 1
		for _, f := range t.Fields {
			align = max(align, natural(f.Type))
		}
		return align
	case schema.Sync:
		return syncWord(t)
	case schema.Complex64, schema.Complex128:
		return t.Size / 2
	}
	return t.Size
}

// packed reports whether fields of a struct are not where a compiler would put them: another
// machine made it, or another program. It is declared as packed, and its fields are read byte by
// byte where that is needed.
func packed(t *schema.Type) bool {
	for _, f := range t.Fields {
		if n := natural(f.Type); f.Offset%n != 0 || t.Size%n != 0 {
			return true
		}
	}
	return false
}

// syncWord returns the size of the words that a lock is declared as.
func syncWord(t *schema.Type) int { return min(t.Align, 8) }

// note says in a comment what the type does not.
func note(t *schema.Type) string {
	for t.Kind == schema.Array {
		t = t.Elem
	}
	switch {
	case t.Atomic:
		return "atomic"
	case t.Kind == schema.Sync:
		return comment(t.Name) + ": do not touch"
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
