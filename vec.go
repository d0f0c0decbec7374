package shmem

import (
	"encoding/json"
	"fmt"
	"iter"

	"github.com/shmembox/shmem/internal/mem"
)

// A Vec is a list of limited length in shared memory: Vec[Route, [16]Route] holds up to 16 routes.
// It is laid out as a uint32, the length, and A. The zero value is the empty list. What lies behind
// the length is zero, so that two lists are == if they hold the same, where T can be compared.
//
// A is an array of T. Like any other memory a Vec needs synchronisation when others change it; a
// length that cannot be is taken for the capacity.
type Vec[T, A any] struct {
	n     uint32
	items A
}

func (v *Vec[T, A]) all() []T { return mem.Elements[T](&v.items) }

// Len is the number of items.
func (v *Vec[T, A]) Len() int { return int(min(uint64(v.n), uint64(v.Cap()))) }

// Cap is how many items fit.
func (v *Vec[T, A]) Cap() int { return len(v.all()) }

// Slice is the items, in place: what is written to it is written to the list. It cannot be appended
// to, and must not be kept beyond the box.
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

// Append adds items, all of them or, if they do not fit, none.
func (v *Vec[T, A]) Append(items ...T) error {
	all, n := v.all(), v.Len()
	if len(items) > len(all)-n {
		return fmt.Errorf("shmem: %d more items do not fit into a list of %d that has %d", len(items), len(all), n)
	}
	copy(all[n:], items)
	v.n = uint32(n + len(items))
	return nil
}

// Truncate leaves the first n items; with 0 the list is empty.
func (v *Vec[T, A]) Truncate(n int) {
	if s := v.Slice(); n < len(s) {
		n = max(n, 0)
		clear(s[n:])
		v.n = uint32(n)
	}
}

// String is the items as fmt prints a slice.
func (v Vec[T, A]) String() string { return fmt.Sprint(v.Slice()) }

// MarshalJSON gives the items as a JSON array.
func (v Vec[T, A]) MarshalJSON() ([]byte, error) { return json.Marshal(v.Slice()) }

// UnmarshalJSON replaces the items by those of a JSON array; v is unchanged if that fails.
func (v *Vec[T, A]) UnmarshalJSON(b []byte) error {
	var items []T
	if err := json.Unmarshal(b, &items); err != nil {
		return err
	}
	w := Vec[T, A]{}
	if err := w.Append(items...); err != nil {
		return err
	}
	*v = w
	return nil
}
