package stream

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
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

// Entries is an attachment to a kv.Map whose types are known at run time only. Its methods are safe
// for concurrent use. Keys and values are bytes, which have the sizes of their types; times are in
// ns since 1970, and 0 means never.
//
// A map has parts, see Layout().Stripes. A key stays in its part.
type Entries interface {
	// Layout returns the types of keys and values, and the sizes.
	Layout() *layout.Map
	// Part returns the part of a key, -1 while no key was ever stored in the map.
	Part(key []byte) int
	// Version returns how often a part was changed. Expiry is no change.
	Version(part int) uint64
	// Versions appends those of all parts to a slice.
	Versions(to []uint64) []uint64
	// Each calls f with the entries of a part. The slices are f's. An entry is as it was at one
	// moment; one that is stored or removed meanwhile may be left out.
	Each(part int, f func(key, value []byte, expires int64)) error
	// Set stores a value; see kv.Map.Set.
	Set(ctx context.Context, key, value []byte, expires int64) error
	// Delete removes an entry. It reports false if there is none.
	Delete(ctx context.Context, key []byte) (bool, error)
	// Changes returns the sum of all versions.
	Changes() uint64
	// Wait waits until Changes returns another number than seen.
	Wait(ctx context.Context, seen uint64) error
	// Evicted returns how many entries were removed to make room.
	Evicted() uint64
	// Unlinked returns a channel that is closed when the name no longer leads to the map.
	Unlinked() <-chan struct{}
	Close() error
}

// OpenEntries attaches to the map of a name, or creates it with these types and that capacity. It
// does not evict, and is kept. Package kv, which is above this one, sets it.
var OpenEntries func(
	name string, opts *shmem.Options, key, value *format.Type, capacity int,
) (Entries, error)

// AttachEntries attaches to the map of a name, whatever its types are. Package kv sets it.
var AttachEntries func(name string, opts *shmem.Options) (Entries, error)
