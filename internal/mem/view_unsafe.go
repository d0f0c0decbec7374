package mem

import (
	"fmt"
	"reflect"
	"runtime"
	"unsafe"
)

// address makes a pointer of a number that was never one, for the kernel to map at.
func address(a uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

// at returns the address of off bytes from start. It checks that size bytes lie there within limit,
// aligned to align.
func (m *Mapping) at(start, limit, off, size, align uintptr) (unsafe.Pointer, error) {
	if off > limit || size > limit-off || (uintptr(m.base)+start+off)%align != 0 {
		return nil, fmt.Errorf("%w: %d bytes at %d of %d, alignment %d",
			ErrBounds, size, off, limit, align)
	}
	return unsafe.Add(m.base, start+off), nil
}

// At returns the payload from off on as a T. T must have no Go pointers.
func At[T any](m *Mapping, off int) (*T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	p, err := m.at(m.delta, m.payload, uintptr(off), unsafe.Sizeof(*z), unsafe.Alignof(*z))
	return (*T)(p), err
}

// Control is At for offsets of the whole mapping, with the control block.
func Control[T any](m *Mapping, off int) (*T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	p, err := m.at(0, m.length, uintptr(off), unsafe.Sizeof(*z), unsafe.Alignof(*z))
	return (*T)(p), err
}

// ControlSlice is SliceAt for offsets of the whole mapping, with the control block.
func ControlSlice[T any](m *Mapping, off, n int) ([]T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	if n < 0 || unsafe.Sizeof(*z) != 0 && uintptr(n) > m.length/unsafe.Sizeof(*z) {
		return nil, fmt.Errorf("%w: %d values at %d", ErrBounds, n, off)
	}
	p, err := m.at(0, m.length, uintptr(off), uintptr(n)*unsafe.Sizeof(*z), unsafe.Alignof(*z))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(p), n), nil
}

// SliceAt returns the payload from off on as n values.
func SliceAt[T any](m *Mapping, off, n int) ([]T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	if n < 0 || unsafe.Sizeof(*z) != 0 && uintptr(n) > m.payload/unsafe.Sizeof(*z) {
		return nil, fmt.Errorf("%w: %d values at %d", ErrBounds, n, off)
	}
	p, err := m.at(m.delta, m.payload, uintptr(off), uintptr(n)*unsafe.Sizeof(*z),
		unsafe.Alignof(*z))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(p), n), nil
}

// A Table is a view of values that need not stand side by side: each is at the beginning of a cell,
// and cells have a distance. The zero Table has no values.
type Table[T any] struct {
	base   unsafe.Pointer
	n      int
	stride int // from value to value
	cell   int // bytes of a cell
}

// TableAt returns the payload from off on as n cells that begin stride bytes apart. A value and its
// cell have no more bytes than that.
func TableAt[T any](m *Mapping, off, n, stride, cell int) (Table[T], error) {
	var z *T // a T itself would be made on the heap, if it is large
	size, align := unsafe.Sizeof(*z), unsafe.Alignof(*z)
	if n < 0 || cell < 1 || stride < cell || uintptr(cell) < size || uintptr(stride)%align != 0 ||
		uintptr(n) > m.payload/uintptr(stride) {
		return Table[T]{}, fmt.Errorf("%w: %d values of %d bytes in %d at %d", ErrBounds, n, size,
			stride, off)
	}
	long := uintptr(0)
	if n > 0 {
		long = uintptr(n-1)*uintptr(stride) + uintptr(cell)
	}
	p, err := m.at(m.delta, m.payload, uintptr(off), long, align)
	return Table[T]{p, n, stride, cell}, err
}

// Len returns the number of values.
func (t *Table[T]) Len() int { return t.n }

// At returns value i.
func (t *Table[T]) At(i int) *T {
	if uint(i) >= uint(t.n) {
		panic("mem: no such value in the table")
	}
	return (*T)(unsafe.Add(t.base, i*t.stride))
}

// Prefetch asks for the cache line of value i, if there is one, which the caller reads soon.
func (t *Table[T]) Prefetch(i int) {
	if uint(i) < uint(t.n) {
		prefetch(unsafe.Add(t.base, i*t.stride))
	}
}

// PrefetchWrite is Prefetch for a caller that writes soon.
func (t *Table[T]) PrefetchWrite(i int) {
	if uint(i) < uint(t.n) {
		prefetchWrite(unsafe.Add(t.base, i*t.stride))
	}
}

// Rest returns the bytes of cell i behind its value.
func (t *Table[T]) Rest(i int) []byte {
	var z *T
	size := unsafe.Sizeof(*z)
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(t.At(i)), size)), uintptr(t.cell)-size)
}

// Payload returns the bytes of the payload.
func (m *Mapping) Payload() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, m.delta)), m.payload)
}

// Offset returns the offset of p, which points into m, in the mapping.
func Offset[T any](m *Mapping, p *T) int {
	return int(uintptr(unsafe.Pointer(p)) - uintptr(m.base))
}

// SizeOf returns the size of T in bytes.
func SizeOf[T any]() int { return int(unsafe.Sizeof(*(*T)(nil))) }

// Bytes returns the memory of a value without Go pointers.
func Bytes[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// unaligned tells that the processor loads words from any address.
const unaligned = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// CanHaveWords reports whether words can be stored from the beginning of a T on.
func CanHaveWords[T any]() bool {
	var z *T
	return unaligned || unsafe.Alignof(*z)%8 == 0
}

// IsWords reports whether a T is made of whole words, which can be loaded.
func IsWords[T any]() bool {
	var z *T
	return unsafe.Sizeof(*z)%8 == 0 && CanHaveWords[T]()
}

// FirstWord and FirstByte return where a value begins.
func FirstWord[T any](p *T) *uint64 { return (*uint64)(unsafe.Pointer(p)) }
func FirstByte[T any](p *T) *byte   { return (*byte)(unsafe.Pointer(p)) }

// WordBytes returns the memory of words.
func WordBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}

// Elements returns the array *p as a slice. It returns nil if A is not an array of T.
func Elements[T, A any](p *A) []T {
	t := reflect.TypeFor[A]()
	if t.Kind() != reflect.Array || t.Elem() != reflect.TypeFor[T]() {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(p)), t.Len())
}

// KeyBytes returns the bytes of a string or of a slice, which are only read.
func KeyBytes[K ~string | ~[]byte](k K) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&k)), len(k)) // both begin with the address
}
