package ring

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

// bench is an MPMC with items of two words, with what the actors know of it.
type bench struct {
	*world
	h     MPMCHeader
	slots []atomic.Uint64
	items []atomic.Uint64 // two a slot
	r     *MPMC
	ends  map[uint32]*MPMC // each actor's handle
	step  uint64           // of their leases

	sent  []uint64   // Publish returned nil
	got   []delivery // read whole
	fault error

	publishing map[uint32]uint64 // by actor: the value in its last publish
	releasing  map[uint32]int    // by actor: the delivery in its last release

	// A broken variant replaces these.
	claim    func(self uint32, n int) (uint64, int, error)
	publish  func(self uint32, pos uint64) error
	take     func(self uint32, n int) (uint64, int, bool, error)
	release  func(self uint32, pos uint64) error
	giveBack func(self uint32, pos uint64) error
}

type delivery struct {
	value    uint64
	by       uint32
	pos      uint64
	again    bool
	released bool
}

func newBench(w *world, n int) *bench {
	b := &bench{world: w, slots: make([]atomic.Uint64, n), items: make([]atomic.Uint64, 2*n)}
	b.r, _ = NewMPMC(&b.h, SideBySide(b.slots))
	withMarks(b.r)
	b.ends, b.step = map[uint32]*MPMC{}, settleStep
	b.claim = func(self uint32, n int) (uint64, int, error) { return b.end(self).ClaimN(self, n) }
	b.take = func(self uint32, n int) (uint64, int, bool, error) {
		return b.end(self).takeN(self, n)
	}
	b.publishing, b.releasing = map[uint32]uint64{}, map[uint32]int{}
	b.publish, b.release = b.r.Publish, b.r.releaseAny
	b.giveBack = b.r.returnAny
	w.Share(&b.h.Tail, &b.h.Head, &b.h.Closed, &b.h.Suspects, &b.h.Skipped, &b.h.Returned, &b.h.Settled)
	w.ShareAll(b.slots)
	w.ShareAll(b.items)
	w.ShareAll(b.r.marks)
	return b
}

// end returns the handle of an actor, which is a process of its own.
func (b *bench) end(id uint32) *MPMC {
	if b.ends[id] == nil {
		b.ends[id] = b.handle()
		b.ends[id].leases.step = b.step
	}
	return b.ends[id]
}

// handle makes a handle of the ring.
func (b *bench) handle() *MPMC {
	r, _ := NewMPMC(&b.h, SideBySide(b.slots))
	_ = r.SetMarks(b.r.marks)
	return r
}

func (b *bench) write(pos, v uint64) {
	i := 2 * b.r.Index(pos)
	access.Store("item.write", &b.items[i], v)
	access.Store("item.write", &b.items[i+1], v)
}

func (b *bench) read(pos uint64) uint64 {
	i := 2 * b.r.Index(pos)
	v := access.Load("item.read", &b.items[i])
	if u := access.Load("item.read", &b.items[i+1]); u != v {
		b.fail("torn: %d %d at %d", v, u, pos)
	}
	return v
}

func (b *bench) fail(f string, a ...any) {
	if b.fault == nil {
		b.fault = fmt.Errorf(f, a...)
	}
}

func (b *bench) unexpected(op string, err error, ok ...error) {
	for _, e := range ok {
		if err == e {
			return
		}
	}
	b.fail("%s: %v", op, err)
}

// producer sends values id*100, id*100+1... in batches, with at most so many tries.
func (b *bench) producer(id uint32, values, batch, tries int) func() {
	return func() {
		for v := 0; v < values && tries > 0; {
			pos, k, err := b.claim(id, min(batch, values-v))
			if err != nil {
				b.unexpected("claim", err, ErrFull, ErrClosed)
				if b.AnyDead() {
					b.end(id).Repair(b.Alive)
				}
				tries--
				continue
			}
			for j := range k {
				b.write(pos+uint64(j), uint64(id)*100+uint64(v+j))
			}
			for j := range k {
				b.publishing[id] = uint64(id)*100 + uint64(v+j)
				if err := b.publish(id, pos+uint64(j)); err != nil {
					b.fail("publish: %v", err)
				} else {
					b.sent = append(b.sent, uint64(id)*100+uint64(v+j))
				}
			}
			v += k
		}
	}
}

// consumer takes so often, and returns every returns-th message.
func (b *bench) consumer(id uint32, tries, batch, returns int) func() {
	return func() {
		for n := range tries {
			pos, k, again, err := b.take(id, batch)
			if err != nil {
				b.unexpected("take", err, ErrEmpty, ErrHeld, ErrClosed, ErrBusy)
				if b.AnyDead() {
					b.end(id).Repair(b.Alive)
				}
				continue
			}
			for j := range uint64(k) {
				b.got = append(b.got, delivery{by: id, pos: pos + j, again: again, value: b.read(pos + j)})
				d := len(b.got) - 1
				if returns > 0 && n%returns == 0 {
					if err := b.giveBack(id, pos+j); err != nil {
						b.fail("Return: %v", err)
					}
					continue
				}
				b.releasing[id] = d
				if err := b.release(id, pos+j); err != nil {
					b.fail("release: %v", err)
				}
				b.got[d].released = true
			}
		}
	}
}

// book books what actors have done that were killed after PublishNext had published, or ReleaseNext
// had released, and before it returned.
func (b *bench) book() {
	for _, id := range b.KilledBefore("publish.advance") {
		b.sent = append(b.sent, b.publishing[id])
	}
	for _, id := range b.KilledBefore("release.advance") {
		b.got[b.releasing[id]].released = true
	}
}

// check empties the ring and checks what was delivered.
func (b *bench) check() error { return b.finish(true) }

func (b *bench) finish(repair bool) error {
	const me = 999
	if b.fault != nil {
		return b.fault
	}
	b.book()
	mend := func() { b.r.Mend(Care{Alive: b.Alive, Now: atLast}) }
	if repair {
		mend()
	}
	for range 3 * b.r.Cap() {
		pos, again, err := take(b.r, me)
		if err == ErrHeld && repair { // a dead producer behind messages
			mend()
			pos, again, err = take(b.r, me)
		}
		if err != nil {
			b.unexpected("take at the end", err, ErrEmpty, ErrClosed)
			break
		}
		v := b.read(pos)
		b.got = append(b.got, delivery{value: v, by: me, pos: pos, again: again, released: true})
		if err := b.r.releaseAny(me, pos); err != nil {
			b.fail("release at the end: %v", err)
		}
	}
	count := map[uint64]int{}
	last := map[[2]uint64]uint64{}
	for _, d := range b.got {
		if d.released {
			count[d.value]++
		}
		if d.again {
			continue
		}
		pair := [2]uint64{uint64(d.by), d.value / 100}
		if l, ok := last[pair]; ok && l >= d.value {
			b.fail("%d after %d at consumer %d", d.value, l, d.by)
		}
		last[pair] = d.value
	}
	for _, v := range b.sent {
		if count[v] != 1 {
			b.fail("%d delivered %d times", v, count[v])
		}
		delete(count, v)
	}
	for v := range count {
		b.fail("%d delivered, not sent", v)
	}
	if b.r.Closed() {
		return b.fault
	}
	for range b.r.Cap() { // all slots are good again
		if pos, err := b.r.Claim(me); err != nil {
			b.fail("claim at the end: %v", err)
		} else if err := b.r.Publish(me, pos); err != nil {
			b.fail("publish at the end: %v", err)
		}
	}
	if _, err := b.r.Claim(me); err != ErrFull {
		b.fail("full: %v", err)
	}
	return b.fault
}

func TestMPMCEveryOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		kills int
		slots int
		large bool
		start func(b *bench)
	}{
		{"1 slot, 2 producers, 1 take, 1 kill", 1, 1, false, func(b *bench) {
			b.Spawn(1, b.producer(1, 1, 1, 2))
			b.Spawn(2, b.producer(2, 1, 1, 2))
			b.Spawn(3, b.consumer(3, 1, 1, 0))
		}},
		{"1 slot, 2 producers, 1 consumer, 1 kill", 1, 1, true, func(b *bench) {
			b.Spawn(1, b.producer(1, 1, 1, 2))
			b.Spawn(2, b.producer(2, 1, 1, 2))
			b.Spawn(3, b.consumer(3, 2, 1, 0))
		}},
		{"2 slots, 1 producer, 1 consumer, 2 kills", 2, 2, false, func(b *bench) {
			b.Spawn(1, b.producer(1, 3, 1, 2))
			b.Spawn(2, b.consumer(2, 3, 1, 0))
		}},
		{"2 slots, 2 consumers of one message, 2 kills", 2, 2, false, func(b *bench) {
			b.Spawn(1, b.producer(1, 1, 1, 1))
			b.Spawn(2, b.consumer(2, 1, 1, 0))
			b.Spawn(3, b.consumer(3, 2, 1, 0))
		}},
		{"settling at once, 2 slots, 1 consumer, 1 kill", 1, 2, false, func(b *bench) {
			b.step, b.r.leases.step = 1, 1
			b.Spawn(1, b.producer(1, 2, 1, 2))
			b.Spawn(2, b.consumer(2, 3, 1, 0))
		}},
		{"settling at once, 2 slots, 2 consumers, 1 kill", 1, 2, true, func(b *bench) {
			b.step, b.r.leases.step = 1, 1
			b.Spawn(1, b.producer(1, 2, 1, 1))
			b.Spawn(2, b.consumer(2, 1, 1, 0))
			b.Spawn(3, b.consumer(3, 2, 1, 0))
		}},
		{"2 slots, 2 producers, 1 consumer, 1 kill", 1, 2, true, func(b *bench) {
			b.Spawn(1, b.producer(1, 2, 1, 1))
			b.Spawn(2, b.producer(2, 1, 1, 1))
			b.Spawn(3, b.consumer(3, 2, 1, 0))
		}},
		{"2 slots, 1 producer, 2 consumers, 2 kills", 2, 2, true, func(b *bench) {
			b.Spawn(1, b.producer(1, 2, 1, 1))
			b.Spawn(2, b.consumer(2, 2, 1, 0))
			b.Spawn(3, b.consumer(3, 2, 1, 0))
		}},
		{"3 slots, batches, 2 producers, 1 consumer, 1 kill", 1, 3, true, func(b *bench) {
			b.Spawn(1, b.producer(1, 2, 2, 1))
			b.Spawn(2, b.producer(2, 2, 2, 1))
			b.Spawn(3, b.consumer(3, 1, 2, 0))
		}},
		{"3 slots, batches, 1 producer, 2 consumers, 1 kill", 1, 3, true, func(b *bench) {
			b.Spawn(1, b.producer(1, 3, 2, 1))
			b.Spawn(2, b.consumer(2, 1, 2, 0))
			b.Spawn(3, b.consumer(3, 2, 2, 0))
		}},
		{"return, 2 slots, 2 consumers, 1 kill", 1, 2, true, func(b *bench) {
			b.Spawn(1, b.producer(1, 2, 1, 1))
			b.Spawn(2, b.consumer(2, 2, 1, 2))
			b.Spawn(3, b.consumer(3, 2, 1, 0))
		}},
		{"close, 2 slots, 1 producer, 1 consumer, 1 kill", 1, 2, false, func(b *bench) {
			b.Spawn(1, b.producer(1, 2, 1, 1))
			b.Spawn(2, b.consumer(2, 3, 1, 0))
			b.Spawn(3, func() { b.r.Close() })
		}},
	} {
		exhaust(t, c.name, c.kills, c.large, func(w *world) func() error {
			b := newBench(w, c.slots)
			c.start(b)
			return b.check
		})
		if strings.Contains(c.name, "batches") {
			continue
		}
		kills := c.kills
		if !long { // there are more steps than above
			kills = min(kills, 1)
			if strings.Contains(c.name, "2 consumers") {
				kills = 0
			}
		}
		exhaust(t, "straight, "+c.name, kills, c.large || c.slots == 1, func(w *world) func() error {
			b := newBench(w, c.slots)
			b.straight()
			c.start(b)
			return b.check
		})
	}
}

// straight makes all go by ClaimNext and TakeNext, told that there is room, and a message, whether
// that is so or not. Consumers with an even id go by Take.
func (b *bench) straight() {
	next := map[[2]uint64]Next{} // by id and position
	b.claim = func(self uint32, n int) (uint64, int, error) {
		r := b.end(self)
		r.head.Store(b.h.Tail.Load())
		if n, ok := r.ClaimNext(self); ok {
			next[[2]uint64{uint64(self), n.Pos}] = n
			return n.Pos, 1, nil
		}
		return r.ClaimN(self, 1)
	}
	b.publish = func(self uint32, pos uint64) error {
		if n, ok := next[[2]uint64{uint64(self), pos}]; ok {
			return b.end(self).PublishNext(n)
		}
		return b.r.Publish(self, pos)
	}
	b.take = func(self uint32, n int) (uint64, int, bool, error) {
		r := b.end(self)
		r.tail.Store(1 << 62)
		if self%2 == 0 {
			pos, again, err := take(r, self)
			return pos, 1, again, err
		}
		if n, ok := r.TakeNext(self); ok {
			next[[2]uint64{uint64(self), n.Pos}] = n
			return n.Pos, 1, false, nil
		}
		pos, again, err := take(r, self)
		return pos, 1, again, err
	}
	b.release = func(self uint32, pos uint64) error {
		if n, ok := next[[2]uint64{uint64(self), pos}]; ok {
			return b.end(self).ReleaseNext(n)
		}
		return b.r.releaseAny(self, pos)
	}
}

// Without Repair a returned message must be found by Suspects alone.
func TestMPMCReturnHint(t *testing.T) {
	build := func(breakIt bool) func(w *world) func() error {
		return func(w *world) func() error {
			b := newBench(w, 2)
			if breakIt { // the hint first, then the slot
				b.giveBack = func(self uint32, pos uint64) error {
					b.r.suspect()
					i, lap := b.r.at(pos)
					access.CAS("broken", &b.slots[i], uint64(named(taken, lap, self)), uint64(named(taken, lap, 0)))
					return nil
				}
			}
			b.Spawn(1, b.producer(1, 2, 2, 1))
			b.Spawn(2, b.consumer(2, 1, 1, 1))
			b.Spawn(3, b.consumer(3, 2, 1, 2))
			return func() error { return b.finish(false) }
		}
	}
	exhaust(t, "2 slots, 2 consumers", 0, false, build(false))
	accesstest.Caught(t, "hint before slot", 0, build(true))
}

func TestMPMCBrokenVariants(t *testing.T) {
	accesstest.Caught(t, "straight take of what is only claimed", 0, func(w *world) func() error {
		b := newBench(w, 2)
		b.take = func(self uint32, n int) (uint64, int, bool, error) {
			h := access.Load("broken.head", &b.h.Head)
			i, lap := b.r.at(h)
			if word(access.Load("broken.look", &b.slots[i])).ahead(lap) != 0 { // not: is ready
				return 0, 0, false, ErrEmpty
			}
			access.Store("broken.slot", &b.slots[i], uint64(named(taken, lap, self)))
			advance("broken.advance", &b.h.Head, h, h+1)
			return h, 1, false, nil
		}
		b.Spawn(1, b.producer(1, 2, 1, 1))
		b.Spawn(2, b.consumer(2, 2, 1, 0))
		return b.check
	})
	accesstest.Caught(t, "next claim advances beyond a free slot", 0, func(w *world) func() error {
		b := newBench(w, 1)
		b.claim = func(self uint32, n int) (uint64, int, error) {
			p := access.Load("broken.tail", &b.h.Tail)
			i, lap := b.r.at(p)
			if access.CAS("broken.slot", &b.slots[i], uint64(plain(free, lap)), uint64(named(claimed, lap, self))) {
				access.CAS("broken.advance", &b.h.Tail, p, p+1)
				return p, 1, nil
			}
			// It may have been released since.
			if word(access.Load("broken.look", &b.slots[i])).ahead(lap) >= 0 {
				access.CAS("broken.help", &b.h.Tail, p, p+1)
			}
			return 0, 0, ErrFull
		}
		b.Spawn(1, b.producer(1, 3, 1, 3))
		b.Spawn(2, b.consumer(2, 2, 1, 0))
		return b.check
	})
	accesstest.Caught(t, "next publishes a slot that it does not hold", 1, func(w *world) func() error {
		b := newBench(w, 2)
		b.publish = func(self uint32, pos uint64) error { // without a look, by an id that repair has ended
			i, lap := b.r.at(pos)
			b.r.Repair(func(uint32) bool { return false })
			access.Release("broken.slot", &b.slots[i], uint64(plain(ready, lap)))
			return nil
		}
		b.Spawn(1, b.producer(1, 2, 1, 1))
		b.Spawn(2, b.consumer(2, 2, 1, 0))
		return b.check
	})
	accesstest.Caught(t, "claim by the index first", 1, func(w *world) func() error {
		b := newBench(w, 2)
		b.claim = func(self uint32, n int) (uint64, int, error) {
			for {
				p := access.Load("broken.tail", &b.h.Tail)
				i, lap := b.r.at(p)
				if word(access.Load("broken.look", &b.slots[i])) != plain(free, lap) {
					return 0, 0, ErrFull
				}
				if access.CAS("broken.tail", &b.h.Tail, p, p+1) {
					access.Store("broken.slot", &b.slots[i], uint64(named(claimed, lap, self)))
					return p, 1, nil
				}
			}
		}
		b.Spawn(1, b.producer(1, 1, 1, 1))
		b.Spawn(2, b.producer(2, 1, 1, 1))
		return b.check
	})
	accesstest.Caught(t, "take by the index first", 1, func(w *world) func() error {
		b := newBench(w, 2)
		b.take = func(self uint32, n int) (uint64, int, bool, error) {
			for {
				p := access.Load("broken.head", &b.h.Head)
				i, lap := b.r.at(p)
				if word(access.Load("broken.look", &b.slots[i])) != plain(ready, lap) {
					return 0, 0, false, ErrEmpty
				}
				if access.CAS("broken.head", &b.h.Head, p, p+1) {
					access.Store("broken.slot", &b.slots[i], uint64(named(taken, lap, self)))
					return p, 1, false, nil
				}
			}
		}
		b.Spawn(1, b.producer(1, 2, 1, 1))
		b.Spawn(2, b.consumer(2, 2, 1, 0))
		return b.check
	})
	accesstest.Caught(t, "take without a name", 1, func(w *world) func() error {
		b := newBench(w, 2)
		b.take = func(self uint32, n int) (uint64, int, bool, error) {
			p, k, again, err := b.end(self).takeN(998, n) // an id that seems alive
			if err == nil {
				i, lap := b.r.at(p)
				access.Store("broken.name", &b.slots[i], uint64(named(taken, lap, self)))
			}
			return p, k, again, err
		}
		b.Spawn(1, b.producer(1, 1, 1, 1))
		b.Spawn(2, b.consumer(2, 1, 1, 0))
		return b.check
	})
	accesstest.Caught(t, "two-step end", 0, func(w *world) func() error {
		b := newBench(w, 2)
		ended := false
		b.take = func(self uint32, n int) (uint64, int, bool, error) {
			h := access.Load("broken.head", &b.h.Head)
			i, lap := b.r.at(h)
			if word(access.Load("broken.look", &b.slots[i])) == plain(free, lap) && access.Load("broken.closed", &b.h.Closed) != 0 {
				ended = true
				return 0, 0, false, ErrClosed
			}
			return b.end(self).takeN(self, n)
		}
		b.Spawn(1, b.producer(1, 1, 1, 1))
		b.Spawn(2, b.consumer(2, 1, 1, 0))
		b.Spawn(3, func() { b.r.Close() })
		return func() error {
			if ended && len(b.sent) > len(b.got) {
				return fmt.Errorf("sent after the end was told")
			}
			return nil
		}
	})
}

// After a consumer has got ErrClosed no message comes.
func TestMPMCEndIsTheEnd(t *testing.T) {
	exhaust(t, "2 slots, 2 producers, 1 consumer, close", 0, false, func(w *world) func() error {
		b := newBench(w, 2)
		ended := false
		b.take = func(self uint32, n int) (uint64, int, bool, error) {
			p, k, a, err := b.end(self).takeN(self, n)
			if ended && err != ErrClosed {
				b.fail("%v after the end", err)
			}
			ended = ended || err == ErrClosed
			return p, k, a, err
		}
		b.Spawn(1, b.producer(1, 1, 1, 1))
		b.Spawn(2, b.producer(2, 1, 1, 1))
		b.Spawn(3, b.consumer(3, 3, 1, 0))
		b.Spawn(4, func() { b.r.Close() })
		return func() error {
			if ended && len(b.sent) != len(b.got) {
				return fmt.Errorf("%d sent, %d got when the end was told", len(b.sent), len(b.got))
			}
			return b.check()
		}
	})
}
