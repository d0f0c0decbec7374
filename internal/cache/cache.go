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
	index  []atomic.Uint64
	each   []shard
	reads  *Shard // has the counters of this process's reads
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
	c := &Cache{
		Shape: s, header: p.Header, index: p.Index, each: make([]shard, s.Shards),
		reads: &p.Shards[0],
		lap:   1 << bits.Len(uint(s.Words-1)), spare: uint64(s.Words / 32), now: now,
	}
	for i := range c.each {
		n := s.Buckets * Ways
		c.each[i] = shard{
			Shard: &p.Shards[i], logAt: i * s.Words,
			index: p.Index[i*n:][:n:n], log: p.Log[i*s.Words:][:s.Words:s.Words],
		}
	}
	return c, nil
}

// CountAt chooses the counters of reads for process n: while there are no more processes than
// shards each has its own, and so none waits for a cache line of another one.
func (c *Cache) CountAt(n int) { c.reads = c.each[n&(c.Shards-1)].Shard }

// Max returns the most bytes that a key and its value may have together.
func (c *Cache) Max() int { return (c.Words - EntryWords - 2) * wordSize }

// Seed returns the seed of the hash, which it chooses, from random, if it is not chosen yet. A
// random of 0 chooses none.
func (c *Cache) Seed(random uint64) uint64 {
	if random != 0 {
		c.header.Seed.CompareAndSwap(0, random)
	}
	return c.header.Seed.Load()
}

// Hash returns the hash of a key.
func Hash(seed uint64, key []byte) uint64 {
	h, i := table.HashBegin(seed), 0
	for ; i+wordSize <= len(key); i += wordSize {
		h = table.HashWord(h, binary.NativeEndian.Uint64(key[i:]))
	}
	if i < len(key) {
		h = table.HashWord(h, lastWord(key[i:]))
	}
	return table.HashEnd(h, len(key))
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
	logAt int // where its log begins in the log of all shards
}

// A bucket is a part of an index.
type bucket = [Ways]atomic.Uint64

// buckets returns the two buckets in which a hash can be.
func (c *Cache) buckets(s *shard, hash uint64) (one, two *bucket) {
	n := uint64(c.Buckets)
	other := hash * 0x9e3779b97f4a7c15
	return (*bucket)(s.index[hash>>32*n>>32*Ways:]), (*bucket)(s.index[other>>32*n>>32*Ways:])
}

// wayOf returns the word of a bucket at which the search for a hash begins. An entry is there if
// the word was free, so that a reader finds it at once.
func wayOf(hash uint64) int { return int(hash >> 20 % Ways) }

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
	words := (*[EntryWords]atomic.Uint64)(s.log[off:])
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
	words := s.log[pos&(c.lap-1)+EntryWords:][:wordsOf(e.key)]
	i := 0
	for ; i+wordSize <= len(key); i += wordSize {
		word := binary.NativeEndian.Uint64(key[i:])
		if access.Load("key", &words[uint(i)/wordSize]) != word {
			return false
		}
	}
	return i == len(key) || access.Load("key", &words[uint(i)/wordSize]) == lastWord(key[i:])
}

// intact reports whether an entry can be at a position, and has not been overwritten. It says so of
// everything that was read there before.
func (s *shard) intact(pos uint64) bool {
	return access.Load("low", &s.Low) <= pos && pos < access.Load("tail", &s.Tail)
}
