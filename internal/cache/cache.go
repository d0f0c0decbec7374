package cache

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/table"
)

// Errors of a cache.
var (
	ErrShape   = errors.New("the parts of the cache do not have the sizes of its shape")
	ErrTooBig  = errors.New("the entry is too large")
	ErrBusy    = errors.New("the entry changes faster than it can be read")
	ErrCorrupt = errors.New("an entry of the cache lies outside of it")
)

// A Shape says how large a cache is.
type Shape struct {
	Shards  int // a power of two
	Buckets int // of each shard
	Words   int // of the log of each shard
}

const (
	maxShards = 64
	minWords  = 1 << 10 // of a shard: less is not divided
	maxWords  = 1 << 30
	firstLap  = 1
)

// The bytes of the parts of a shape: see layout.NewCache.
const (
	headerSize = 128
	shardSize  = 256
	lineSize   = 128 // parts begin at a multiple of it
	wordSize   = 8
)

// ShapeOf returns the shape of a cache of at most size bytes, for entries whose keys and values
// have mean bytes.
func ShapeOf(size, mean int) (Shape, error) {
	if mean < 1 || mean > size {
		return Shape{}, ErrShape
	}
	s := Shape{Shards: 1}
	for s.Shards < maxShards && size/(2*s.Shards) >= 8*minWords*wordSize {
		s.Shards *= 2
	}
	each := (size-headerSize-2*lineSize)/s.Shards - shardSize
	// Of the words of a bucket three quarters are in use when the log is full.
	entry := EntryWords*wordSize + mean + wordSize
	s.Buckets = max(each/(Ways*3/4*entry+Ways*wordSize), 1)
	s.Words = (each - s.Buckets*Ways*wordSize) / wordSize
	if !s.ok() {
		return Shape{}, ErrShape
	}
	return s, nil
}

func (s Shape) ok() bool {
	return s.Shards > 0 && s.Shards <= maxShards && s.Shards&(s.Shards-1) == 0 &&
		s.Buckets > 0 && s.Buckets <= 1<<30 && s.Words >= 2*EntryWords && s.Words <= maxWords
}

// Parts are the memory of a cache.
type Parts struct {
	Header *Header
	Shards []Shard
	Index  []atomic.Uint64 // links, in buckets
	Log    []atomic.Uint64
}

// A Cache is a cache in shared memory. Methods that change a shard are for the holder of its lock;
// the others may be called concurrently.
type Cache struct {
	Shape
	header *Header
	shards []Shard
	index  []atomic.Uint64
	log    []atomic.Uint64
	lap    uint64 // distance between the beginnings of two laps
	spare  uint64 // words that are kept free for entries that were read
	now    func() int64
}

// New returns a cache over its parts. now is the time by which entries expire.
func New(s Shape, p Parts, now func() int64) (*Cache, error) {
	if !s.ok() || p.Header == nil || len(p.Shards) != s.Shards ||
		len(p.Index) != s.Shards*s.Buckets*Ways || len(p.Log) != s.Shards*s.Words {
		return nil, ErrShape
	}
	return &Cache{
		Shape: s, header: p.Header, shards: p.Shards, index: p.Index, log: p.Log,
		lap: 1 << bits.Len(uint(s.Words-1)), spare: uint64(s.Words / 32), now: now,
	}, nil
}

// Max returns the most bytes that a key and its value may have together.
func (c *Cache) Max() int { return (c.Words - EntryWords - 2) * wordSize }

// Seed returns the seed of the hash, which it chooses, from random, if it is not chosen yet. A
// random of 0 chooses none.
func (c *Cache) Seed(random uint64) uint64 {
	if s := c.header.Seed.Load(); s != 0 {
		return s
	}
	if random != 0 {
		c.header.Seed.CompareAndSwap(0, random)
	}
	return c.header.Seed.Load()
}

// Hash returns the hash of a key.
func Hash(seed uint64, key []byte) uint64 {
	h, n := table.HashBegin(seed), len(key)
	for ; len(key) >= wordSize; key = key[wordSize:] {
		h = table.HashWord(h, binary.NativeEndian.Uint64(key))
	}
	if len(key) > 0 {
		h = table.HashWord(h, lastWord(key))
	}
	return table.HashEnd(h, n)
}

// lastWord returns up to 7 bytes of a key as a word that ends with zeros.
func lastWord(b []byte) uint64 {
	var w [wordSize]byte
	copy(w[:], b)
	return binary.NativeEndian.Uint64(w[:])
}

func wordsOf(n uint64) uint64 { return (n + wordSize - 1) / wordSize }

// ShardOf returns the number of the shard of a hash.
func (c *Cache) ShardOf(hash uint64) int { return int(hash & uint64(c.Shards-1)) }

// A shard is a shard with its index and its log.
type shard struct {
	*Shard
	index []atomic.Uint64
	log   []atomic.Uint64
}

func (c *Cache) shard(i int) shard {
	n := c.Buckets * Ways
	return shard{&c.shards[i], c.index[i*n:][:n:n], c.log[i*c.Words:][:c.Words:c.Words]}
}

// buckets returns the first words of the two buckets in which a hash can be.
func (c *Cache) buckets(hash uint64) (one, two int) {
	n := uint64(c.Buckets)
	other := hash * 0x9e3779b97f4a7c15
	return int(hash>>32*n>>32) * Ways, int(other>>32*n>>32) * Ways
}

// An entry is the header of an entry as it was read.
type entry struct {
	key, value uint64 // lengths in bytes
	hash       uint64
	expires    int64
}

func (e *entry) words() uint64 { return EntryWords + wordsOf(e.key) + wordsOf(e.value) }

// entryAt reads the header of an entry. It reports false if there can be none.
func (c *Cache) entryAt(s *shard, pos uint64) (e entry, ok bool) {
	off := pos & (c.lap - 1)
	if off+EntryWords > uint64(len(s.log)) {
		return e, false
	}
	words := s.log[off:][:EntryWords]
	sizes := access.Load("sizes", &words[entrySizes])
	e = entry{
		key: sizes >> 32, value: uint64(uint32(sizes)),
		expires: int64(access.Load("expires", &words[entryExpires])),
		hash:    access.Load("hash", &words[entryHash]),
	}
	return e, sizes != skipped && off+e.words() <= uint64(len(s.log))
}

// hasKey reports whether an entry, of which entryAt reported true, has the key.
func (c *Cache) hasKey(s *shard, pos uint64, e *entry, hash uint64, key []byte) bool {
	if e.hash != hash || e.key != uint64(len(key)) {
		return false
	}
	words := s.log[pos&(c.lap-1)+EntryWords:]
	for ; len(key) >= wordSize; key, words = key[wordSize:], words[1:] {
		if access.Load("key", &words[0]) != binary.NativeEndian.Uint64(key) {
			return false
		}
	}
	return len(key) == 0 || access.Load("key", &words[0]) == lastWord(key)
}

// intact reports whether an entry can be at a position, and has not been overwritten. It says so of
// everything that was read there before.
func (s *shard) intact(pos uint64) bool {
	return access.Load("low", &s.Low) <= pos && pos < access.Load("tail", &s.Tail)
}
