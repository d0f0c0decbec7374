package format

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"sync"
)

// The encoding of a schema: a byte for its version, then the type:
//
//	kind    byte      bit 7: atomic
//	name    uvarint length, bytes
//	size    uvarint
//	align   uvarint
//	Array   len uvarint, the element's type
//	Struct  number of fields uvarint; each: name, offset uvarint, type
//
// It is the same on every machine. Each type has exactly one encoding.
const (
	schemaVersion = 1
	atomicBit     = 0x80
)

// ErrSchema is returned by [Decode], wrapped with the reason.
var ErrSchema = errors.New("bad schema")

// AppendBinary appends the encoding of t to b.
func (t *Type) AppendBinary(b []byte) []byte {
	return t.append(append(b, schemaVersion), true)
}

// AppendCanonical appends the encoding of t without the names of Go types and alignments: what the
// fingerprint covers.
func (t *Type) AppendCanonical(b []byte) []byte { return t.append(b, false) }

// Fingerprint returns a hash of what determines the bytes of a value: names of fields, kinds,
// offsets, sizes, lengths, atomics, locks and the byte order of this machine. The names of Go types
// and their alignment do not count. That of a type that Of returned is computed once.
func (t *Type) Fingerprint() uint64 {
	if f, ok := fingerprints.Load(t); ok {
		return f.(uint64)
	}
	return t.fingerprint()
}

// fingerprints holds those of the types that Of returned: *Type to uint64.
var fingerprints sync.Map

func (t *Type) fingerprint() uint64 {
	order := binary.NativeEndian.AppendUint32(nil, orderMark)
	sum := sha256.Sum256(t.append(order, false))
	return binary.BigEndian.Uint64(sum[:])
}

func (t *Type) append(b []byte, full bool) []byte {
	kind := byte(t.Kind)
	if t.Atomic {
		kind |= atomicBit
	}
	b = append(b, kind)
	if full || t.Kind == Sync {
		b = appendName(b, t.Name)
	}
	b = binary.AppendUvarint(b, uint64(t.Size))
	if full {
		b = binary.AppendUvarint(b, uint64(t.Align))
	}
	switch t.Kind {
	case Array:
		b = binary.AppendUvarint(b, uint64(t.Len))
		b = t.Elem.append(b, full)
	case Struct:
		b = binary.AppendUvarint(b, uint64(len(t.Fields)))
		for _, f := range t.Fields {
			b = appendName(b, f.Name)
			b = binary.AppendUvarint(b, uint64(f.Offset))
			b = f.Type.append(b, full)
		}
	}
	return b
}

func appendName(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decode decodes what [Type.AppendBinary] wrote. It does not trust its input: in a type that it
// returns the fields are in order, lie inside their structs and do not overlap, sizes agree, and
// names are safe to print.
func Decode(b []byte) (*Type, error) {
	if len(b) > MaxSchema {
		return nil, fmt.Errorf("%w: %d bytes are too many", ErrSchema, len(b))
	}
	if len(b) == 0 || b[0] != schemaVersion {
		return nil, fmt.Errorf("%w: of an unknown version", ErrSchema)
	}
	d := decoder{rest: b[1:]}
	t := d.typ(1)
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes too many", len(d.rest))
	}
	if d.err != nil {
		return nil, d.err
	}
	return t, nil
}

// A decoder keeps the first error. Afterwards everything that it reads is zero.
type decoder struct {
	rest  []byte
	nodes int
	err   error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrSchema}, args...)...)
		d.rest = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("cut short")
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) int() int {
	v, n := binary.Uvarint(d.rest)
	switch {
	case n <= 0:
		d.fail("cut short or a number too large")
		return 0
	case n > 1 && d.rest[n-1] == 0:
		d.fail("a number in more bytes than it needs")
		return 0
	case v > math.MaxInt:
		d.fail("%d is too large for this machine", v)
		return 0
	}
	d.rest = d.rest[n:]
	return int(v)
}

func (d *decoder) name() string {
	n := d.int()
	if n > len(d.rest) || n > maxName {
		d.fail("a name of %d bytes", n)
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	if !nameOK(s) {
		d.fail("a name that cannot be printed")
		return ""
	}
	return s
}

func (d *decoder) typ(depth int) *Type {
	if depth > maxDepth {
		d.fail("deeper than %d levels", maxDepth)
	}
	if d.nodes++; d.nodes > maxNodes {
		d.fail("more than %d fields", maxNodes)
	}
	kind := d.byte()
	t := &Type{Kind: Kind(kind &^ atomicBit), Atomic: kind&atomicBit != 0}
	t.Name, t.Size, t.Align = d.name(), d.int(), d.int()
	if d.err != nil {
		return t
	}
	if t.Kind < Bool || t.Kind > lastKind {
		d.fail("unknown kind %d", t.Kind)
		return t
	}
	if t.Size == 0 || t.Align < 1 || t.Align > maxAlign || t.Align&(t.Align-1) != 0 ||
		t.Size%t.Align != 0 {
		d.fail("%v of %d bytes aligned to %d", t.Kind, t.Size, t.Align)
		return t
	}
	if t.Atomic && atomicNames[t.Kind] == "" {
		d.fail("an atomic %v", t.Kind)
		return t
	}
	switch t.Kind {
	case Array:
		d.array(t, depth)
	case Struct:
		d.fields(t, depth)
	case Sync:
		if !strings.HasPrefix(t.Name, "psync.") {
			d.fail("a lock called %q", t.Name)
		}
	case Int, Uint, Uintptr:
		if t.Size != 4 && t.Size != 8 {
			d.fail("%v of %d bytes", t.Kind, t.Size)
		}
	default:
		want := kindSizes[t.Kind]
		if t.Atomic && t.Kind == Bool {
			want = 4
		}
		if t.Size != want {
			d.fail("%v of %d bytes", t.Kind, t.Size)
		}
	}
	return t
}

func (d *decoder) array(t *Type, depth int) {
	t.Len = d.int()
	t.Elem = d.typ(depth + 1)
	if d.err != nil {
		return
	}
	high, size := bits.Mul64(uint64(t.Len), uint64(t.Elem.Size))
	if high != 0 || size != uint64(t.Size) || t.Align != t.Elem.Align {
		d.fail("[%d] of %d bytes each in %d", t.Len, t.Elem.Size, t.Size)
	}
}

func (d *decoder) fields(t *Type, depth int) {
	n := d.int() // whatever it is, the bytes run out first
	seen := make(map[string]bool, min(n, 64))
	end := 0 // of the field before
	for range n {
		f := Field{Name: d.name(), Offset: d.int()}
		f.Type = d.typ(depth + 1)
		if d.err != nil {
			return
		}
		if f.Name == "" || f.Name == "_" || seen[f.Name] {
			d.fail("field %q twice or without a name", f.Name)
			return
		}
		if f.Offset < end || f.Type.Size > t.Size-f.Offset {
			d.fail("field %s of %d bytes at %d outside its place", f.Name, f.Type.Size, f.Offset)
			return
		}
		if f.Offset%f.Type.Align != 0 || f.Type.Align > t.Align {
			d.fail("field %s at %d is not aligned", f.Name, f.Offset)
			return
		}
		seen[f.Name] = true
		end = f.Offset + f.Type.Size
		t.Fields = append(t.Fields, f)
	}
}
