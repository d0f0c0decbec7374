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

	shard int
	pos   uint64
	link  link
	slot  *atomic.Uint64
}

// Find finds the entry of a key. The caller asks Expired, copies the value, and then asks Valid. If
// that is false it begins anew.
func (c *Cache) Find(hash uint64, key []byte) (e Entry, found bool, err error) {
	i := c.ShardOf(hash)
	s := c.shard(i)
	one, two := c.buckets(hash)
	for range mostTries {
		again := false
		for _, first := range [2]int{one, two} {
			for way := range Ways {
				slot := &s.index[first+way]
				l := link(access.Load("link", slot))
				if !l.leads(hash) {
					continue
				}
				at, ok := c.entryAt(&s, l.pos())
				if ok && c.hasKey(&s, l.pos(), &at, hash, key) {
					return c.found(i, l, slot, &at), true, nil
				}
				if s.intact(l.pos()) {
					if !ok {
						return e, false, ErrCorrupt
					}
					continue // another key
				}
				// It was overwritten while it was read. The key has another entry if its link has
				// changed, else none.
				again = again || link(access.Load("link again", slot))&^used != l&^used
			}
		}
		if !again {
			return e, false, nil
		}
	}
	return e, false, ErrBusy
}

func (c *Cache) found(shard int, l link, slot *atomic.Uint64, at *entry) Entry {
	key := (shard*c.Words + int(l.pos()&(c.lap-1)) + EntryWords) * wordSize
	return Entry{
		Key: key, KeyLen: int(at.key),
		Value: key + int(wordsOf(at.key))*wordSize, ValueLen: int(at.value),
		Expires: at.expires, shard: shard, pos: l.pos(), link: l, slot: slot,
	}
}

// Valid reports whether what was copied from an entry since it was found is the entry's.
func (c *Cache) Valid(e *Entry) bool {
	s := &c.shards[e.shard]
	return access.Load("low again", &s.Low) <= e.pos && e.pos < access.Load("tail again", &s.Tail)
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
func (c *Cache) Count(hash uint64, hit bool) {
	s := &c.shards[c.ShardOf(hash)]
	if hit {
		s.Hits.Add(1)
	} else {
		s.Misses.Add(1)
	}
}

// Links returns how many words the index has.
func (c *Cache) Links() int { return len(c.index) }

// At returns the entry to which a word of the index leads. The caller copies key and value, and
// then asks Valid; if that is false the entry has been replaced or removed.
func (c *Cache) At(i int) (e Entry, ok bool) {
	slot := &c.index[i]
	l := link(access.Load("link", slot))
	n := i / (c.Buckets * Ways)
	s := c.shard(n)
	if l == 0 {
		return e, false
	}
	at, ok := c.entryAt(&s, l.pos())
	if !ok || !s.intact(l.pos()) {
		return e, false
	}
	return c.found(n, l, slot, &at), true
}

// Stats are the counters of all shards. They are exact while no process makes calls.
type Stats struct {
	Entries, Bytes, Changes   uint64
	Hits, Misses              uint64
	Evicted, Expired, Repairs uint64
}

// Stats returns the counters.
func (c *Cache) Stats() (st Stats) {
	for i := range c.shards {
		s := &c.shards[i]
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
