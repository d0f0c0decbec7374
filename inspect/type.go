package inspect

import (
	"iter"
	"reflect"
	"strings"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// A Kind is what a type is, seen by those who only look.
type Kind int

// Kinds of types.
const (
	Raw     Kind = iota // bytes without a schema
	Bool                //
	Int                 // signed, of 1, 2, 4 or 8 bytes
	Uint                // unsigned
	Float               // of 4 or 8 bytes
	Complex             // of 8 or 16 bytes
	Text                // a shmem.Text
	Array               //
	List                // a shmem.Vec
	Struct              //
	Lock                // a type of package psync
)

// String is the kind in a word.
func (k Kind) String() string {
	if k < Raw || k > Lock {
		return "?"
	}
	return [...]string{"raw", "bool", "int", "uint", "float", "complex", "text", "array", "list", "struct", "lock"}[k]
}

// A Type is the schema of a value, as it is stored in its segment.
type Type struct{ t *format.Type }

// A Field is a field of a struct.
type Field struct {
	Name   string
	Offset int // in the struct
	Type   *Type
}

// TypeFor is the schema of a Go type, as its boxes store it.
func TypeFor[T any]() (*Type, error) {
	t, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	return &Type{t}, nil
}

func typeOf(t *format.Type) *Type {
	if t == nil {
		return nil
	}
	return &Type{t}
}

// Name is the name of the Go type, with its package; "" for types that have none, such as uint32.
func (t *Type) Name() string { return t.t.Name }

// Kind is what the type is.
func (t *Type) Kind() Kind { return kindOf(t.t) }

// Size is the size in bytes.
func (t *Type) Size() int { return t.t.Size }

// Align is the alignment in bytes.
func (t *Type) Align() int { return t.t.Align }

// Len is how many elements an array has, or a list or text can have.
func (t *Type) Len() int {
	switch t.Kind() {
	case Array:
		return t.t.Len
	case Text:
		return t.t.Fields[0].Type.Len
	case List:
		return t.t.Fields[1].Type.Len
	}
	return 0
}

// Elem is the type of the elements of an array or list, nil for other types.
func (t *Type) Elem() *Type {
	switch t.Kind() {
	case Array:
		return typeOf(t.t.Elem)
	case List:
		return typeOf(t.t.Fields[1].Type.Elem)
	}
	return nil
}

// Stream is "queue.Queue", "queue.Bytes" or "topic.Topic" if the type is that of a queue or topic, else "". What is in
// one is told by Segment.Messages; the value itself is its innards.
func (t *Type) Stream() string { return layout.Stream(t.t) }

// Item is the type of the messages of a queue or topic; nil for other types, and for a queue.Bytes.
func (t *Type) Item() *Type { return typeOf(layout.Item(t.t)) }

// Atomic reports whether it is a type of sync/atomic, which changes without the box's lock.
func (t *Type) Atomic() bool { return t.t.Atomic }

// Fields ranges over the fields of a struct, by offset.
func (t *Type) Fields() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		if t.Kind() != Struct {
			return
		}
		for _, f := range t.t.Fields {
			if !yield(Field{f.Name, f.Offset, typeOf(f.Type)}) {
				return
			}
		}
	}
}

// String is the type in Go's words: its name, or the type itself on one line.
func (t *Type) String() string {
	if t.t.Name != "" {
		return t.t.Name
	}
	return t.t.String()
}

// Declaration is the type as Go would declare it, a field on a line with its offset.
func (t *Type) Declaration() string { return t.t.Declaration() }

// Fingerprint tells types with different bytes apart; it stands in the control block.
func (t *Type) Fingerprint() uint64 { return t.t.Fingerprint() }

// AppendBinary appends the schema as it stands in a segment, see docs/format.md. The error is nil.
func (t *Type) AppendBinary(b []byte) ([]byte, error) { return t.t.AppendBinary(b), nil }

func kindOf(t *format.Type) Kind {
	switch t.Kind {
	case format.Bool:
		return Bool
	case format.Int8, format.Int16, format.Int32, format.Int64, format.Int:
		return Int
	case format.Uint8, format.Uint16, format.Uint32, format.Uint64, format.Uint, format.Uintptr:
		return Uint
	case format.Float32, format.Float64:
		return Float
	case format.Complex64, format.Complex128:
		return Complex
	case format.Array:
		return Array
	case format.Sync:
		return Lock
	case format.Struct:
		switch {
		case isText(t):
			return Text
		case isList(t):
			return List
		}
		return Struct
	}
	return Raw
}

func isText(t *format.Type) bool {
	return strings.HasPrefix(t.Name, "shmem.Text[") && len(t.Fields) == 1 && isBytes(t.Fields[0].Type) && t.Fields[0].Offset == 0
}

func isList(t *format.Type) bool {
	return strings.HasPrefix(t.Name, "shmem.Vec[") && len(t.Fields) == 2 &&
		t.Fields[0].Type.Kind == format.Uint32 && !t.Fields[0].Type.Atomic && t.Fields[1].Type.Kind == format.Array
}

func isBytes(t *format.Type) bool {
	return t.Kind == format.Array && t.Elem.Kind == format.Uint8 && !t.Elem.Atomic
}
