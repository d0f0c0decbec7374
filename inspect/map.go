package inspect

import (
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/table"
)

// MapStats are the counters of a kv.Map.
type MapStats struct {
	Capacity int    // entries that there is room for
	Len      int    // entries that there are, with expired ones whose room was not needed yet
	Evicting bool   // it evicts entries where there is no room
	Evicted  uint64 // entries that were removed to make room
	Expired  uint64 // expired entries that were removed to make room
	Repaired uint64 // changes that dead processes had left
	Changes  uint64 // all changes
}

// A MapEntry is an entry of a kv.Map. It stays valid when the Observer goes on.
type MapEntry struct {
	Key, Value Value
	Expires    time.Time // when it expires; the zero time means never
}

// MapTypes returns the types of the keys and values of a kv.Map, and nil if t is none.
func (t *Type) MapTypes() (key, value *Type) {
	l, err := layout.MapOf(t.schema())
	if err != nil {
		return nil, nil
	}
	return typeOf(l.Key), typeOf(l.Value)
}

// mapTable returns the table of a map. The mapping is pinned.
func (o *Observer) mapTable() (*layout.Map, table.Parts, *table.Table, error) {
	l, err := layout.MapOf(o.t)
	if err != nil {
		return nil, table.Parts{}, nil, fmt.Errorf("%w: it is no map", shmem.ErrMismatch)
	}
	shape, p, err := stream.MapParts(o.m, l)
	var t *table.Table
	if err == nil {
		t, err = table.New(shape, p, table.Room{Now: func() int64 { return time.Now().UnixNano() }})
	}
	if err != nil {
		err = fmt.Errorf("%w (%v)", shmem.ErrCorrupt, err)
	}
	return l, p, t, err
}

// MapStats returns the counters of a kv.Map, and nil if the segment is none. It disturbs no
// process.
func (o *Observer) MapStats() (st *MapStats, err error) {
	if err := o.usable(); err != nil && err != shmem.ErrClosed || !layout.IsMap(o.t) {
		return nil, nil
	}
	err = o.guarded("inspect map", func() error {
		l, p, t, err := o.mapTable()
		if err != nil {
			return err
		}
		st = &MapStats{
			Capacity: l.Capacity(), Len: t.Len(), Evicting: l.Evicting,
			Evicted: p.Header.Evicted.Load(), Expired: p.Header.Expired.Load(),
			Repaired: p.Header.Repairs.Load(),
		}
		for i := range p.Stripes {
			st.Changes += t.Version(i)
		}
		return nil
	})
	return st, err
}

// Entries yields copies of the entries of a kv.Map, in no order, each as it was at one moment. It
// takes no lock and disturbs no process. It ends with an error if there is one: shmem.ErrMismatch
// for a segment that is no map, shmem.ErrCorrupt for a damaged one, and shmem.ErrContended for an
// entry that changes faster than it can be copied.
func (o *Observer) Entries() iter.Seq2[MapEntry, error] {
	return func(yield func(MapEntry, error) bool) {
		buckets := 1
		for b := 0; b < buckets; b++ {
			var all []MapEntry
			err := o.guarded("inspect entries", func() error {
				l, _, t, err := o.mapTable()
				if err != nil {
					return err
				}
				buckets = l.Buckets
				// Most buckets have at most one entry: several of them at a time.
				for ; b < buckets && len(all) < 64; b++ {
					if all, err = o.bucket(l, t, b, all); err != nil {
						return err
					}
				}
				b--
				return nil
			})
			for _, e := range all {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(MapEntry{}, err)
				return
			}
		}
	}
}

// copyTries bounds the tries to copy a bucket.
const copyTries = 1 << 12

// bucket appends copies of the entries of a bucket.
func (o *Observer) bucket(l *layout.Map, t *table.Table, bucket int, all []MapEntry) (
	[]MapEntry, error,
) {
	kept := len(all)
	for range copyTries {
		list, err := t.Bucket(bucket, nil)
		switch {
		case err == table.ErrBusy:
			return all, shmem.ErrContended
		case err != nil:
			return all, fmt.Errorf("%w (%v)", shmem.ErrCorrupt, err)
		}
		all = all[:kept]
		whole := true
		for _, e := range list {
			var c MapEntry
			if c, whole = o.entry(l, t, e); !whole {
				break
			}
			if !t.Expired(e) {
				all = append(all, c)
			}
		}
		if whole {
			return all, nil
		}
	}
	return all[:kept], shmem.ErrContended
}

// entry copies an entry. It reports false if it was replaced meanwhile.
func (o *Observer) entry(l *layout.Map, t *table.Table, e table.Entry) (c MapEntry, whole bool) {
	words := make([]uint64, t.KeyWords())
	t.Key(e, words)
	key := make([]byte, 0, 8*len(words))
	for _, w := range words {
		key = binary.NativeEndian.AppendUint64(key, w)
	}
	at := l.CellsAt + t.ValueAt(e.Cell)
	value := make([]byte, l.Value.Size)
	o.m.Load(value, at)
	c.Key = Value{l.Key, key[:l.Key.Size], at - 8*len(words), nil}
	c.Value = Value{l.Value, value, at, nil}
	if e.Expires != 0 {
		c.Expires = time.Unix(0, e.Expires)
	}
	return c, t.Valid(e)
}
