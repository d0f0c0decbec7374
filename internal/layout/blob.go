package layout

import (
	"errors"
	"strconv"
	"strings"

	"github.com/shmembox/shmem/internal/format"
)

// PoolName is the name that the type of a pool of buffers has in its schema.
const PoolName = "blob.Pool"

// The fields of that type.
const (
	poolField    = "Pool"
	statesField  = "States"
	lengthsField = "Lengths"
	sharesField  = "Shares"
	buffersField = "Buffers" // and the number of the class
)

// MaxClasses is how many sizes of buffers a pool can have.
const MaxClasses = 16

// BufferAlign is what the sizes of buffers are multiples of.
const BufferAlign = 64

// ErrNoPool is returned for a type that is not laid out as a pool of buffers.
var ErrNoPool = errors.New("it is no pool of buffers of this version")

// PoolHeader begins a blob.Pool. A test compares it with pool.Header.
var PoolHeader = record("pool.Header", 256,
	half("Armed", 0), word("Dead", 128), word("Expired", 136))

// A Class says how many buffers of a size there are.
type Class struct {
	Size, Count int

	First int // the number of its first buffer
	At    int // where that is, in bytes from the start of the payload
}

// A Pool is the layout of a blob.Pool. Offsets are in bytes from the start of the payload. The
// header is at 0.
//
//	Header; States [n]Word; Lengths [n]Word; Shares [n*Shares]Word;
//	Buffers0 [count][size]byte; Buffers1 ...
type Pool struct {
	Type    *format.Type // of the whole payload
	Classes []Class
	Buffers int // of all classes
	Shares  int // of each buffer

	StatesAt, LengthsAt, SharesAt int // offsets
}

// NewPool lays out a pool. Of the classes, Size and Count are used.
func NewPool(classes []Class, shares int) (*Pool, error) {
	if len(classes) < 1 || len(classes) > MaxClasses || shares < 1 || shares > 64 {
		return nil, ErrSize
	}
	p := &Pool{Classes: append([]Class(nil), classes...), Shares: shares}
	for i := range p.Classes {
		c := &p.Classes[i]
		if c.Size < BufferAlign || c.Size%BufferAlign != 0 || c.Count < 1 || c.Count > 1<<16 ||
			i > 0 && c.Size <= p.Classes[i-1].Size {
			return nil, ErrSize
		}
		c.First = p.Buffers
		p.Buffers += c.Count
	}
	if p.Buffers > 1<<16 {
		return nil, ErrSize
	}
	parts := []Part{
		{Name: poolField, Type: PoolHeader},
		{Name: statesField, Type: Word, Len: p.Buffers, Align: pairAlign},
		{Name: lengthsField, Type: Word, Len: p.Buffers, Align: pairAlign},
		{Name: sharesField, Type: Word, Len: p.Buffers * shares, Align: pairAlign},
	}
	for i, c := range p.Classes {
		parts = append(parts, Part{
			Name: classField(i), Type: arrayOf(octet, c.Size), Len: c.Count, Align: pairAlign,
		})
	}
	t, err := Struct(PoolName, parts...)
	if err != nil {
		return nil, err
	}
	p.Type = t
	p.StatesAt, p.LengthsAt = Offset(t, statesField), Offset(t, lengthsField)
	p.SharesAt = Offset(t, sharesField)
	for i := range p.Classes {
		p.Classes[i].At = Offset(t, classField(i))
	}
	return p, nil
}

func classField(i int) string { return buffersField + strconv.Itoa(i) }

// ClassOf returns the class of a buffer, which there is.
func (p *Pool) ClassOf(buffer int) *Class {
	i := len(p.Classes) - 1
	for i > 0 && buffer < p.Classes[i].First {
		i--
	}
	return &p.Classes[i]
}

// IsPool reports whether t is the type of a blob.Pool. The value of such a segment is no box.
func IsPool(t *format.Type) bool {
	return t != nil && t.Kind == format.Struct && t.Name == PoolName && len(t.Fields) > 4 &&
		First(t) == poolField
}

// PoolOf is the layout of a stored pool. It is ErrNoPool unless that is, to the byte, what NewPool
// makes.
func PoolOf(stored *format.Type) (*Pool, error) {
	if !IsPool(stored) || len(stored.Fields) > 4+MaxClasses {
		return nil, ErrNoPool
	}
	var classes []Class
	for _, f := range stored.Fields[4:] {
		if !strings.HasPrefix(f.Name, buffersField) || f.Type.Kind != format.Array {
			return nil, ErrNoPool
		}
		classes = append(classes, Class{Size: f.Type.Elem.Size, Count: f.Type.Len})
	}
	n := max(Len(stored, statesField), 1)
	p, err := NewPool(classes, Len(stored, sharesField)/n)
	if err != nil || p.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoPool
	}
	return p, nil
}
