package cache

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// mostTries bounds the tries of a reader. Each further one means that the entry has been replaced.
const mostTries = 1 << 12

// An Entry says what a reader has found. It may be overwritten meanwhile: see Valid.
type Entry struct {
	// Key and Value are where they begin, in bytes from the beginning of the log of all shards.
	Key, Value       int
	KeyLen, ValueLen int
	Expires          int64 // in ns since 1970; 0: never

	s    *Shard
	pos  uint64
	link link
	slot *atomic.Uint64
}

// Find finds the entry of a key, and writes it to *e. The caller asks Expired, copies the value,
// and then asks Valid. If that is false it begins anew.
func (c *Cache) Find(hash uint64, key []byte, e *Entry) (found bool, err error) {
	s := &c.each[c.ShardOf(hash)]
	one, two := c.buckets(s, hash)
	for range mostTries {
		seen, err := c.findIn(s, one, hash, key, e)
		if seen != isThere && err == nil {
			was := seen
			if seen, err = c.findIn(s, two, hash, key, e); seen == notThere {
				seen = was
			}
		}
		if err != nil || seen != hasChanged {
			return seen == isThere, err
		}
	}
	return false, ErrBusy
}

// sight is what a reader has seen of a key in a bucket.
type sight uint8

const (
	notThere   sight = iota
	hasChanged       // it was overwritten while it was read, and the key has another entry
	isThere
)

// findIn is Find in one bucket.
func (c *Cache) findIn(s *shard, b *bucket, hash uint64, key []byte, e *Entry) (sight, error) {
	result, way := notThere, wayOf(hash)
	for range Ways {
		slot := &b[way%Ways]
		way++
		l := link(access.Load("link", slot))
		if !l.leads(hash) {
			continue
		}
		at, ok := c.entryAt(s, l.pos())
		if ok && c.hasKey(s, l.pos(), &at, hash, key) {
			c.found(s, l, slot, &at, e)
			return isThere, nil
		}
		if s.intact(l.pos()) {
			if !ok {
				return notThere, ErrCorrupt
			}
			continue // another key
		}
		// It was overwritten while it was read. The key has another entry if its link has changed,
		// else none.
		if link(access.Load("link again", slot))&^used != l&^used {
			result = hasChanged
		}
	}
	return result, nil
}

func (c *Cache) found(s *shard, l link, slot *atomic.Uint64, at *entry, e *Entry) {
	e.Key = (s.logAt + int(l.pos()&(c.lap-1)) + EntryWords) * wordSize
	e.KeyLen, e.ValueLen = int(at.key), int(at.value)
	e.Value = e.Key + int(wordsOf(at.key))*wordSize
	e.Expires = at.expires
	e.s, e.pos, e.link, e.slot = s.Shard, l.pos(), l, slot
}

// Valid reports whether what was copied from an entry since it was found is the entry's.
func (c *Cache) Valid(e *Entry) bool {
	return access.Load("low again", &e.s.Low) <= e.pos &&
		e.pos < access.Load("tail again", &e.s.Tail)
}

// Expired reports whether the entry is gone by now.
func (c *Cache) Expired(e *Entry) bool { return e.Expires != 0 && e.Expires <= c.now() }

// MarkUsed records that an entry was read. It is kept when the log comes round to it.
func (c *Cache) MarkUsed(e *Entry) {
	if e.link&used == 0 {
		access.CAS("used", e.slot, uint64(e.link), uint64(e.link|used))
	}
}

// Count counts a call that read.
func (c *Cache) Count(hit bool) {
	if hit {
		c.reads.Hits.Add(1)
	} else {
		c.reads.Misses.Add(1)
	}
}

// Links returns how many words the index has.
func (c *Cache) Links() int { return len(c.index) }

// At returns the entry to which a word of the index leads. The caller copies key and value, and
// then asks Valid; if that is false the entry has been replaced or removed.
func (c *Cache) At(i int) (e Entry, ok bool) {
	slot := &c.index[i]
	l := link(access.Load("link", slot))
	s := &c.each[i/(c.Buckets*Ways)]
	if l == 0 {
		return e, false
	}
	at, ok := c.entryAt(s, l.pos())
	if !ok || !s.intact(l.pos()) {
		return e, false
	}
	c.found(s, l, slot, &at, &e)
	return e, true
}

// Stats are the counters of all shards. They are exact while no process makes calls.
type Stats struct {
	Entries, Bytes, Changes   uint64
	Hits, Misses              uint64
	Evicted, Expired, Repairs uint64
}

// Stats returns the counters.
func (c *Cache) Stats() (st Stats) {
	for i := range c.each {
		s := c.each[i].Shard
		st.Entries += min(s.Count.Load(), uint64(c.Buckets*Ways))
		st.Bytes += min(s.Bytes.Load(), uint64(c.Words)*wordSize)
		st.Changes += s.Changes.Load()
		st.Hits += s.Hits.Load()
		st.Misses += s.Misses.Load()
		st.Evicted += s.Evicted.Load()
		st.Expired += s.Expired.Load()
		st.Repairs += s.Repairs.Load()
	}
	return st
}

// fillKey writes the words of a key.
func fillKey(words []atomic.Uint64, key []byte) {
	for ; len(key) >= wordSize; key, words = key[wordSize:], words[1:] {
		access.Release("fill key", &words[0], binary.NativeEndian.Uint64(key))
	}
	if len(key) > 0 {
		access.Release("fill key", &words[0], lastWord(key))
	}
}
