package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/shmembox/shmem/internal/format"
)

// A Value is a part of a snapshot: the whole value, or a field or element of it. It is a copy, and
// does not change.
type Value struct {
	t   *format.Type // nil: raw bytes
	b   []byte       // its bytes
	off int          // where they stand in the payload
	s   *Snapshot    // nil if it is not of a segment
}

// Of is the value of this type that b holds, such as one that was recorded. b is not copied.
func (t *Type) Of(b []byte) (Value, error) {
	if len(b) != t.t.Size {
		return Value{}, fmt.Errorf("%d bytes for a value of %d", len(b), t.t.Size)
	}
	return Value{t.t, b, 0, nil}, nil
}

// Type is the value's type, nil for raw bytes.
func (v Value) Type() *Type { return typeOf(v.t) }

// Kind is what the value is.
func (v Value) Kind() Kind {
	if v.t == nil {
		return Raw
	}
	return kindOf(v.t)
}

// Offset is where in the payload the value stands.
func (v Value) Offset() int { return v.off }

// Bytes are the bytes of the value, not to be changed.
func (v Value) Bytes() []byte { return v.b }

func (v Value) sub(t *format.Type, off int) Value {
	return Value{t, v.b[off:][:t.Size:t.Size], v.off + off, v.s}
}

// Len is the number of fields of a struct, elements of an array or list, or bytes of a text.
func (v Value) Len() int {
	switch v.Kind() {
	case Raw:
		return len(v.b)
	case Array:
		return v.t.Len
	case List:
		return int(min(uint64(binary.NativeEndian.Uint32(v.b[v.t.Fields[0].Offset:])), uint64(v.t.Fields[1].Type.Len)))
	case Struct:
		return len(v.t.Fields)
	case Text:
		return len(v.text())
	}
	return 0
}

// Index is an element of an array or list. It panics if there is none.
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

// Field is a field of a struct.
func (v Value) Field(name string) (Value, bool) {
	for n, f := range v.Fields() {
		if n == name {
			return f, true
		}
	}
	return Value{}, false
}

// Fields ranges over the fields of a struct.
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

// Leaves ranges over everything that has no parts, with its path: numbers, texts, arrays of bytes
// and locks.
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

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// At is the value at a path such as Routes[3].Name; the empty path is v itself. The error says what
// there is instead.
func (v Value) At(path string) (Value, error) {
	rest := path
	for first := true; rest != ""; first = false {
		at := path[:len(path)-len(rest)]
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return v, fmt.Errorf("path %s: ] is missing", path)
			}
			if k := v.Kind(); k != Array && k != List {
				return v, fmt.Errorf("path %s: %s is no array%s", path, orValue(at), v.fieldsHint())
			}
			i, err := strconv.Atoi(rest[1:end])
			if err != nil || i < 0 || i >= v.Len() {
				return v, fmt.Errorf("path %s: %s has elements 0 to %d", path, orValue(at), v.Len()-1)
			}
			v, rest = v.Index(i), rest[end+1:]
			continue
		}
		if !first {
			if rest[0] != '.' {
				return v, fmt.Errorf("path %s: . or [ expected before %q", path, rest)
			}
			rest = rest[1:]
		}
		name := rest
		if i := strings.IndexAny(rest, ".["); i >= 0 {
			name = rest[:i]
		}
		f, ok := v.Field(name)
		if !ok {
			return v, fmt.Errorf("path %s: %s has no field %q%s", path, orValue(at), name, v.fieldsHint())
		}
		v, rest = f, rest[len(name):]
	}
	return v, nil
}

func orValue(path string) string {
	if path == "" {
		return "the value"
	}
	return path
}

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

// numbers

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

func (v Value) bool() bool {
	for _, c := range v.b {
		if c != 0 {
			return true
		}
	}
	return false
}

func (v Value) text() []byte {
	if i := bytes.IndexByte(v.b, 0); i >= 0 {
		return v.b[:i]
	}
	return v.b
}

func (v Value) zero() bool {
	for _, c := range v.b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Any is the value in Go's own types: bool, int64, uint64, float64, complex128, string, []byte (for
// arrays of bytes and raw bytes), []any, map[string]any; locks are a string that says their state.
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

// MarshalJSON gives the value as encoding/json gives the Go value, fields in their order and
// unexported ones too. Floats that JSON does not have, and complex numbers, are strings; so are
// locks, which tell their state. Raw bytes are a string in base64, as a []byte.
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
		var any any = f
		if len(v.b) == 4 {
			any = float32(f)
		}
		if n, err := json.Marshal(any); err == nil {
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

func appendJSONString(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string never fails
	return append(b, q...)
}
