package inspect

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// A Kind is a class of types that are shown and set alike.
type Kind int

// Kinds of types.
const (
	Raw     Kind = iota // bytes without a schema
	Bool                // of 1 byte, or 4 as an atomic.Bool
	Int                 // signed, of 1, 2, 4 or 8 bytes
	Uint                // unsigned
	Float               // of 4 or 8 bytes
	Complex             // of 8 or 16 bytes
	Text                // a shmem.Text
	Array               // of a fixed number of elements
	List                // a shmem.Vec
	Struct              // also sync/atomic types that are not a number
	Lock                // a type of package psync
)

// String returns the kind in a word, such as "float".
func (k Kind) String() string {
	if k < Raw || k > Lock {
		return "?"
	}
	return [...]string{"raw", "bool", "int", "uint", "float", "complex", "text", "array", "list",
		"struct", "lock"}[k]
}

// A Type is the schema of a value, as it is stored in the segment. A *Type may be nil where a
// segment has no schema, or has lost it meanwhile. Of a nil one Name, String, Stream, Item,
// MapTypes and CallTypes return zero values, and no other methods may be called.
type Type struct{ t *format.Type }

// A Field is a field of a struct.
type Field struct {
	Name   string
	Offset int // in the struct
	Type   *Type
}

// TypeFor returns the schema of a Go type, as its boxes store it. It returns shmem.ErrBadType if T
// cannot be in shared memory; the detail is a *shmem.TypeError.
func TypeFor[T any]() (*Type, error) {
	t, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		var te *format.TypeError
		if errors.As(err, &te) {
			err = &shmem.TypeError{Type: te.Type, Path: te.Path, Reason: te.Reason}
		}
		return nil, &shmem.Error{Op: "inspect type", Err: err}
	}
	return &Type{t}, nil
}

// DecodeType returns the type that [Type.AppendBinary] has encoded. It returns shmem.ErrBadType for
// what is none.
func DecodeType(b []byte) (*Type, error) {
	t, err := format.Decode(b)
	if err != nil {
		return nil, &shmem.Error{Op: "inspect type",
			Err: fmt.Errorf("%w: %w", shmem.ErrBadType, err)}
	}
	return &Type{t}, nil
}

func typeOf(t *format.Type) *Type {
	if t == nil {
		return nil
	}
	return &Type{t}
}

// schema returns that of t, nil if t is nil.
func (t *Type) schema() *format.Type {
	if t == nil {
		return nil
	}
	return t.t
}

// Name returns the name of the Go type with its package, and "" for types without one, such as
// uint32.
func (t *Type) Name() string {
	if t == nil {
		return ""
	}
	return t.t.Name
}

// Kind returns the kind of the type.
func (t *Type) Kind() Kind { return kindOf(t.t) }

// Size returns the size in bytes.
func (t *Type) Size() int { return t.t.Size }

// Align returns the alignment in bytes.
func (t *Type) Align() int { return t.t.Align }

// Len returns how many elements an array has, how many a list can have, and how many bytes a text
// can have. It returns 0 for other types.
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

// Elem returns the type of the elements of an array or list, and nil for other types.
func (t *Type) Elem() *Type {
	switch t.Kind() {
	case Array:
		return typeOf(t.t.Elem)
	case List:
		return typeOf(t.t.Fields[1].Type.Elem)
	}
	return nil
}

// Stream returns "queue.Queue", "queue.Bytes", "topic.Topic" or "topic.Bytes" for the type of a
// queue or topic,
// and "" for other types. The value of such a type is the memory of the rings; Observer.Messages
// returns the messages.
func (t *Type) Stream() string { return layout.Stream(t.schema()) }

// Item returns the type of the messages of a queue or topic. It returns nil for a queue.Bytes or
// topic.Bytes, and for other types.
func (t *Type) Item() *Type { return typeOf(layout.Item(t.schema())) }

// Atomic reports whether t is a type of sync/atomic. Its values change without the box's lock.
func (t *Type) Atomic() bool { return t.t.Atomic }

// Fields ranges over the fields of a struct, by offset. For other types there are none.
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

// String returns the type's name or, if it has none, its Go notation on one line.
func (t *Type) String() string {
	if t == nil {
		return ""
	}
	if t.t.Name != "" {
		return t.t.Name
	}
	return t.t.String()
}

// Declaration returns the type as a Go declaration, with a line and the offset for each field.
func (t *Type) Declaration() string { return t.t.Declaration() }

// Fingerprint returns a hash of the schema. Types whose bytes have another meaning have different
// fingerprints. The control block of a segment has it.
func (t *Type) Fingerprint() uint64 { return t.t.Fingerprint() }

// AppendBinary appends the schema in the encoding of the control block; see docs/format.md. The
// error is always nil. It implements encoding.BinaryAppender.
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

// Text and Vec are recognised by name and by shape, since a schema may be of any program: a type
// that only has the name is shown as the struct it is.

func isText(t *format.Type) bool {
	return strings.HasPrefix(t.Name, "shmem.Text[") && len(t.Fields) == 1 &&
		isBytes(t.Fields[0].Type) && t.Fields[0].Offset == 0
}

func isList(t *format.Type) bool {
	return strings.HasPrefix(t.Name, "shmem.Vec[") && len(t.Fields) == 2 &&
		t.Fields[0].Type.Kind == format.Uint32 && !t.Fields[0].Type.Atomic &&
		t.Fields[1].Type.Kind == format.Array
}

func isBytes(t *format.Type) bool {
	return t.Kind == format.Array && t.Elem.Kind == format.Uint8 && !t.Elem.Atomic
}
