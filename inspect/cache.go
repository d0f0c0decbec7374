package inspect

import (
	"fmt"
	"iter"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/cache"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
)

// CacheStats are the counters of a kv.Cache.
type CacheStats struct {
	Size     int    // memory of entries and index, in bytes
	Entries  int    // entries that there are, with expired ones whose room was not needed yet
	Bytes    int    // of their keys and values
	Hits     uint64 // reads that found an entry
	Misses   uint64 // reads that found none, or one that had expired
	Changes  uint64 // all changes
	Evicted  uint64 // entries that were removed to make room
	Expired  uint64 // expired entries that were removed to make room
	Repaired uint64 // times that a process had died over a change
}

// A CacheEntry is an entry of a kv.Cache. It stays valid when the Observer goes on.
type CacheEntry struct {
	Key, Value []byte
	Expires    time.Time // when it expires; the zero time means never
}

// cache returns the cache and where its log is in the payload. The mapping is pinned.
func (o *Observer) cache() (*cache.Cache, int, error) {
	l, err := layout.CacheOf(o.t)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: it is no cache", shmem.ErrMismatch)
	}
	c, _, err := stream.CacheIn(o.m, l, func() int64 { return time.Now().UnixNano() })
	if err != nil {
		return nil, 0, fmt.Errorf("%w (%v)", shmem.ErrCorrupt, err)
	}
	return c, l.LogAt, nil
}

// CacheStats returns the counters of a kv.Cache, and nil if the segment is none. It disturbs no
// process.
func (o *Observer) CacheStats() (st *CacheStats, err error) {
	if err := o.usable(); err != nil && err != shmem.ErrClosed || !layout.IsCache(o.t) {
		return nil, nil
	}
	err = o.guarded("inspect cache", func() error {
		c, _, err := o.cache()
		if err != nil {
			return err
		}
		s := c.Stats()
		st = &CacheStats{
			Size: o.m.Size(), Entries: int(s.Entries), Bytes: int(s.Bytes),
			Hits: s.Hits, Misses: s.Misses, Changes: s.Changes,
			Evicted: s.Evicted, Expired: s.Expired, Repaired: s.Repairs,
		}
		return nil
	})
	return st, err
}

// CacheEntries yields copies of the entries of a kv.Cache, in no order, each as it was at one
// moment. An entry that is stored or removed meanwhile may be left out. It takes no lock, disturbs
// no process, and counts no hit. It ends with an error if there is one: shmem.ErrMismatch for a
// segment that is no cache.
func (o *Observer) CacheEntries() iter.Seq2[CacheEntry, error] {
	return func(yield func(CacheEntry, error) bool) {
		links := 1
		for i := 0; i < links; {
			var e CacheEntry
			found := false
			err := o.guarded("inspect entries", func() error {
				c, log, err := o.cache()
				if err != nil {
					return err
				}
				links = c.Links()
				for ; i < links && !found; i++ {
					e, found = o.cacheEntry(c, log, i)
				}
				return nil
			})
			if (found || err != nil) && !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// cacheEntry copies the entry to which a word of the index leads.
func (o *Observer) cacheEntry(c *cache.Cache, log, i int) (e CacheEntry, found bool) {
	for range copyTries {
		at, ok := c.At(i)
		if !ok || c.Expired(&at) {
			return e, false
		}
		if !c.Valid(&at) {
			continue // the lengths may be those of another entry
		}
		e = CacheEntry{Key: make([]byte, at.KeyLen), Value: make([]byte, at.ValueLen)}
		o.m.Load(e.Key, log+at.Key)
		o.m.Load(e.Value, log+at.Value)
		if at.Expires != 0 {
			e.Expires = time.Unix(0, at.Expires)
		}
		if c.Valid(&at) {
			return e, true
		}
	}
	return CacheEntry{}, false
}
