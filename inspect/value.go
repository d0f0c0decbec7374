package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/shmembox/shmem/internal/format"
)

// A Value is a part of a snapshot: the whole value, a field or an element. It is a copy and does
// not change. The zero Value is raw and has no bytes.
type Value struct {
	t   *format.Type // nil: raw bytes
	b   []byte       // its bytes
	off int          // their offset in the payload
	s   *Snapshot    // what it is a part of; nil if it does not come from a snapshot
}

// Of returns the value of this type in b, such as one that was recorded. It fails if b has another
// size than the type. A nil Type gives a raw value. b is not copied.
func (t *Type) Of(b []byte) (Value, error) {
	if t == nil {
		return Value{b: b}, nil
	}
	if len(b) != t.t.Size {
		return Value{}, fmt.Errorf("%d bytes for a value of %d", len(b), t.t.Size)
	}
	return Value{t.t, b, 0, nil}, nil
}

// Type returns the type of the value, and nil for raw bytes.
func (v Value) Type() *Type { return typeOf(v.t) }

// Kind returns the kind of the value.
func (v Value) Kind() Kind {
	if v.t == nil {
		return Raw
	}
	return kindOf(v.t)
}

// Offset returns where the value begins in the payload of its segment.
func (v Value) Offset() int { return v.off }

// Bytes returns the bytes of the value, which must not be changed.
func (v Value) Bytes() []byte { return v.b }

// sub returns the part of type t at an offset in v.
func (v Value) sub(t *format.Type, off int) Value {
	return Value{t, v.b[off:][:t.Size:t.Size], v.off + off, v.s}
}

// Len returns the number of fields of a struct, of elements of an array or list, and of bytes of a
// text or raw value. It returns 0 for other kinds.
func (v Value) Len() int {
	switch v.Kind() {
	case Raw:
		return len(v.b)
	case Array:
		return v.t.Len
	case List: // the stored length may be anything
		return int(min(uint64(binary.NativeEndian.Uint32(v.b[v.t.Fields[0].Offset:])),
			uint64(v.t.Fields[1].Type.Len)))
	case Struct:
		return len(v.t.Fields)
	case Text:
		return len(v.text())
	}
	return 0
}

// Index returns element i of an array or list. It panics if there is none.
func (v Value) Index(i int) Value {
	if i < 0 || i >= v.Len() {
		panic("inspect: index " + strconv.Itoa(i) + " of " + strconv.Itoa(v.Len()))
	}
	switch v.Kind() {
	case Array:
		return v.sub(v.t.Elem, i*v.t.Elem.Size)
	case List:
		f := v.t.Fields[1]
		return v.sub(f.Type.Elem, f.Offset+i*f.Type.Elem.Size)
	}
	panic("inspect: Index of a " + v.Kind().String())
}

// Field returns a field of a struct. ok is false if there is none of that name.
func (v Value) Field(name string) (f Value, ok bool) {
	for n, f := range v.Fields() {
		if n == name {
			return f, true
		}
	}
	return Value{}, false
}

// Fields ranges over the fields of a struct, by offset. For other kinds there are none.
func (v Value) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Struct {
			return
		}
		for _, f := range v.t.Fields {
			if !yield(f.Name, v.sub(f.Type, f.Offset)) {
				return
			}
		}
	}
}

// Leaves ranges over the leaves of the value with their paths: numbers, texts, arrays of bytes and
// locks. What is not a leaf consists of leaves.
func (v Value) Leaves() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) { v.leaves("", yield) }
}

func (v Value) leaves(path string, yield func(string, Value) bool) bool {
	switch k := v.Kind(); {
	case k == Struct:
		for n, f := range v.Fields() {
			if !f.leaves(join(path, n), yield) {
				return false
			}
		}
	case (k == Array || k == List) && !isBytes(v.t):
		for i := range v.Len() {
			if !v.Index(i).leaves(path+"["+strconv.Itoa(i)+"]", yield) {
				return false
			}
		}
	default:
		return yield(path, v)
	}
	return true
}

// join appends a field to a path.
func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// At returns the value at a path such as Routes[3].Name. The path "" is v itself. The error of a
// path that does not exist says what there is instead.
func (v Value) At(path string) (Value, error) {
	rest := path
	for rest != "" {
		var err error
		done := path[:len(path)-len(rest)]
		if rest[0] == '[' {
			v, rest, err = v.atIndex(done, rest)
		} else {
			v, rest, err = v.atField(done, rest)
		}
		if err != nil {
			return v, fmt.Errorf("path %s: %w", path, err)
		}
	}
	return v, nil
}

// atIndex resolves the [N] that rest begins with. done is the path of v. It returns the element and
// what follows.
func (v Value) atIndex(done, rest string) (Value, string, error) {
	digits, after, ok := strings.Cut(rest[1:], "]")
	if !ok {
		return v, "", errors.New("] is missing")
	}
	if k := v.Kind(); k != Array && k != List {
		return v, "", fmt.Errorf("%s is no array%s", orValue(done), v.fieldsHint())
	}
	i, err := strconv.Atoi(digits)
	if err != nil || i < 0 || i >= v.Len() {
		return v, "", fmt.Errorf("%s has elements 0 to %d", orValue(done), v.Len()-1)
	}
	return v.Index(i), after, nil
}

// atField resolves the name that rest begins with, behind a dot unless it is the first.
func (v Value) atField(done, rest string) (Value, string, error) {
	if done != "" {
		if rest[0] != '.' {
			return v, "", fmt.Errorf(". or [ expected before %q", rest)
		}
		rest = rest[1:]
	}
	name := rest
	if i := strings.IndexAny(rest, ".["); i >= 0 {
		name = rest[:i]
	}
	f, ok := v.Field(name)
	if !ok {
		return v, "", fmt.Errorf("%s has no field %q%s", orValue(done), name, v.fieldsHint())
	}
	return f, rest[len(name):], nil
}

// orValue returns how an error calls the value at a path.
func orValue(path string) string {
	if path == "" {
		return "the value"
	}
	return path
}

// fieldsHint ends the error of a path that does not exist: it says what v has.
func (v Value) fieldsHint() string {
	if v.Kind() == Raw {
		return "; the segment holds raw bytes"
	}
	if v.Kind() != Struct {
		return "; it is " + typeOf(v.t).String()
	}
	var b strings.Builder
	for n := range v.Fields() {
		if b.Len() > 200 {
			b.WriteString(", ...")
			break
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(n)
	}
	return "; it has " + b.String()
}

// The methods below decode the bytes of a value of the right kind and size; they return something
// harmless for others.

func (v Value) uint() uint64 {
	switch len(v.b) {
	case 1:
		return uint64(v.b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(v.b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(v.b))
	case 8:
		return binary.NativeEndian.Uint64(v.b)
	}
	return 0
}

// int sign-extends the bytes.
func (v Value) int() int64 {
	shift := 64 - 8*min(len(v.b), 8)
	return int64(v.uint()<<shift) >> shift
}

func (v Value) float() float64 {
	if len(v.b) == 4 {
		return float64(math.Float32frombits(uint32(v.uint())))
	}
	return math.Float64frombits(v.uint())
}

func (v Value) complex() complex128 {
	n := len(v.b) / 2
	re, im := Value{b: v.b[:n]}, Value{b: v.b[n:]}
	return complex(re.float(), im.float())
}

func (v Value) bool() bool { return !v.zero() }

// text returns the bytes of a text, which end at the first NUL.
func (v Value) text() []byte {
	if i := bytes.IndexByte(v.b, 0); i >= 0 {
		return v.b[:i]
	}
	return v.b
}

// zero reports whether all bytes are 0.
func (v Value) zero() bool {
	for _, c := range v.b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Any returns the value in Go's own types: bool, int64, uint64, float64, complex128, string, []byte
// (of an array of bytes or a raw value), []any and map[string]any. A lock is a string with its
// state.
func (v Value) Any() any {
	switch v.Kind() {
	case Bool:
		return v.bool()
	case Int:
		return v.int()
	case Uint:
		return v.uint()
	case Float:
		return v.float()
	case Complex:
		return v.complex()
	case Text:
		return string(v.text())
	case Lock:
		return v.lock().String()
	case Array, List:
		if v.Kind() == Array && isBytes(v.t) {
			return bytes.Clone(v.b)
		}
		all := make([]any, v.Len())
		for i := range all {
			all[i] = v.Index(i).Any()
		}
		return all
	case Struct:
		all := make(map[string]any, len(v.t.Fields))
		for n, f := range v.Fields() {
			all[n] = f.Any()
		}
		return all
	}
	return bytes.Clone(v.b)
}

// MarshalJSON returns the value as encoding/json encodes the Go value, except that fields keep
// their order and unexported ones are included. Complex numbers, and floats that JSON lacks (NaN),
// are strings. A lock is a string with its state. Raw bytes are a string in base64, as a []byte is.
// The error is always nil.
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil), nil }

func (v Value) appendJSON(b []byte) []byte {
	switch v.Kind() {
	case Bool:
		return strconv.AppendBool(b, v.bool())
	case Int:
		return strconv.AppendInt(b, v.int(), 10)
	case Uint:
		return strconv.AppendUint(b, v.uint(), 10)
	case Float:
		f := v.float()
		var j any = f
		if len(v.b) == 4 { // as many digits as a float32 needs
			j = float32(f)
		}
		if n, err := json.Marshal(j); err == nil {
			return append(b, n...)
		}
		return strconv.AppendQuote(b, strconv.FormatFloat(f, 'g', -1, 64))
	case Text:
		return appendJSONString(b, string(v.text()))
	case Array, List:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.Index(i).appendJSON(b)
		}
		return append(b, ']')
	case Struct:
		b = append(b, '{')
		for i, f := range v.t.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, f.Name), ':')
			b = v.sub(f.Type, f.Offset).appendJSON(b)
		}
		return append(b, '}')
	case Raw:
		n, _ := json.Marshal(v.b)
		return append(b, n...)
	}
	return appendJSONString(b, v.String())
}
