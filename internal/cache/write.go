package cache

import (
	"math"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
)

// chances bounds how many entries that were read one call moves to the end of the log.
const chances = 16

// lastPos is where a shard begins anew: 32 PiB were written to it.
const lastPos = posMask - 4*maxWords

// tail returns where the next entry of a shard goes, and low the oldest one. The zero words of a
// new shard, and what a process leaves that dies while it begins anew, say that there is no entry.
func (c *Cache) tail(s *shard) uint64 {
	return max(access.Load("tail", &s.Tail), access.Load("low", &s.Low), firstLap*c.lap)
}

func (c *Cache) low(s *shard) uint64 { return max(access.Load("low", &s.Low), firstLap*c.lap) }

// nextLap returns where the lap after that of a position begins.
func (c *Cache) nextLap(pos uint64) uint64 { return pos&^(c.lap-1) + c.lap }

// after returns the position behind n words at pos.
func (c *Cache) after(pos, n uint64) uint64 {
	if pos&(c.lap-1)+n >= uint64(c.Words) {
		return c.nextLap(pos)
	}
	return pos + n
}

// place returns where n words go that are appended at tail: an entry lies within a lap.
func (c *Cache) place(tail, n uint64) uint64 {
	if tail&(c.lap-1)+n > uint64(c.Words) {
		return c.nextLap(tail)
	}
	return tail
}

// overwritten returns the position below which n words at pos overwrite what is there.
func (c *Cache) overwritten(pos, n uint64) uint64 { return pos + n - c.lap }

// slot returns the word of the index that leads to an entry; nil: there is none, since the entry
// was replaced or removed.
func (c *Cache) slot(s *shard, hash, pos uint64) (*atomic.Uint64, link) {
	want := newLink(hash, pos)
	one, two := c.buckets(s, hash)
	for _, b := range [2]*bucket{one, two} {
		for way := range Ways {
			w := &b[(wayOf(hash)+way)%Ways]
			if l := link(access.Load("link", w)); l&^used == want {
				return w, l
			}
		}
	}
	return nil, 0
}

// A Change is an entry that is being stored.
type Change struct {
	// Value is where the caller writes the value, in bytes from the beginning of the log of all
	// shards, before it calls Commit. Its room is a multiple of 8.
	Value, Room int

	shard int
	hash  uint64
	pos   uint64
	e     entry
	key   []byte
}

// Begin begins to store an entry, and writes all of it but the value. It makes room for it. The
// next call is Commit.
func (c *Cache) Begin(hash uint64, key []byte, value int, expires int64) (ch Change, err error) {
	if len(key) > c.Max() || value > c.Max()-len(key) || int64(value) > math.MaxUint32 {
		return ch, ErrTooBig
	}
	i := c.ShardOf(hash)
	s := &c.each[i]
	ch = Change{shard: i, hash: hash, key: key}
	ch.e = entry{key: uint64(len(key)), value: uint64(value), hash: hash, expires: expires}
	c.check(s)
	n := ch.e.words()
	ch.pos = c.room(s, n)
	c.fill(s, ch.pos, &ch.e)
	off := ch.pos & (c.lap - 1)
	fillKey(s.log[off+EntryWords:], key)
	at := off + EntryWords + wordsOf(ch.e.key)
	ch.Value = (i*c.Words + int(at)) * wordSize
	ch.Room = int(wordsOf(ch.e.value)) * wordSize
	return ch, nil
}

// room makes room for n words, and returns where they go.
func (c *Cache) room(s *shard, n uint64) uint64 {
	for left := chances; ; {
		tail, low := c.tail(s), c.low(s)
		pos := c.place(tail, n)
		needed := c.overwritten(pos, n)
		switch {
		case low >= tail && low < needed, low >= tail && pos != tail:
			// There is no entry: the shard goes on where the next one fits.
			access.Release("move low", &s.Low, pos)
			access.Release("move tail", &s.Tail, pos)
			return pos
		case low >= tail, low >= needed+c.spare:
			return pos
		}
		c.pass(s, tail, low, &left)
	}
}

// pass removes the oldest entry of a shard, or moves it to the end if it was read.
func (c *Cache) pass(s *shard, tail, low uint64, left *int) {
	off := low & (c.lap - 1)
	if off >= uint64(c.Words) || access.Load("sizes", &s.log[off]) == skipped {
		access.Release("pass", &s.Low, min(c.nextLap(low), tail))
		return
	}
	e, ok := c.entryAt(s, low)
	if !ok {
		c.reset(s)
		return
	}
	w, l := c.slot(s, e.hash, low)
	expired := e.expires != 0 && e.expires <= c.now()
	if w != nil && l&used != 0 && !expired && *left > 0 && c.move(s, tail, low, &e, w) {
		*left--
		return
	}
	if w != nil {
		access.Release("evict", w, 0)
		c.count(s, -1, -int64(e.key+e.value))
		if expired {
			bump(&s.Expired)
		} else {
			bump(&s.Evicted)
		}
		step.Reach(step.CacheEvicted)
	}
	access.Release("pass", &s.Low, min(c.after(low, e.words()), tail))
	step.Reach(step.CachePassed)
}

// move appends the oldest entry once more, without the mark that it was read. It reports false if
// that would overwrite the entry.
func (c *Cache) move(s *shard, tail, low uint64, e *entry, w *atomic.Uint64) bool {
	n := e.words()
	pos := c.place(tail, n)
	if c.overwritten(pos, n) > low {
		return false
	}
	c.skip(s, tail, pos)
	from, to := low&(c.lap-1), pos&(c.lap-1)
	for i := range n {
		access.Release("move", &s.log[to+i], access.Load("move from", &s.log[from+i]))
	}
	access.Release("move tail", &s.Tail, c.after(pos, n))
	step.Reach(step.CacheMoved)
	access.Release("move link", w, uint64(newLink(e.hash, pos)))
	access.Release("pass", &s.Low, min(c.after(low, n), c.tail(s)))
	step.Reach(step.CachePassed)
	return true
}

// skip says that the lap has no entry from tail on, if the next one is in another lap.
func (c *Cache) skip(s *shard, tail, pos uint64) {
	if off := tail & (c.lap - 1); pos != tail && off < uint64(c.Words) {
		access.Release("skip", &s.log[off], skipped)
	}
}

// fill writes the header of an entry.
func (c *Cache) fill(s *shard, pos uint64, e *entry) {
	c.skip(s, c.tail(s), pos)
	words := s.log[pos&(c.lap-1):][:EntryWords]
	access.Release("fill sizes", &words[entrySizes], e.key<<32|e.value)
	access.Release("fill expires", &words[entryExpires], uint64(e.expires))
	access.Release("fill hash", &words[entryHash], e.hash)
}

// Commit makes the entry count, whose value the caller has written.
func (c *Cache) Commit(ch *Change) {
	s := &c.each[ch.shard]
	step.Reach(step.CacheFilled)
	access.Release("append", &s.Tail, c.after(ch.pos, ch.e.words()))
	step.Reach(step.CacheAppended)
	w, old, had := c.target(s, ch.hash, ch.key)
	access.Release("commit", w, uint64(newLink(ch.hash, ch.pos)))
	step.Reach(step.CacheLinked)
	bump(&s.Changes)
	entries := int64(0)
	switch had {
	case none:
		entries = 1
	case other:
		bump(&s.Evicted)
	}
	c.count(s, entries, int64(ch.e.key+ch.e.value)-int64(old.key+old.value))
	step.Reach(step.CacheCounted)
}

// kept says what a word of the index leads to.
type kept uint8

const (
	none  kept = iota // nothing
	same              // the entry of the key
	other             // that of another key
)

// target returns the word of the index for a key: the one it has, a free one, or that of the oldest
// entry in its buckets. old is the entry to which the word leads, if any.
func (c *Cache) target(s *shard, hash uint64, key []byte) (w *atomic.Uint64, old entry, had kept) {
	one, two := c.buckets(s, hash)
	var free [2]*atomic.Uint64
	var room [2]int
	var oldest *atomic.Uint64
	var least link
	low, tail := access.Load("low", &s.Low), access.Load("tail", &s.Tail)
	for i, b := range [2]*bucket{one, two} {
		for way := range Ways {
			w := &b[(wayOf(hash)+way)%Ways]
			l := link(access.Load("link", w))
			if l == 0 || l.pos() < low || l.pos() >= tail {
				if room[i] == 0 {
					free[i] = w
				}
				room[i]++
				continue
			}
			if l.leads(hash) {
				if e, ok := c.entryAt(s, l.pos()); ok && c.hasKey(s, l.pos(), &e, hash, key) {
					return w, e, same
				}
			}
			if oldest == nil || l.pos() < least.pos() {
				oldest, least = w, l
			}
		}
	}
	switch {
	case room[0] > Ways/4, room[0] > 0 && room[0] >= room[1]:
		// Most keys are in their first bucket: a reader looks there first.
		return free[0], entry{}, none
	case room[1] > 0:
		return free[1], entry{}, none
	}
	old, _ = c.entryAt(s, least.pos())
	return oldest, old, other
}

// Remove removes the entry of a key, and reports whether there was one that had not expired.
func (c *Cache) Remove(hash uint64, key []byte) (found bool) {
	s := &c.each[c.ShardOf(hash)]
	c.check(s)
	w, old, had := c.target(s, hash, key)
	if had != same {
		return false
	}
	access.Release("remove", w, 0)
	step.Reach(step.CacheRemoved)
	bump(&s.Changes)
	c.count(s, -1, -int64(old.key+old.value))
	return old.expires == 0 || old.expires > c.now()
}

// Clear removes all entries of a shard, one after the other.
func (c *Cache) Clear(shard int) {
	s := &c.each[shard]
	c.check(s)
	for i := range s.index {
		if access.Load("link", &s.index[i]) != 0 {
			access.Release("remove", &s.index[i], 0)
			step.Reach(step.CacheRemoved)
		}
	}
	access.Release("pass", &s.Low, c.tail(s)) // after the links: a reader of one tries again
	access.Release("count", &s.Count, 0)
	access.Release("bytes", &s.Bytes, 0)
	bump(&s.Changes)
}

// count changes the counters of what there is.
func (c *Cache) count(s *shard, entries, bytes int64) {
	access.Release("count", &s.Count, access.Load("count", &s.Count)+uint64(entries))
	access.Release("bytes", &s.Bytes, access.Load("bytes", &s.Bytes)+uint64(bytes))
}

func bump(w *atomic.Uint64) { access.Release("bump", w, access.Load("bump", w)+1) }

// check begins a shard anew whose positions are impossible, or used up.
func (c *Cache) check(s *shard) {
	tail, low := c.tail(s), c.low(s)
	if tail > lastPos || tail-low > c.lap || tail&(c.lap-1) >= uint64(c.Words) {
		c.reset(s)
	}
}

// reset removes all entries of a shard. Positions go on in the next lap, or from the first one if
// they are used up.
func (c *Cache) reset(s *shard) {
	for i := range s.index {
		access.Release("reset", &s.index[i], 0)
	}
	pos := firstLap * c.lap
	if tail := c.tail(s); tail <= lastPos {
		pos = c.nextLap(tail)
	}
	// A reader that has an old position finds that it is not below the tail, or below low.
	access.Release("reset tail", &s.Tail, pos)
	access.Release("reset low", &s.Low, pos)
	count := access.Load("count", &s.Count)
	access.Release("evicted", &s.Evicted, access.Load("evicted", &s.Evicted)+count)
	access.Release("count", &s.Count, 0)
	access.Release("bytes", &s.Bytes, 0)
	bump(&s.Repairs)
}

// Repair counts again what a holder that died has left. The entries are whole: see the package.
func (c *Cache) Repair(shard int) {
	s := &c.each[shard]
	c.check(s)
	var entries, bytes uint64
	for i := range s.index {
		l := link(access.Load("link", &s.index[i]))
		if l == 0 {
			continue
		}
		if e, ok := c.entryAt(s, l.pos()); ok && s.intact(l.pos()) {
			entries++
			bytes += e.key + e.value
		} else {
			access.Release("repair", &s.index[i], 0)
		}
	}
	access.Release("count", &s.Count, entries)
	access.Release("bytes", &s.Bytes, bytes)
	bump(&s.Changes)
	bump(&s.Repairs)
	step.Reach(step.CacheRepaired)
}
