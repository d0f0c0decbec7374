package shmem

import (
	"encoding/json"
	"fmt"
	"iter"

	"github.com/shmembox/shmem/internal/mem"
)

// A Vec is a list of limited length in shared memory: Vec[Route, [16]Route] holds up to 16 routes.
// A is an array of T; a box of another A is ErrBadType. A Vec is laid out as a uint32, its length,
// and A. The zero value is the empty list. Items behind the length are zero, so that two lists are
// == if they hold the same, where T can be compared.
//
// Like any other memory a Vec needs synchronisation when other goroutines or processes change it. A
// length greater than the capacity is treated as the capacity.
type Vec[T, A any] struct {
	_     [0]T // so that package format sees T
	n     uint32
	items A
}

func (v *Vec[T, A]) all() []T { return mem.Elements[T](&v.items) }

// Len returns the number of items.
func (v *Vec[T, A]) Len() int { return int(min(uint64(v.n), uint64(v.Cap()))) }

// Cap returns how many items fit.
func (v *Vec[T, A]) Cap() int { return len(v.all()) }

// Slice returns the items in place: what is written to the slice is written to the list. Appending
// to the slice copies it. It must not be used after the box is closed.
func (v *Vec[T, A]) Slice() []T {
	n := v.Len()
	return v.all()[:n:n]
}

// All ranges over the items, in place.
func (v *Vec[T, A]) All() iter.Seq2[int, *T] {
	return func(yield func(int, *T) bool) {
		s := v.Slice()
		for i := range s {
			if !yield(i, &s[i]) {
				return
			}
		}
	}
}

// Append adds all items, or none if they do not fit: then the error is an *Error that wraps no
// sentinel.
func (v *Vec[T, A]) Append(items ...T) error {
	all, n := v.all(), v.Len()
	if len(items) > len(all)-n {
		err := fmt.Errorf("%d more items do not fit into a list of %d that has %d", len(items),
			len(all), n)
		return public("vec append", "", err)
	}
	copy(all[n:], items)
	v.n = uint32(n + len(items))
	return nil
}

// Truncate keeps the first n items and zeroes the others. With n of 0 or less the list is empty;
// with n of Len or more it is unchanged.
func (v *Vec[T, A]) Truncate(n int) {
	if s := v.Slice(); n < len(s) {
		n = max(n, 0)
		clear(s[n:])
		v.n = uint32(n)
	}
}

// String returns the items as fmt prints a slice.
func (v Vec[T, A]) String() string { return fmt.Sprint(v.Slice()) }

// MarshalJSON returns the items as a JSON array.
func (v Vec[T, A]) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(v.Slice())
	return b, public("vec marshal", "", err)
}

// UnmarshalJSON replaces the items by those of a JSON array. After an error v is unchanged.
func (v *Vec[T, A]) UnmarshalJSON(b []byte) error {
	var items []T
	if err := json.Unmarshal(b, &items); err != nil {
		return public("vec unmarshal", "", err)
	}
	w := Vec[T, A]{}
	if err := w.Append(items...); err != nil {
		return err
	}
	*v = w
	return nil
}
