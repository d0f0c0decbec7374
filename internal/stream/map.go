package stream

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/table"
)

// MapParts returns the shape and the memory of the table of a map. It needs no attachment, so
// package inspect reads a map by it.
func MapParts(m *mem.Mapping, l *layout.Map) (s table.Shape, p table.Parts, err error) {
	s = table.Shape{
		Capacity: l.Capacity(), Buckets: l.Buckets, Stripes: l.Stripes,
		Key: l.Key.Size, Value: l.Value.Size,
	}
	if p.Header, err = mem.At[table.Header](m, 0); err != nil {
		return s, p, err
	}
	if p.Stripes, err = mem.SliceAt[table.Stripe](m, l.StripesAt, l.Stripes); err != nil {
		return s, p, err
	}
	words := func(off, n int) (list []atomic.Uint64) {
		if err == nil {
			list, err = mem.SliceAt[atomic.Uint64](m, off, n)
		}
		return list
	}
	p.Buckets = words(l.BucketsAt, l.Buckets)
	p.Marks = words(l.MarksAt, l.Marks)
	p.Cells = words(l.CellsAt, l.Cells*s.Stride())
	return s, p, err
}
