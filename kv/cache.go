package kv

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/cache"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/stream"
)

// A Key is the type of the keys of a [Cache]. A string and its bytes are the same key.
type Key interface{ ~string | ~[]byte }

// A Cache has values of any length in a fixed amount of shared memory. Where there is no room for
// another one it evicts entries. Its methods are safe for concurrent use, by any number of
// processes. A function that the caller passes to a method returns its error as it is; all other
// errors are a *shmem.Error.
type Cache[K Key] struct {
	at     stream.Attachment
	c      *cache.Cache
	shards []cache.Shard
	logAt  int
	object robust.Object
	lent   sync.Pool // *[]byte, for View
}

// OpenCache attaches to the cache of that name, or creates it if there is none. An existing cache
// keeps its size. The errors are those of shmem.Open; a segment that is no cache is
// shmem.ErrMismatch.
func OpenCache[K Key](name string, opts *CacheOptions) (*Cache[K], error) {
	return openCache[K](name, stream.Open, opts)
}

// CreateCache creates a cache. It returns fs.ErrExist if there is a segment of that name.
func CreateCache[K Key](name string, opts *CacheOptions) (*Cache[K], error) {
	return openCache[K](name, stream.Create, opts)
}

// AttachCache attaches to the cache of that name. It returns fs.ErrNotExist if there is none.
func AttachCache[K Key](name string, opts *CacheOptions) (*Cache[K], error) {
	return openCache[K](name, stream.Attach, opts)
}

// AttachCacheWait is AttachCache, but waits until there is a cache of that name that can be
// attached to, or until ctx is done. It returns other errors at once; see shmem.AttachWait.
func AttachCacheWait[K Key](ctx context.Context, name string, opts *CacheOptions) (
	c *Cache[K], err error,
) {
	if opts == nil {
		opts = new(CacheOptions)
	}
	p := cachePlan(name, stream.Attach, opts)
	err = p.AttachWait(ctx, func() error {
		c, err = AttachCache[K](name, opts)
		return err
	})
	return c, err
}

func cachePlan(name string, mode stream.Mode, o *CacheOptions) *stream.Plan {
	return &stream.Plan{
		Op: "cache " + string(mode), Name: name, Mode: mode, Kind: layout.CacheName,
		Options: o.segment(),
	}
}

func openCache[K Key](name string, mode stream.Mode, opts *CacheOptions) (*Cache[K], error) {
	if opts == nil {
		opts = new(CacheOptions)
	}
	p := cachePlan(name, mode, opts)
	fresh, err := opts.layout()
	if err != nil {
		return nil, p.Error(err)
	}
	p.New = func(int) (*format.Type, error) { return fresh.Type, nil }
	p.Like = func(stored, _ *format.Type) (*format.Type, error) {
		l, err := layout.CacheOf(stored)
		if err != nil {
			return nil, err
		}
		return stored, opts.check(l)
	}
	seg, mapping, t, err := p.Open()
	if err != nil {
		return nil, err
	}
	c := new(Cache[K])
	if err := c.bind(seg, mapping, t); err != nil {
		_ = seg.Close()
		return nil, p.Error(err)
	}
	return c, nil
}

// bind lays c over the mapping of a segment.
func (c *Cache[K]) bind(seg *shmem.Segment, m *mem.Mapping, t *format.Type) error {
	l, err := layout.CacheOf(t)
	if err != nil {
		return err
	}
	c.at.Init(seg, m)
	c.object, c.logAt = c.at.Object(), l.LogAt
	var p cache.Parts
	if c.c, p, err = stream.CacheIn(m, l, now); err != nil {
		return err
	}
	c.shards = p.Shards
	if c.at.Self != 0 {
		c.c.CountAt(int(format.ID(c.at.Self).Slot()))
	}
	return nil
}

var errCacheClosed = errs.NamedClosed("cache")

// fail returns the error of an operation.
func (c *Cache[K]) fail(op string, err error) error {
	switch err {
	case nil:
		return nil
	case cache.ErrTooBig:
		err = errTooBig
	case cache.ErrBusy:
		err = shmem.ErrContended
	case cache.ErrCorrupt:
		err = stream.Corrupt(err)
	case shmem.ErrClosed:
		err = errCacheClosed
	}
	return &shmem.Error{Op: "cache " + op, Name: c.at.Segment.Name(), Err: err}
}

// Get returns a copy of the value of a key. It takes no lock, and waits for no other process. If
// the value is replaced faster than it can be copied, thousands of times in a row, it is
// shmem.ErrContended.
func (c *Cache[K]) Get(k K) (value []byte, found bool, err error) { return c.Append(nil, k) }

// Append is Get that appends the value to dst, and returns the extended slice. If there is no value
// it returns dst as it was.
func (c *Cache[K]) Append(dst []byte, k K) (value []byte, found bool, err error) {
	m := c.at.M
	if !m.Pin() {
		return dst, false, c.fail("get", shmem.ErrClosed)
	}
	defer m.Unpin()
	key := mem.KeyBytes(k)
	hash := cache.Hash(c.c.Seed(0), key)
	var e cache.Entry
	for range mostTries {
		found, err := c.c.Find(hash, key, &e)
		if err != nil {
			return dst, false, c.fail("get", err)
		}
		if !found || e.Expires != 0 && c.c.Expired(&e) {
			if c.at.Writes {
				c.c.Count(false)
			}
			return dst, false, nil
		}
		n := len(dst) + e.ValueLen
		all := dst
		if n > cap(dst) {
			if !c.c.Valid(&e) {
				continue // the length may be that of another entry
			}
			all = slices.Grow(dst, e.ValueLen)
		}
		all = all[:n]
		m.Load(all[len(dst):], c.logAt+e.Value)
		if !c.c.Valid(&e) {
			continue
		}
		if c.at.Writes {
			c.c.MarkUsed(&e)
			c.c.Count(true)
		}
		return all, true, nil
	}
	return dst, false, c.fail("get", cache.ErrBusy)
}

// View calls f with the value of a key, if there is one, and returns the error of f. The bytes are
// a copy that f may change, and that is used again when f has returned: f must not keep it.
func (c *Cache[K]) View(k K, f func(value []byte) error) (found bool, err error) {
	b, _ := c.lent.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	defer c.lent.Put(b)
	value, found, err := c.Append((*b)[:0], k)
	*b = value
	if err != nil || !found {
		return false, err
	}
	return true, f(value)
}

// Set stores a value. It replaces the value that is there, and the time at which it expires: the
// new one never does. It evicts entries to make room. It waits for another process that changes a
// key of the same shard, of which there are at most 64.
//
// A value that is too large is ErrTooBig. After an error, and if the process dies, the key has its
// old value or the new one, or was evicted.
func (c *Cache[K]) Set(ctx context.Context, k K, value []byte) error {
	return c.SetFor(ctx, k, value, 0)
}

// SetFor is Set of an entry that expires when ttl has passed. A ttl of 0 means never; a negative
// one is shmem.ErrBadOption.
func (c *Cache[K]) SetFor(ctx context.Context, k K, value []byte, ttl time.Duration) error {
	expires, err := expiry(ttl)
	if err != nil {
		return c.fail("set", err)
	}
	key := mem.KeyBytes(k)
	hash, err := c.begin(ctx, key)
	if err != nil {
		return c.fail("set", err)
	}
	defer c.end(hash)
	change, err := c.c.Begin(hash, key, len(value), expires)
	if err != nil {
		return c.fail("set", err)
	}
	c.at.M.StoreCell(c.logAt+change.Value, value, change.Room)
	c.c.Commit(&change)
	return nil
}

// Delete removes an entry. It reports false if there is none.
func (c *Cache[K]) Delete(ctx context.Context, k K) (found bool, err error) {
	key := mem.KeyBytes(k)
	hash, err := c.begin(ctx, key)
	if err != nil {
		return false, c.fail("delete", err)
	}
	defer c.end(hash)
	return c.c.Remove(hash, key), nil
}

// Clear removes all entries that there are when it is called. Entries that are stored meanwhile may
// be removed or not. It waits for other processes that change entries. After an error, and if the
// process dies, some are removed.
func (c *Cache[K]) Clear(ctx context.Context) error {
	for i := range c.shards {
		if err := c.at.Enter(); err != nil {
			return c.fail("clear", err)
		}
		if err := c.lock(ctx, i); err != nil {
			return c.fail("clear", err)
		}
		c.c.Clear(i)
		c.unlock(i)
	}
	return nil
}

// begin locks the shard of a key. After nil, end unlocks it.
func (c *Cache[K]) begin(ctx context.Context, key []byte) (hash uint64, err error) {
	if err := c.at.Enter(); err != nil {
		return 0, err
	}
	seed := c.c.Seed(0)
	if seed == 0 {
		seed = c.c.Seed(rand.Uint64() | 1)
	}
	hash = cache.Hash(seed, key)
	if err := c.lock(ctx, c.c.ShardOf(hash)); err != nil {
		return 0, err
	}
	return hash, nil
}

func (c *Cache[K]) end(hash uint64) { c.unlock(c.c.ShardOf(hash)) }

// lock locks shard i of the mapping that is pinned. After an error the mapping is not pinned.
func (c *Cache[K]) lock(ctx context.Context, i int) error {
	s := &c.shards[i]
	died, err := robust.Acquire(ctx, c.object, &s.Lock, &s.LockArmed, robust.TakeOver)
	if err != nil {
		c.at.M.Unpin()
		return err
	}
	if died {
		c.c.Repair(i)
	}
	return nil
}

func (c *Cache[K]) unlock(i int) {
	s := &c.shards[i]
	_ = robust.Release(c.object, &s.Lock, &s.LockArmed)
	c.at.M.Unpin()
}

// MaxLen returns how many bytes a key and its value may have together: a little less
// than a 64th of Size in a cache of 4 MiB or more, and about 50 KiB or more in a smaller one.
func (c *Cache[K]) MaxLen() int { return c.c.Max() }

// CacheStats are counters of a cache, of all processes since it was created.
type CacheStats struct {
	Size     int    // memory of entries and index, in bytes
	Entries  int    // entries that there are, with expired ones whose room was not needed yet
	Bytes    int    // of their keys and values
	Hits     uint64 // calls that found an entry
	Misses   uint64 // calls that found none, or one that had expired
	Changes  uint64 // calls of Set and Delete that changed something
	Evicted  uint64 // entries that were removed to make room
	Expired  uint64 // expired entries that were removed to make room
	Repaired uint64 // times that a process had died over a change
}

// Stats returns the counters of the cache. They are exact while no process uses it, and zero after
// Close.
func (c *Cache[K]) Stats() CacheStats {
	if !c.at.M.Pin() {
		return CacheStats{}
	}
	defer c.at.M.Unpin()
	s := c.c.Stats()
	return CacheStats{
		Size: c.at.M.Size(), Entries: int(s.Entries), Bytes: int(s.Bytes),
		Hits: s.Hits, Misses: s.Misses, Changes: s.Changes,
		Evicted: s.Evicted, Expired: s.Expired, Repaired: s.Repairs,
	}
}

// Segment returns the cache's segment.
func (c *Cache[K]) Segment() *shmem.Segment { return c.at.Segment }

// Name returns the name of the cache.
func (c *Cache[K]) Name() string { return c.at.Segment.Name() }

// Linked reports whether the name still leads to this cache; see shmem.Segment.Linked.
func (c *Cache[K]) Linked() bool { return c.at.Segment.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this cache; see
// shmem.Segment.Unlinked.
func (c *Cache[K]) Unlinked() <-chan struct{} { return c.at.Segment.Unlinked() }

// Owned reports whether this attachment owns the cache; see shmem.Segment.Owned.
func (c *Cache[K]) Owned() bool { return c.at.Segment.Owned() }

// Own makes this attachment the owner; see shmem.Segment.Own.
func (c *Cache[K]) Own() error { return c.at.Segment.Own() }

// Close ends the attachment; see shmem.Segment.Close. Calls that wait, and later ones, return
// shmem.ErrClosed.
func (c *Cache[K]) Close() error { return c.at.Segment.Close() }

// Leak ends the attachment and leaves the cache kept; see shmem.Segment.Leak.
func (c *Cache[K]) Leak() error { return c.at.Segment.Leak() }
