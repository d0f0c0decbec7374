package natsbridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/shmembox/shmem/internal/format"
)

// longestKey is how long a key of a bucket may be. A longer one is replaced by its hash: the key
// itself is in the frame.
const longestKey = 1000

// keyName returns the key of a bucket for a key of a map of that type. Different keys have
// different names. A bucket allows letters, digits and - / _ = . in keys, and no empty part between
// dots.
//
//   - A number is decimal, a bool is true or false.
//   - A shmem.Text is itself. What a key may not have is written as = and two hex digits, and so
//     are = itself and a leading _, which is for the bridge. The empty text is =.
//   - An array of bytes is hex.
//   - A struct or another array is its elements, with dots between them.
//   - What is longer than 1000 bytes is =x and the hex of its SHA-256.
func keyName(t *format.Type, key []byte) string {
	name := strings.Join(appendName(nil, t, key), ".")
	if isText(t) {
		name = dotted(name)
	}
	if len(name) > longestKey {
		sum := sha256.Sum256([]byte(name))
		return "=x" + hex.EncodeToString(sum[:])
	}
	return name
}

// appendName appends the names of the leaves of a key. No name has a dot, or is empty.
func appendName(names []string, t *format.Type, b []byte) []string {
	b = b[:t.Size]
	switch {
	case isText(t):
		return append(names, escaped(bytes.TrimRight(b, "\x00")))
	case isBytes(t):
		return append(names, hex.EncodeToString(b))
	case t.Kind == format.Array:
		for i := range t.Len {
			names = appendName(names, t.Elem, b[i*t.Elem.Size:])
		}
		return names
	case t.Kind == format.Struct:
		for i := range t.Fields {
			f := &t.Fields[i]
			names = appendName(names, f.Type, b[f.Offset:])
		}
		return names
	}
	return append(names, number(t, b))
}

// nameless reports whether a type has no leaf.
func nameless(t *format.Type) bool {
	for range t.LeafSpans() {
		return false
	}
	return true
}

// number returns a leaf that is a number or a bool.
func number(t *format.Type, b []byte) string {
	var word [8]byte
	n := uint64(0)
	switch len(b) {
	case 1:
		n = uint64(b[0])
	case 2:
		n = uint64(binary.NativeEndian.Uint16(b))
	case 4:
		n = uint64(binary.NativeEndian.Uint32(b))
	default:
		copy(word[:], b)
		n = binary.NativeEndian.Uint64(word[:])
	}
	switch t.Kind {
	case format.Bool:
		if n < 2 {
			return strconv.FormatBool(n == 1)
		}
	case format.Int8, format.Int16, format.Int32, format.Int64, format.Int:
		shift := 64 - 8*len(b)
		return strconv.FormatInt(int64(n<<shift)>>shift, 10)
	}
	return strconv.FormatUint(n, 10)
}

const upperHex = "0123456789ABCDEF"

// escaped writes a text without dots.
func escaped(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	var s strings.Builder
	for i, c := range b {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' ||
			c == '/' || c == '_' && i > 0 {
			s.WriteByte(c)
			continue
		}
		s.Write([]byte{'=', upperHex[c>>4], upperHex[c&15]})
	}
	return s.String()
}

// dotted gives an escaped text its dots back, where a key may have them.
func dotted(s string) string {
	const dot = "=2E"
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, dot)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if b.Len() == 0 || strings.HasSuffix(b.String(), ".") || after == "" ||
			strings.HasPrefix(after, dot) {
			b.WriteString(dot)
		} else {
			b.WriteByte('.')
		}
		s = after
	}
}

// isText reports whether a type is a shmem.Text, by name and shape: a schema may be of any program.
func isText(t *format.Type) bool {
	return t.Kind == format.Struct && strings.HasPrefix(t.Name, "shmem.Text[") &&
		len(t.Fields) == 1 && t.Fields[0].Offset == 0 && isBytes(t.Fields[0].Type)
}

func isBytes(t *format.Type) bool {
	return t.Kind == format.Array && t.Elem.Kind == format.Uint8 && !t.Elem.Atomic
}
