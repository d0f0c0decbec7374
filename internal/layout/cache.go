package layout

import (
	"errors"

	"github.com/shmembox/shmem/internal/format"
)

// CacheName is the name that the type of a cache has in its schema.
const CacheName = "kv.Cache"

// The fields of that type.
const (
	cacheField  = "Cache"
	shardsField = "Shards"
	indexField  = "Index"
	logField    = "Log"
)

// ErrNoCache is returned for a type that is not laid out as a cache.
var ErrNoCache = errors.New("it is no cache of this version")

// The structs in the payload of a cache. Tests compare each with the Go struct of package cache
// that has its name.
var (
	// CacheHeader begins a kv.Cache.
	CacheHeader = record("cache.Header", 128, word("Seed", 0))

	// Shard is what a part of the keys of a cache has in common.
	Shard = record("cache.Shard", 256,
		half("Lock", 0), half("LockArmed", 4),
		word("Tail", 8), word("Low", 16), word("Count", 24), word("Bytes", 32),
		word("Changes", 40), word("Evicted", 48), word("Expired", 56), word("Repairs", 64),
		word("Hits", 128), word("Misses", 136))
)

// CacheWays is how many words a bucket of the index has.
const CacheWays = 8

// A Cache is the layout of a kv.Cache. Offsets are in bytes from the start of the payload. The
// header is at 0.
//
//	Header; Shards [n]Shard; Index [n*Buckets*8]Word; Log [n*Words]Word
type Cache struct {
	Type    *format.Type // of the whole payload
	Shards  int
	Buckets int // of each shard
	Words   int // of the log of each shard

	ShardsAt, IndexAt, LogAt int // offsets
}

// NewCache lays out a cache.
func NewCache(shards, buckets, words int) (*Cache, error) {
	if shards < 1 || shards > 1<<10 || buckets < 1 || buckets > 1<<30/CacheWays ||
		words < 1 || words > 1<<30 {
		return nil, ErrSize
	}
	index, log := int64(shards)*int64(buckets)*CacheWays, int64(shards)*int64(words)
	if int64(int(index)) != index || int64(int(log)) != log {
		return nil, ErrSize
	}
	t, err := Struct(CacheName, Part{Name: cacheField, Type: CacheHeader},
		Part{Name: shardsField, Type: Shard, Len: shards, Align: pairAlign},
		Part{Name: indexField, Type: Word, Len: int(index), Align: pairAlign},
		Part{Name: logField, Type: Word, Len: int(log), Align: pairAlign})
	if err != nil {
		return nil, err
	}
	return &Cache{
		Type: t, Shards: shards, Buckets: buckets, Words: words,
		ShardsAt: Offset(t, shardsField), IndexAt: Offset(t, indexField),
		LogAt: Offset(t, logField),
	}, nil
}

// IsCache reports whether t is the type of a kv.Cache. The value of such a segment is no box.
func IsCache(t *format.Type) bool {
	return t != nil && t.Kind == format.Struct && t.Name == CacheName && len(t.Fields) == 4 &&
		First(t) == cacheField
}

// CacheOf is the layout of a stored cache. It is ErrNoCache unless that is, to the byte, what
// NewCache makes.
func CacheOf(stored *format.Type) (*Cache, error) {
	if !IsCache(stored) {
		return nil, ErrNoCache
	}
	n := max(Len(stored, shardsField), 1)
	c, err := NewCache(n, Len(stored, indexField)/n/CacheWays, Len(stored, logField)/n)
	if err != nil || c.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoCache
	}
	return c, nil
}
