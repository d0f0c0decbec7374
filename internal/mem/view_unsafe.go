package mem

import (
	"fmt"
	"reflect"
	"unsafe"
)

// address makes a pointer of a number that never was one: a place for the kernel to map at.
func address(a uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

// at checks that size bytes at off, aligned to align, lie within limit bytes from start.
func (m *Mapping) at(start, limit, off, size, align uintptr) (unsafe.Pointer, error) {
	if off > limit || size > limit-off || (uintptr(m.base)+start+off)%align != 0 {
		return nil, fmt.Errorf("%w: %d bytes at %d of %d, alignment %d", ErrBounds, size, off, limit, align)
	}
	return unsafe.Add(m.base, start+off), nil
}

// At is the payload from off on, seen as a T. T must be free of Go pointers.
func At[T any](m *Mapping, off int) (*T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	p, err := m.at(m.delta, m.payload, uintptr(off), unsafe.Sizeof(*z), unsafe.Alignof(*z))
	return (*T)(p), err
}

// Control is the mapping from off on, control block included, seen as a T.
func Control[T any](m *Mapping, off int) (*T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	p, err := m.at(0, m.length, uintptr(off), unsafe.Sizeof(*z), unsafe.Alignof(*z))
	return (*T)(p), err
}

// ControlSlice is n values from off on, control block included.
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

// SliceAt is n values of the payload from off on.
func SliceAt[T any](m *Mapping, off, n int) ([]T, error) {
	var z *T // a T itself would be made on the heap, if it is large
	if n < 0 || unsafe.Sizeof(*z) != 0 && uintptr(n) > m.payload/unsafe.Sizeof(*z) {
		return nil, fmt.Errorf("%w: %d values at %d", ErrBounds, n, off)
	}
	p, err := m.at(m.delta, m.payload, uintptr(off), uintptr(n)*unsafe.Sizeof(*z), unsafe.Alignof(*z))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(p), n), nil
}

// Payload is the payload's bytes.
func (m *Mapping) Payload() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, m.delta)), m.payload)
}

// Offset is where p points in the mapping; p must come from Of.
func Offset[T any](m *Mapping, p *T) int { return int(uintptr(unsafe.Pointer(p)) - uintptr(m.base)) }

// SizeOf is the size of T in bytes, AlignOf its alignment.
func SizeOf[T any]() int { return int(unsafe.Sizeof(*(*T)(nil))) }

// AlignOf is the alignment of T in bytes.
func AlignOf[T any]() int { return int(unsafe.Alignof(*(*T)(nil))) }

// Bytes is the memory of a value that is free of Go pointers.
func Bytes[T any](p *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p)) }

// Elements is the array *p as a slice of its elements; it is nil unless A is an array of T.
func Elements[T, A any](p *A) []T {
	t := reflect.TypeFor[A]()
	if t.Kind() != reflect.Array || t.Elem() != reflect.TypeFor[T]() {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(p)), t.Len())
}
