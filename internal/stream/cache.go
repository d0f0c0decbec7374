package stream

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/cache"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// CacheIn lays a cache over a mapping. now is the time by which entries expire. It needs no
// attachment, so package inspect reads a cache by it.
func CacheIn(m *mem.Mapping, l *layout.Cache, now func() int64) (
	c *cache.Cache, p cache.Parts, err error,
) {
	s := cache.Shape{Shards: l.Shards, Buckets: l.Buckets, Words: l.Words}
	if p.Header, err = mem.At[cache.Header](m, 0); err != nil {
		return nil, p, err
	}
	if p.Shards, err = mem.SliceAt[cache.Shard](m, l.ShardsAt, l.Shards); err != nil {
		return nil, p, err
	}
	p.Index, err = mem.SliceAt[atomic.Uint64](m, l.IndexAt, l.Shards*l.Buckets*cache.Ways)
	if err != nil {
		return nil, p, err
	}
	p.Log, err = mem.SliceAt[atomic.Uint64](m, l.LogAt, l.Shards*l.Words)
	if err != nil {
		return nil, p, err
	}
	c, err = cache.New(s, p, now)
	return c, p, err
}
