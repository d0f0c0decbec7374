package shmem

import (
	"fmt"
	"reflect"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

// ValueAt returns the part of the payload of s that begins off bytes from its start, as a T: the
// memory itself, like Box.Value, valid until s is closed. A pointer that is used after Close
// faults. Access is not synchronised. If s is attached read-only, writing faults.
//
// T is any type that a box can hold, and can be of any size: it is never copied. The type is not
// stored in the segment and not compared with what is stored there; its methods Init, Drop and
// Check are not called. Close does not wait for locks of package psync in T.
//
// The error is ErrBadType if T cannot be shared or, in a foreign segment, has padding that is not
// declared (see Options.Foreign), ErrMismatch if it does not lie within the payload
// or is not aligned there, and ErrClosed if s is closed.
func ValueAt[T any](s *Segment, off int64) (*T, error) {
	var v *T
	err := s.part("value at", reflect.TypeFor[T](), off, 1, func(off int) (err error) {
		v, err = mem.At[T](s.m, off)
		return err
	})
	return v, err
}

// SliceAt returns the part of the payload of s that begins off bytes from its start, as n values of
// type T: the memory itself. What ValueAt says of one T holds for all of them. The slice has no
// room to grow; to append to it copies it. With n of 0 it is empty; a negative n is ErrMismatch.
func SliceAt[T any](s *Segment, off int64, n int) ([]T, error) {
	var all []T
	err := s.part("slice at", reflect.TypeFor[T](), off, n, func(off int) (err error) {
		all, err = mem.SliceAt[T](s.m, off, n)
		return err
	})
	return all, err
}

// part calls view with off if n values of type t can be seen there.
func (s *Segment) part(
	op string, t reflect.Type, off int64, n int, view func(off int) error,
) error {
	if _, err := format.Of(t); err != nil {
		return public(op, s.Name(), err)
	}
	if s.a.OfOthers() {
		if err := format.Unpadded(t, n > 1); err != nil {
			return public(op, s.Name(), err)
		}
	}
	if !s.m.Pin() {
		return public(op, s.Name(), ErrClosed)
	}
	defer s.m.Unpin()
	size, each := int64(s.Size()), int64(t.Size())
	if off < 0 || off > size || n < 0 || int64(n) > (size-off)/each {
		return public(op, s.Name(), noPart("offset %d, length %d of %v (%d bytes each): not "+
			"within the %d bytes of the segment", off, n, t, each, size))
	}
	if err := view(int(off)); err != nil {
		return public(op, s.Name(), noPart("offset %d is not a multiple of %d, the alignment of %v",
			off, t.Align(), t))
	}
	s.m.MarkExposed()
	return nil
}

// noPart returns ErrMismatch in words of its own.
func noPart(format string, args ...any) error {
	return &errs.Worded{Text: fmt.Sprintf(format, args...), Sentinel: ErrMismatch}
}
