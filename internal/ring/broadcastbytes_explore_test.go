package ring

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

// A piece is a message that was published: so many words, all of them value.
type piece struct {
	value uint64
	words int
}

type castBytesBench struct {
	*world
	h       BroadcastBytesHeader
	slots   []atomic.Uint64
	extents []Extent
	holds   []Hold
	words   []atomic.Uint64 // the bytes
	r       *Broadcast
	sent    map[uint64]piece // by position
	fault   error

	noTest    bool // broken: the bytes are not checked after they were read
	slotOnly  bool // broken: only the slot is checked after they were read
	early     bool // broken: the extent is written before the slot is claimed
	unwritten bool // broken: a message that is being written is overwritten
	late      bool // broken: Reserved is set after the bytes were written
}

func (b *castBytesBench) fail(f string, a ...any) {
	if b.fault == nil {
		b.fault = fmt.Errorf(f, a...)
	}
}

func newCastBytesBench(w *world, slots, words, holds int) *castBytesBench {
	b := &castBytesBench{
		world: w, slots: make([]atomic.Uint64, slots), extents: make([]Extent, slots),
		holds: make([]Hold, holds), words: make([]atomic.Uint64, words), sent: map[uint64]piece{},
	}
	b.r, _ = NewBroadcastBytes(&b.h, b.slots, b.extents, b.holds, 8*words)
	w.Share(&b.h.Tail, &b.h.Closed, &b.h.Skipped, &b.h.Used, &b.h.Gate, &b.h.Low, &b.h.Reserved)
	for i := range b.holds {
		w.Share(&b.holds[i].ID, &b.holds[i].Cursor)
	}
	for i := range b.extents {
		w.Share(&b.extents[i].Start, &b.extents[i].Size)
	}
	w.ShareAll(b.slots)
	w.ShareAll(b.words)
	return b
}

// claim is ClaimBytes, or a broken one.
func (b *castBytesBench) claim(p *Publisher, n int) (pos uint64, off int, err error) {
	d := b.r.data
	if !b.early && !b.unwritten && !b.late {
		return p.ClaimBytes(n)
	}
	if !d.shut(p.self) {
		return 0, 0, ErrBusy
	}
	defer func() { access.CAS("gate.open", &d.h.Gate, uint64(p.self), 0) }()
	t, was, err := d.tail()
	if err != nil {
		return 0, 0, err
	}
	start, end, _ := d.next(uint64(n))
	if !b.unwritten && !d.written(t, end) {
		return 0, 0, ErrHeld
	}
	i, lap := b.r.at(t)
	set := func() {
		access.Store("extent.set.start", &b.extents[i].Start, start)
		access.Store("extent.set.size", &b.extents[i].Size, uint64(n))
	}
	if !b.late {
		access.Store("measure.reserve", &b.h.Reserved, end)
	}
	if b.early {
		set()
	}
	if !access.CAS("pub.slot", &b.slots[i], uint64(was), uint64(named(claimed, lap, p.self))) {
		return 0, 0, ErrBusy
	}
	if !b.early {
		set()
	}
	if b.late {
		for k := range n / 8 {
			access.Store("byte", &b.words[(int(start)/8+k)%len(b.words)], 12345)
		}
		access.Store("measure.reserve", &b.h.Reserved, end)
	}
	advance("pub.advance", &b.h.Tail, t, t+1)
	return t, int(start % d.size), nil
}

// publisher publishes a message of each of sizes, in words.
func (b *castBytesBench) publisher(id uint32, tries int, sizes ...int) func() {
	return func() {
		p := b.r.Publisher(id)
		for n := 0; n < len(sizes) && tries > 0; {
			pos, off, err := b.claim(p, 8*sizes[n])
			if err != nil {
				if err != ErrFull && err != ErrHeld && err != ErrClosed && err != ErrBusy {
					b.fail("claim: %v", err)
				}
				if b.AnyDead() {
					b.r.Repair(b.Alive)
				}
				tries--
				continue
			}
			m := piece{uint64(id)*100 + uint64(n), sizes[n]}
			for k := range m.words {
				access.Store("byte", &b.words[off/8+k], m.value)
			}
			// Published with this step, unless it is killed before it.
			if err := p.Publish(pos); err != nil {
				b.fail("publish: %v", err)
			}
			b.sent[pos] = m
			n++
		}
	}
}

func (b *castBytesBench) reader(id uint32, tries int, hold bool) func() {
	return func() {
		c := b.r.From(0)
		if hold {
			var err error
			if c, err = b.r.Hold(id); err != nil {
				b.fail("hold: %v", err)
				return
			}
		}
		b.follow(c, tries, hold)
	}
}

// read reads the words of the message that the cursor has found, and reports whether they count.
func (b *castBytesBench) read(c *Cursor) (all []uint64, ok bool) {
	off, size := c.Extent()
	for k := range size / 8 {
		all = append(all, access.Load("byte", &b.words[off/8+k]))
	}
	switch {
	case b.noTest:
		c.pos++
		return all, true
	case b.slotOnly:
		return all, c.Done() == nil
	}
	return all, c.DoneBytes() == nil
}

func (b *castBytesBench) follow(c *Cursor, tries int, hold bool) (got int) {
	from, at := c.Pos(), uint64(0)
	last := map[uint64]uint64{}
	for range tries {
		pos, lost, err := c.NextBytes()
		at += lost
		if hold && lost > 0 {
			b.fail("lost %d with a hold", lost)
		}
		if err != nil {
			if err == ErrHeld && b.AnyDead() {
				c.PassDead(b.Alive)
			} else if err != ErrEmpty && err != ErrHeld && err != ErrClosed {
				b.fail("next: %v", err)
			}
			continue
		}
		all, ok := b.read(c)
		if !ok {
			if hold {
				b.fail("overwritten with a hold")
			}
			continue
		}
		b.compare(pos, all)
		if len(all) > 0 {
			v := all[0]
			if l, ok := last[v/100]; ok && l >= v {
				b.fail("%d after %d", v, l)
			}
			last[v/100] = v
		}
		got++
		at++
		if at+c.Skipped() != c.Pos()-from {
			b.fail("at %d from %d: read or lost %d, skipped %d", c.Pos(), from, at, c.Skipped())
		}
	}
	return got
}

// compare compares what was read with what was published at a position.
func (b *castBytesBench) compare(pos uint64, all []uint64) {
	m := b.sent[pos]
	if len(all) != m.words {
		b.fail("%d words at %d, want %d", len(all), pos, m.words)
	}
	for _, v := range all {
		if v != m.value {
			b.fail("%d at %d, want %d", all, pos, m.value)
		}
	}
}

// newest reads the newest message, again and again: each is newer than the one before.
func (b *castBytesBench) newest(tries int) func() {
	return func() {
		c := b.r.From(0)
		next := uint64(0)
		for range tries {
			pos, err := c.NewestBytes()
			if err != nil {
				if err == ErrCorrupt {
					b.fail("newest: %v", err)
				}
				continue
			}
			if pos < next {
				b.fail("newest: %d, seen up to %d", pos, next)
			}
			if all, ok := b.read(c); ok {
				b.compare(pos, all)
				next = pos + 1
			}
		}
	}
}

// check reads what is there, and publishes and reads messages until slots and bytes were all used.
func (b *castBytesBench) check() error {
	if b.fault != nil {
		return b.fault
	}
	for pos, m := range b.sent {
		off, size, ok := b.r.Message(pos)
		if !ok || !b.r.Kept(pos) {
			continue
		}
		for k := range max(size/8, m.words) {
			if size != 8*m.words || b.words[off/8+k].Load() != m.value {
				b.fail("position %d of %d bytes has %d, want %v", pos, size, b.words[off/8+k].Load(), m)
			}
		}
	}
	alive := func(id uint32) bool { return id > 900 }
	b.r.RepairAt(alive, b.r.Oldest())
	b.r.Repair(alive)
	for range b.r.Cap() + 1 {
		for _, words := range []int{len(b.words), 0, 1} {
			c := b.r.From(b.r.Now())
			p := b.r.Publisher(999)
			if !b.r.CanClaimBytes(8 * words) {
				b.fail("no room for %d words at the end", words)
			}
			pos, off, err := p.ClaimBytes(8 * words)
			if err != nil {
				b.fail("claim of %d words at the end: %v", words, err)
				return b.fault
			}
			for k := range words {
				b.words[off/8+k].Store(pos)
			}
			_ = p.Publish(pos)
			b.sent[pos] = piece{pos, words}
			if l, err := b.r.Latest(); err != nil || l != pos || b.r.Oldest() > pos || b.r.Last(1) != pos {
				b.fail("latest %d %v, oldest %d, published %d", l, err, b.r.Oldest(), pos)
			}
			if b.follow(c, 1, false) != 1 {
				b.fail("a message of %d words is not read at the end", words)
			}
		}
	}
	return b.fault
}

func TestBroadcastBytesEveryOrder(t *testing.T) {
	for _, c := range []struct {
		name                string
		kills               int
		slots, words, holds int
		many                bool // states
		start               func(b *castBytesBench)
	}{
		{"1 slot, 2 words, 1 publisher, 1 reader, 2 kills", 2, 1, 2, 0, false, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 1, 1, 2))
			b.Spawn(2, b.reader(2, 2, false))
		}},
		{"2 slots, 2 words, 1 publisher, 1 reader, 1 kill", 1, 2, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 1, 1, 2, 1))
			b.Spawn(2, b.reader(2, 3, false))
		}},
		{"2 slots, 2 words, 2 publishers, 2 kills", 2, 2, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 1, 2))
			b.Spawn(2, b.publisher(2, 2, 2, 1))
		}},
		{"2 slots, 2 words, 2 publishers, 1 kill", 1, 2, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 1, 2))
			b.Spawn(2, b.publisher(2, 1, 1))
		}},
		{"3 slots, 2 words, 2 publishers, 1 kill", 1, 3, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 2, 1))
			b.Spawn(2, b.publisher(2, 2, 1))
		}},
		{"3 slots, 2 words, 2 publishers, 1 reader, 1 kill", 1, 3, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 2, 1))
			b.Spawn(2, b.publisher(2, 2, 1))
			b.Spawn(3, b.reader(3, 2, false))
		}},
		{"3 slots, 2 words, 1 publisher, 1 hold, 1 kill", 1, 3, 2, 1, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 1, 2))
			b.Spawn(2, b.reader(2, 2, true))
		}},
		{"2 slots, 3 words, 2 publishers, 1 hold, 1 kill", 1, 2, 3, 1, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 2, 1))
			b.Spawn(2, b.publisher(2, 2, 3))
			b.Spawn(3, b.reader(3, 2, true))
		}},
		{"3 slots, 2 words, 1 publisher, 1 hold of many", 0, 3, 2, 1, true, func(b *castBytesBench) {
			b.r.fewHolds = 0
			b.Spawn(1, b.publisher(1, 3, 2, 1, 2))
			b.Spawn(2, b.reader(2, 2, true))
		}},
		{"3 slots, 2 words, 1 publisher, 2 holds", 0, 3, 2, 2, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 3, 1, 1, 2))
			b.Spawn(2, b.reader(2, 2, true))
			b.Spawn(3, b.reader(3, 2, true))
		}},
		{"2 slots, 2 words, 1 publisher, 1 newest, 1 kill", 1, 2, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 2, 1, 2))
			b.Spawn(2, b.newest(2))
		}},
		{"2 slots, 2 words, 2 publishers, 1 newest", 0, 2, 2, 0, true, func(b *castBytesBench) {
			b.Spawn(1, b.publisher(1, 2, 2, 1))
			b.Spawn(2, b.publisher(2, 2, 1))
			b.Spawn(3, b.newest(2))
		}},
	} {
		build := func(w *world) func() error {
			b := newCastBytesBench(w, c.slots, c.words, c.holds)
			c.start(b)
			return b.check
		}
		if c.many {
			sampled(t, c.name, c.kills, build)
		} else {
			exhaust(t, c.name, c.kills, false, build)
		}
	}
}

// sampled explores a case of too many states for exhaust: some of them, in a random order that is
// the same every time.
func sampled(t *testing.T, name string, kills int, build func(w *world) func() error) {
	t.Helper()
	states := boundedStates / 4
	switch {
	case long:
		states = 1_000_000
	case full:
		states = 2 * boundedStates
	case raceEnabled || testing.Short():
		t.Logf("not now: %s", name)
		return
	}
	accesstest.Exhaust(t, name, kills, states, true, build)
}

func TestBroadcastBytesCaught(t *testing.T) {
	caught := func(name string, kills, slots, words int, start func(b *castBytesBench)) {
		t.Helper()
		accesstest.Caught(t, name, kills, func(w *world) func() error {
			b := newCastBytesBench(w, slots, words, 0)
			start(b)
			return b.check
		})
	}
	caught("no check after reading", 0, 2, 2, func(b *castBytesBench) {
		b.noTest = true
		b.Spawn(1, b.publisher(1, 1, 1, 2))
		b.Spawn(2, b.reader(2, 2, false))
	})
	caught("only the slot is checked", 0, 3, 2, func(b *castBytesBench) {
		b.slotOnly = true
		b.Spawn(1, b.publisher(1, 1, 1, 2))
		b.Spawn(2, b.reader(2, 2, false))
	})
	caught("the extent is written before the claim", 0, 1, 4, func(b *castBytesBench) {
		b.early = true
		b.Spawn(1, b.publisher(1, 1, 1, 2))
		b.Spawn(2, b.reader(2, 2, false))
	})
	caught("a message that is being written is overwritten", 0, 3, 2, func(b *castBytesBench) {
		b.unwritten = true
		b.Spawn(1, b.publisher(1, 2, 2))
		b.Spawn(2, b.publisher(2, 2, 2))
	})
	caught("bytes are reserved after they were written", 0, 3, 2, func(b *castBytesBench) {
		b.late = true
		b.Spawn(1, b.publisher(1, 1, 2, 2))
		b.Spawn(2, b.reader(2, 2, false))
	})
}
