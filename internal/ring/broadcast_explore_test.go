package ring

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

type castBench struct {
	*world
	h      BroadcastHeader
	slots  []atomic.Uint64
	holds  []Hold
	items  []atomic.Uint64
	r      *Broadcast
	sent   map[uint64]uint64 // position: value
	fault  error
	noTest bool // broken: read without Done's check
	repair bool
}

func (b *castBench) fail(f string, a ...any) {
	if b.fault == nil {
		b.fault = fmt.Errorf(f, a...)
	}
}

func newCastBench(w *world, n, holds int) *castBench {
	b := &castBench{world: w, slots: make([]atomic.Uint64, n), holds: make([]Hold, holds), items: make([]atomic.Uint64, 2*n), sent: map[uint64]uint64{}, repair: true}
	b.r, _ = NewBroadcast(&b.h, b.slots, b.holds)
	w.Share(&b.h.Tail, &b.h.Closed, &b.h.Skipped, &b.h.Used)
	for i := range b.holds {
		w.Share(&b.holds[i].ID, &b.holds[i].Cursor)
	}
	w.ShareAll(b.slots)
	w.ShareAll(b.items)
	return b
}

func (b *castBench) publisher(id uint32, values, tries int) func() {
	return func() {
		p := b.r.Publisher(id)
		for n := 0; n < values && tries > 0; {
			pos, err := p.Claim()
			if err != nil {
				if err != ErrFull && err != ErrHeld && err != ErrClosed {
					b.fail("claim: %v", err)
				}
				if b.repair && b.AnyDead() {
					b.r.Repair(b.Alive)
				}
				tries--
				continue
			}
			v := uint64(id)*100 + uint64(n)
			i := 2 * b.r.Index(pos)
			access.Store("item", &b.items[i], v)
			access.Store("item", &b.items[i+1], v)
			// Published with this step, unless it is killed before it.
			if err := p.Publish(pos); err != nil {
				b.fail("publish: %v", err)
			}
			b.sent[pos] = v
			n++
		}
	}
}

func (b *castBench) reader(id uint32, tries int, hold bool) func() {
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

func (b *castBench) follow(c *Cursor, tries int, hold bool) (got int) {
	from, at := c.Pos(), uint64(0)
	last := map[uint64]uint64{}
	for range tries {
		pos, lost, err := c.Next()
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
		i := 2 * b.r.Index(pos)
		v := access.Load("item", &b.items[i])
		u := access.Load("item", &b.items[i+1])
		if b.noTest {
			c.pos++
		} else if c.Done() != nil {
			continue
		}
		if v != u {
			b.fail("torn %d %d", v, u)
		}
		if l, ok := last[v/100]; ok && l >= v {
			b.fail("%d after %d", v, l)
		}
		last[v/100] = v
		got++
		at++
		if at+c.Skipped() != c.Pos()-from {
			b.fail("at %d from %d: read or lost %d, skipped %d", c.Pos(), from, at, c.Skipped())
		}
	}
	return got
}

// there reports whether a message is not overwritten. It is no step of its own.
func (b *castBench) there(pos uint64) bool {
	i, lap := b.r.at(pos)
	return word(b.slots[i].Load()) == plain(ready, lap)
}

// newest reads the newest message, again and again: each is newer than the one before, and none that
// was published before the call and is kept is missed.
func (b *castBench) newest(tries int) func() {
	return func() {
		c := b.r.From(0)
		next := uint64(0) // the first position that has not been seen
		for range tries {
			least, some := uint64(0), false
			for pos := range b.sent { // before this step
				if pos >= next {
					least, some = max(least, pos), true
				}
			}
			pos, err := c.Newest()
			if err != nil {
				some = some && b.there(least)
				if some && (err == ErrEmpty || err == ErrHeld || err == ErrClosed) {
					b.fail("newest: %v, but %d is there", err, least)
				} else if err == ErrCorrupt {
					b.fail("newest: %v", err)
				}
				if err == ErrHeld && b.AnyDead() {
					c.PassDead(b.Alive)
				}
				continue
			}
			if pos < next || some && pos < least {
				b.fail("newest: %d, seen up to %d, %d is there", pos, next, least)
			}
			i := 2 * b.r.Index(pos)
			v := access.Load("item", &b.items[i])
			u := access.Load("item", &b.items[i+1])
			if !b.noTest && c.Done() != nil {
				continue
			}
			if v != u {
				b.fail("torn %d %d", v, u)
			}
			next = pos + 1
		}
	}
}

// check publishes more than a lap and reads it.
func (b *castBench) check() error {
	if b.fault != nil {
		return b.fault
	}
	for pos, v := range b.sent { // what is there is right
		i := 2 * b.r.Index(pos)
		if b.r.Valid(pos) && (b.items[i].Load() != v || b.items[i+1].Load() != v) {
			b.fail("position %d has %d %d, want %d", pos, b.items[i].Load(), b.items[i+1].Load(), v)
		}
	}
	b.r.RepairAt(func(id uint32) bool { return id > 900 }, b.r.Oldest())
	b.r.Repair(func(id uint32) bool { return id > 900 })
	n := b.r.Cap() + 1
	c := b.r.From(b.r.Now())
	b.publisher(999, n, 1)()
	if p, err := b.r.Latest(); err != nil || p+1 != b.r.Now() {
		b.fail("latest %d %v, now %d", p, err, b.r.Now())
	}
	if got := b.follow(c, n+1, false); got != n-1 {
		b.fail("read %d of %d at the end", got, n-1)
	}
	return b.fault
}

func TestBroadcastEveryOrder(t *testing.T) {
	for _, c := range []struct {
		name         string
		kills        int
		slots, holds int
		large        bool
		start        func(b *castBench)
	}{
		{"1 slot, 1 publisher, 1 reader, 1 kill", 1, 1, 0, false, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 3, 1))
			b.Spawn(2, b.reader(2, 3, false))
		}},
		{"1 slot, 1 publisher, 1 reader, 2 kills", 2, 1, 0, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 3, 1))
			b.Spawn(2, b.reader(2, 3, false))
		}},
		{"2 slots, 2 publishers, 2 kills", 2, 2, 0, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 2))
			b.Spawn(2, b.publisher(2, 2, 2))
		}},
		{"2 slots, 2 publishers, 1 reader, 1 kill", 1, 2, 0, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 2))
			b.Spawn(2, b.publisher(2, 1, 2))
			b.Spawn(3, b.reader(3, 3, false))
		}},
		{"2 slots, 1 publisher, 1 hold", 0, 2, 1, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 4, 1))
			b.Spawn(2, b.reader(2, 2, true))
		}},
		{"1 slot, 1 publisher, 1 hold, 1 kill", 1, 1, 1, false, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 1))
			b.Spawn(2, b.reader(2, 2, true))
		}},
		{"1 slot, 1 publisher, 1 hold of many", 0, 1, 1, false, func(b *castBench) {
			b.r.fewHolds = 0
			b.Spawn(1, b.publisher(1, 2, 1))
			b.Spawn(2, b.reader(2, 2, true))
		}},
		{"2 slots, 1 publisher, 1 hold, 1 kill", 1, 2, 1, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 4, 2))
			b.Spawn(2, b.reader(2, 3, true))
		}},
		{"2 slots, 2 publishers, 1 hold, 1 kill", 1, 2, 1, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 2))
			b.Spawn(2, b.publisher(2, 2, 1))
			b.Spawn(3, b.reader(3, 2, true))
		}},
		{"1 slot, 1 publisher, 1 newest, 1 kill", 1, 1, 0, false, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 1))
			b.Spawn(2, b.newest(2))
		}},
		{"2 slots, 2 publishers, 1 newest, 1 kill", 1, 2, 0, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 2))
			b.Spawn(2, b.publisher(2, 1, 1))
			b.Spawn(3, b.newest(2))
		}},
		{"2 slots, 1 publisher, 1 hold, 1 newest", 0, 2, 1, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 3, 1))
			b.Spawn(2, b.reader(2, 2, true))
			b.Spawn(3, b.newest(2))
		}},
		{"1 slot, 1 publisher, 1 hold, 1 reader", 0, 1, 1, true, func(b *castBench) {
			b.Spawn(1, b.publisher(1, 2, 1))
			b.Spawn(2, b.reader(2, 1, true))
			b.Spawn(3, b.reader(3, 1, false))
		}},
	} {
		exhaust(t, c.name, c.kills, c.large, func(w *world) func() error {
			b := newCastBench(w, c.slots, c.holds)
			c.start(b)
			return b.check
		})
	}
	accesstest.Caught(t, "no check after reading", 0, func(w *world) func() error {
		b := newCastBench(w, 1, 0)
		b.noTest = true
		b.Spawn(1, b.publisher(1, 2, 1))
		b.Spawn(2, b.reader(2, 2, false))
		return b.check
	})
	accesstest.Caught(t, "the newest without a check", 0, func(w *world) func() error {
		b := newCastBench(w, 1, 0)
		b.noTest = true
		b.Spawn(1, b.publisher(1, 2, 1))
		b.Spawn(2, b.newest(2))
		return b.check
	})
	accesstest.Caught(t, "a hold that goes back", 0, func(w *world) func() error {
		b := newCastBench(w, 2, 1)
		b.Spawn(1, b.publisher(1, 4, 2))
		b.Spawn(2, func() {
			access.Store("hold.take", &b.holds[0].ID, 2)
			access.Store("hold.cursor", &b.holds[0].Cursor, b.r.Now())
			c := &Cursor{r: b.r, pos: b.r.Now(), hold: &b.holds[0], self: 2}
			access.Store("hold.cursor", &b.holds[0].Cursor, c.pos)
			b.follow(c, 3, true)
		})
		return b.check
	})
	accesstest.Caught(t, "hold from a tail seen before", 0, func(w *world) func() error {
		b := newCastBench(w, 2, 1)
		b.Spawn(1, b.publisher(1, 5, 3))
		b.Spawn(2, func() {
			now := b.r.Now() // before the hold can be seen
			access.Store("hold.cursor", &b.holds[0].Cursor, now)
			access.Store("hold.take", &b.holds[0].ID, 2)
			b.follow(&Cursor{r: b.r, pos: now, hold: &b.holds[0], self: 2}, 3, true)
		})
		return b.check
	})
}

// While a new reader has a hold and has not written its cursor, the cursor of the earlier reader
// does not count.
func TestNewHold(t *testing.T) {
	r, _ := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 2), make([]Hold, 1))
	c, err := r.Hold(1)
	if err != nil {
		t.Fatal(err)
	}
	c.Leave() // its cursor stays: 0
	p := r.Publisher(2)
	for range 2 {
		pos, _ := p.Claim()
		_ = p.Publish(pos)
	}
	got := ErrBusy
	access.Hook = func(step string, w *atomic.Uint64) {
		if step == "hold.cursor" {
			access.Hook = nil
			_, got = r.Publisher(3).Claim()
		}
	}
	_, err = r.Hold(4)
	access.Hook = nil
	if err != nil || got != nil {
		t.Error(err, got)
	}
}
