package kv

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

// inlineWords is how long a key may be, in words, for its words to be on the stack.
const inlineWords = 8

// keyForm says how keys become words: keys that are == have the same words. These are also the
// bytes of the key in memory, with zero for what does not count.
type keyForm struct {
	size  int
	words int
	spans []format.Span // the bytes that count; nil: all
}

func newKeyForm(t *format.Type) keyForm {
	f := keyForm{size: t.Size, words: (t.Size + 7) / 8}
	spans := slices.Collect(t.LeafSpans())
	if len(spans) != 1 || spans[0].Len != t.Size {
		f.spans = spans
	}
	return f
}

// encode writes the words of a key into buf, whose words are zero, if it is large enough. It
// returns them.
func (f *keyForm) encode(buf *[inlineWords]uint64, b []byte) []uint64 {
	if f.words > inlineWords || f.spans != nil {
		return f.encodeParts(buf, b)
	}
	copy(mem.WordBytes(buf[:]), b)
	return buf[:f.words]
}

// encodeParts is encode of a key that is long, or of which not all bytes count.
func (f *keyForm) encodeParts(buf *[inlineWords]uint64, b []byte) []uint64 {
	key := buf[:]
	if f.words > len(key) {
		key = make([]uint64, f.words)
	}
	key = key[:f.words]
	all := mem.WordBytes(key)
	if f.spans == nil {
		copy(all, b)
	}
	for _, s := range f.spans {
		copy(all[s.Off:s.Off+s.Len], b[s.Off:])
	}
	return key
}

// decode writes a key to the bytes of a K.
func decode(b []byte, key []uint64) { copy(b, mem.WordBytes(key)) }

// keyType returns the schema of a type of keys.
func keyType(t reflect.Type) (*format.Type, error) {
	s, err := format.Of(t)
	if err != nil {
		return nil, err
	}
	if path := findKind(s, "", isFloat); path != "" {
		return nil, badType(t, path, "is a floating point number, which cannot be part of a key: "+
			"NaN differs from itself; use math.Float64bits")
	}
	return s, plain(t, s, "a key")
}

// valueType returns the schema of a type of values.
func valueType(t reflect.Type) (*format.Type, error) {
	s, err := format.Of(t)
	if err != nil {
		return nil, err
	}
	return s, plain(t, s, "a value")
}

// plain refuses atomics and locks.
func plain(t reflect.Type, s *format.Type, what string) error {
	shared := func(t *format.Type) bool { return t.Atomic || t.Kind == format.Sync }
	if path := findKind(s, "", shared); path != "" {
		return badType(t, path, "is an atomic or a lock, which cannot be part of "+what+
			" of a map: values are copies; use a plain number, and Update")
	}
	return nil
}

func badType(t reflect.Type, path, why string) error {
	return fmt.Errorf("%w: %v%s %s", shmem.ErrBadType, t, strings.TrimSuffix(path, " "), why)
}

func isFloat(t *format.Type) bool {
	return t.Kind >= format.Float32 && t.Kind <= format.Complex128
}

// findKind returns the path of a part of a type that is of a kind; of the type itself it is " ".
// It is "" if there is none.
func findKind(t *format.Type, path string, is func(*format.Type) bool) string {
	switch t.Kind {
	case format.Array:
		return findKind(t.Elem, path+"[]", is)
	case format.Struct:
		for _, f := range t.Fields {
			if p := findKind(f.Type, path+"."+f.Name, is); p != "" {
				return p
			}
		}
		return ""
	}
	switch {
	case !is(t):
		return ""
	case path == "":
		return " "
	}
	return path
}
