// Package format defines what the bytes of a segment mean: the schema of a type with its encoding,
// fingerprint and differences, and the control block after the payload.
//
// It imports nothing of this module, makes no system call, uses no unsafe, and keeps no state
// except a cache of types. Its invariant: it trusts no input, and what it decodes has offsets and
// sizes that lie within the file and within each other. docs/format.md describes the format.
package format

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// A Kind is the kind of a [Type]. The values are part of the encoding and never change.
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

// String returns the Go name of the kind.
func (k Kind) String() string {
	if k < Bool || k > lastKind {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// A Type is the schema of a Go type: a tree whose leaves are numbers and opaque locks. It never
// changes, and types share parts.
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

// Spans returns the bytes that other processes may change at any time without the lock of the box:
// those of psync and sync/atomic types. They are in order, and adjacent ones are merged.
//
// The sequence needs memory for each array in the type, whatever the array's length. It can be used
// any number of times, also concurrently.
func (t *Type) Spans() iter.Seq[Span] {
	return sequence(t.runs(func(t *Type) bool { return t.Kind == Sync || t.Atomic }))
}

// SyncSpans is [Type.Spans] for psync types only.
func (t *Type) SyncSpans() iter.Seq[Span] {
	return sequence(t.runs(func(t *Type) bool { return t.Kind == Sync }))
}

// LeafSpans returns the bytes of all numbers in the type: those that are neither padding nor in
// fields without a name.
func (t *Type) LeafSpans() iter.Seq[Span] {
	return sequence(t.runs(func(*Type) bool { return true }))
}

// A run is a range of bytes or, if it has inner runs, count repetitions of those.
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
				if n := len(all); n > 0 && r.inner == nil && all[n-1].inner == nil &&
					all[n-1].off+all[n-1].len == r.off {
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

// String returns the type on one line, as in Go source.
func (t *Type) String() string {
	var b strings.Builder
	t.print(&b, 0, false)
	return b.String()
}

// Declaration returns the type as in Go source, with one line for each field and its offset in its
// struct.
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

// short describes the type in a few words: by its structure, but a struct by the name of its Go
// type.
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
