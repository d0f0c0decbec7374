// Package format says what the bytes of a segment mean: the schema of a
// type, its encoding, fingerprint and differences, and the control block
// behind the payload. It is pure: no system call, no unsafe, no state but a
// cache of walked types. Everything it decodes is taken for hostile.
package format

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// A Kind is what a [Type] is at heart. The values are part of the encoding
// and never change.
type Kind uint8

const (
	Bool Kind = iota + 1
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Int     // as large as Type.Size says: 4 or 8 bytes
	Uint    // likewise
	Uintptr // likewise
	Float32
	Float64
	Complex64
	Complex128
	Array
	Struct
	Sync // an opaque type of package psync

	lastKind = Sync
)

var kindNames = [lastKind + 1]string{
	Bool: "bool", Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64",
	Uint8: "uint8", Uint16: "uint16", Uint32: "uint32", Uint64: "uint64",
	Int: "int", Uint: "uint", Uintptr: "uintptr",
	Float32: "float32", Float64: "float64", Complex64: "complex64", Complex128: "complex128",
	Array: "array", Struct: "struct", Sync: "sync",
}

// kindSizes holds the sizes that do not depend on the machine.
var kindSizes = [lastKind + 1]int{
	Bool: 1, Int8: 1, Int16: 2, Int32: 4, Int64: 8,
	Uint8: 1, Uint16: 2, Uint32: 4, Uint64: 8,
	Float32: 4, Float64: 8, Complex64: 8, Complex128: 16,
}

// atomicNames holds the types of sync/atomic that can be shared.
var atomicNames = [lastKind + 1]string{
	Bool: "Bool", Int32: "Int32", Int64: "Int64",
	Uint32: "Uint32", Uint64: "Uint64", Uintptr: "Uintptr",
}

// String is the Go name of the kind.
func (k Kind) String() string {
	if k < Bool || k > lastKind {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// A Type is the schema of a Go type: a tree whose leaves are numbers and
// opaque locks. It is never changed once made, and parts of it are shared.
type Type struct {
	Kind   Kind
	Atomic bool   // a type of sync/atomic
	Name   string // the Go name, for people; of a Sync its identity, as "psync.Mutex"
	Size   int    // in bytes, never 0
	Align  int
	Len    int     // of an Array
	Elem   *Type   // of an Array
	Fields []Field // of a Struct, by offset; without padding and fields of no size
}

// A Field is one field of a struct.
type Field struct {
	Name   string
	Offset int // in its struct
	Type   *Type
}

// A Span is a range of bytes in the payload.
type Span struct {
	Off, Len int
}

// Spans gives the bytes that other processes may change at any time without
// the box's lock, psync and atomic ones, in order, merged where they touch.
//
// Arrays are not unrolled in memory: the sequence holds one node for each
// array of such structs, whatever its length, and counts as it goes. It can
// be used any number of times, by many goroutines.
func (t *Type) Spans() iter.Seq[Span] {
	return sequence(t.runs(func(t *Type) bool { return t.Kind == Sync || t.Atomic }))
}

// SyncSpans is [Type.Spans] for psync types alone.
func (t *Type) SyncSpans() iter.Seq[Span] {
	return sequence(t.runs(func(t *Type) bool { return t.Kind == Sync }))
}

// A run is a range of bytes, or, with inner ones, count repetitions of those.
type run struct {
	off, len      int
	count, stride int
	inner         []run
}

func (t *Type) runs(want func(*Type) bool) []run {
	switch t.Kind {
	case Array:
		inner := t.Elem.runs(want)
		switch {
		case len(inner) == 0:
			return nil
		case inner[0].inner == nil && inner[0].len == t.Elem.Size:
			return []run{{len: t.Size}}
		case t.Len == 1:
			return inner
		}
		return []run{{count: t.Len, stride: t.Elem.Size, inner: inner}}
	case Struct:
		var all []run
		for _, f := range t.Fields {
			for _, r := range f.Type.runs(want) {
				r.off += f.Offset
				if n := len(all); n > 0 && r.inner == nil && all[n-1].inner == nil && all[n-1].off+all[n-1].len == r.off {
					all[n-1].len += r.len
					continue
				}
				all = append(all, r)
			}
		}
		return all
	}
	if want(t) {
		return []run{{len: t.Size}}
	}
	return nil
}

func sequence(runs []run) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		var last Span // held back: the next one may touch it
		var walk func(base int, runs []run) bool
		walk = func(base int, runs []run) bool {
			for _, r := range runs {
				if r.inner != nil {
					for i := range r.count {
						if !walk(base+r.off+i*r.stride, r.inner) {
							return false
						}
					}
					continue
				}
				s := Span{base + r.off, r.len}
				if last.Off+last.Len == s.Off {
					last.Len += s.Len
					continue
				}
				if last.Len > 0 && !yield(last) {
					return false
				}
				last = s
			}
			return true
		}
		if walk(0, runs) && last.Len > 0 {
			yield(last)
		}
	}
}

// String is the type on one line, as Go would write it.
func (t *Type) String() string {
	var b strings.Builder
	t.print(&b, 0, false)
	return b.String()
}

// Declaration is the type as Go would declare it, a field on a line, each
// with its offset in the struct it stands in.
func (t *Type) Declaration() string {
	var b strings.Builder
	if t.Kind == Struct && t.Name != "" {
		b.WriteString(t.Name + " ")
	}
	t.print(&b, 0, true)
	return b.String()
}

func (t *Type) print(b *strings.Builder, depth int, lines bool) {
	switch t.Kind {
	case Array:
		fmt.Fprintf(b, "[%d]", t.Len)
		t.Elem.print(b, depth, lines)
	case Struct:
		b.WriteString("struct{")
		for i, f := range t.Fields {
			switch {
			case lines:
				b.WriteString("\n" + strings.Repeat("\t", depth+1))
			case i > 0:
				b.WriteString("; ")
			}
			b.WriteString(f.Name + " ")
			f.Type.print(b, depth+1, lines)
			if lines {
				fmt.Fprintf(b, " // at %d", f.Offset)
				if n := f.Type.Name; n != "" && !f.Type.Atomic && f.Type.Kind != Sync {
					b.WriteString(", " + n)
				}
			}
		}
		if lines && len(t.Fields) > 0 {
			b.WriteString("\n" + strings.Repeat("\t", depth))
		}
		b.WriteString("}")
	default:
		b.WriteString(t.short())
	}
}

// short names the type in a few words: what it is, rather than what its Go
// type is called, except for structs, which would fill the page.
func (t *Type) short() string {
	switch {
	case t.Atomic:
		return "atomic." + atomicNames[t.Kind]
	case t.Kind == Array:
		return "[" + strconv.Itoa(t.Len) + "]" + t.Elem.short()
	case t.Kind == Struct && t.Name == "":
		return "struct{...}"
	case t.Kind == Struct, t.Kind == Sync:
		return t.Name
	}
	return t.Kind.String()
}
