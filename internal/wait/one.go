package wait

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// This file wakes as many waiters as can go on. tests/models/one.pml is its model.
//
// A waiter that a waker has found able to go on is chosen, until its wait ends or it finds that it
// cannot. The slot's interest says that the process has waiters that are not chosen. A baton in the
// slot tells the leader of another process that one waiter for an object is to be chosen.
//
// The protocol of WakeN(n), after the words have changed:
//
//  1. Load armed. If its low bit is clear there is no waiter, and WakeN is done.
//  2. Look at each slot that is interested in the bucket, from behind one's own on, one's own last,
//     until n waiters are told and one more slot is interested:
//     put a baton into the slot if it has none (step.WakeBaton), ring the bell, and look at the
//     interest again. If it is gone and the baton is still there, the baton does not count: the
//     last waiter that left, or the next leader there, finds it. Of the own slot choose waiters at
//     once.
//     A slot that has a baton of another object, or that does not carry batons, gets a ring for all
//     that wait in the bucket, which does not count. A slot that has a baton of the same object
//     gets a second ring, once for each baton: the process that put it may have died before it
//     rang. It does not count; if not enough waiters are told by the other slots, all are rung.
//  3. If no further slot was interested, clear the low bit as Wake does.
//
// The leader that finds a baton chooses the first waiter for the object whose condition holds, and
// arms for the others before that one can leave. If none waits for the object here, or if those
// that do cannot go on and are not alike, it rings all that wait in the bucket, in all processes.
//
// A waiter that was chosen takes what it waited for and looks for more: see WakeN. If its wait ends
// with an error it calls WakeN itself (step.WaitPassed). The last waiter to leave a bucket looks
// for a baton that came meanwhile.
//
// If a waiter waits that is not chosen, then its object is armed, or a baton or ring is on its way.
//
// The process that puts a baton watches the one that gets it. When the kernel reports its death all
// waiters are rung, see retireBaton. A stopped process, and one that cannot be watched or dies
// together with the waker, delays the others up to the backstop.

// WakeN wakes waiters for an object whose words the caller has changed so that n more of them can
// go on. It wakes fewer if fewer wait or their conditions do not hold, and sometimes more.
//
// A waiter whose Until returns nil has to do one of these: take one of what there is, and if there
// is more of it call WakeN(1); or wait again; or call WakeN(1). m is pinned, or nil for ordinary
// memory. Without waiters WakeN costs one load.
func WakeN(m *mem.Mapping, armed *atomic.Uint32, n int) {
	if g := armed.Load(); g&1 != 0 {
		wakeN(m, armed, g, n)
	}
}

// WakeAny is WakeN of one waiter. It reports false if it has told none; true is not certain.
func WakeAny(m *mem.Mapping, armed *atomic.Uint32) bool {
	g := armed.Load()
	return g&1 != 0 && wakeN(m, armed, g, 1)
}

// A baton is the offset of an armed word, / 4, whether a second process has rung for it, and how
// many waiters are to be chosen.
type baton uint64

const (
	batonBits = 16 // of the number and of rungTwice
	rungTwice = 1 << (batonBits - 1)
)

func batonOf(off int) baton     { return baton(off)>>2<<batonBits | 1 }
func (b baton) offset() int     { return int(b >> batonBits << 2) }
func (b baton) count() int      { return max(int(b&(rungTwice-1)), 1) }
func (b baton) is(c baton) bool { return b>>batonBits == c>>batonBits }

// retired is in the slot of an attachment that has died. No object has that offset.
const retired = ^baton(0)

// wakeN is the rest of WakeN, from its second step on; g is the value of armed.
func wakeN(m *mem.Mapping, armed *atomic.Uint32, g uint32, n int) (told bool) {
	step.Reach(step.WakeArmed)
	if m == nil {
		l := lotOf(nil)
		c := l.buckets[l.bucketOf(armed)].chooseFor(armed, n, nil)
		armed.CompareAndSwap(g, g&^1) // fails if a waiter is left, which chooseFor has armed for
		return c.chosen > 0
	}
	if !hasSlot(m) {
		return false
	}
	r := round{m: m, armed: armed, baton: batonOf(mem.Offset(m, armed)), n: n}
	r.k = layout.Bucket(uintptr(mem.Offset(m, armed)))
	r.tell()
	if r.n > 0 && r.busy || r.alone {
		wake(m, armed, g)
		return true
	}
	step.Reach(step.WakeAll)
	if !r.left {
		armed.CompareAndSwap(g, g&^1)
	}
	step.Reach(step.WakeDone)
	return r.told
}

// A round is the second step of WakeN.
type round struct {
	m     *mem.Mapping
	armed *atomic.Uint32
	baton baton
	k     int  // the bucket
	n     int  // waiters still to be told
	left  bool // another slot is interested
	busy  bool // a slot has a baton of this object already
	told  bool // a slot was rung, or a waiter of this process chosen
	alone bool // an attachment that was rung is not watched
}

func (r *round) tell() {
	p := r.m.Peers
	own, bound := int(p.Self.Slot()), p.SlotBound()
	for d := 1; d <= bound; d++ {
		i := (own + d) % bound
		s := p.Slot(i)
		switch {
		case s.Interest.Load()&(1<<r.k) == 0:
		case r.n <= 0:
			r.left = true
			return
		case i != own:
			r.told = true
			r.give(s, i)
		default:
			if l := r.m.Waiters.Load(); l != nil {
				chosen := (*l).(*parkingLot).chooseOwn(r.k, r.armed, r.n)
				r.told = r.told || chosen > 0
				r.n -= chosen
			}
		}
	}
}

// give puts a baton into the slot i of another attachment and rings its bell. It watches the
// attachment: see retireBaton.
func (r *round) give(s *mem.Slot, i int) {
	bit, gen := uint64(1)<<r.k, s.Gen.Load()&format.GenMask
	defer r.watch(format.MakeID(gen, uint32(i)))
	if s.Flags.Load()&format.SlotCarries == 0 {
		ring(s, bit)
		return
	}
	switch old := baton(s.Baton.Load()); {
	case old != 0 && old.is(r.baton):
		r.busy = true
		// The process that put it may have died before it rang.
		if old&rungTwice == 0 && s.Baton.CompareAndSwap(uint64(old), uint64(old|rungTwice)) {
			futexBell{s}.ring()
		}
		return
	case old != 0 || !s.Baton.CompareAndSwap(0, uint64(r.baton)):
		ring(s, bit)
		return
	}
	step.Reach(step.WakeBaton)
	futexBell{s}.ring()
	// The baton is not taken back: by now it may be another one that looks the same. If it is gone
	// the process that has taken it carries it.
	if s.Interest.Load()&bit != 0 || baton(s.Baton.Load())&^rungTwice != r.baton {
		r.n--
	}
}

// watch watches an attachment that was rung. While the mapping drains that is not possible, so all
// are rung.
func (r *round) watch(id format.ID) {
	l := lotOf(r.m)
	l.gave.Store(true)
	r.alone = r.alone || l.watch(id) == unwatched
}

// chooseOwn chooses up to n waiters of this process, and returns how many.
func (l *parkingLot) chooseOwn(k int, armed *atomic.Uint32, n int) int {
	c := l.buckets[k].chooseFor(armed, n, l.slot)
	l.watchAll(k, c.owners)
	l.ringLocal(0) // the leader may be chosen
	return c.chosen
}

// A choice is what chooseFor has done.
type choice struct {
	chosen int
	some   bool        // a waiter waits that was not chosen before
	alike  bool        // what such a waiter says of itself
	owners []format.ID // to be watched: waiters that cannot go on have not seen them before
}

// chooseFor chooses the first n waiters for an object whose conditions hold, and arms for the
// others before one of these can leave.
func (b *bucket) chooseFor(armed *atomic.Uint32, n int, slot *mem.Slot) (c choice) {
	b.mu.Lock()
	defer b.mu.Unlock() // also when memory faults
	isArmed := false
	for w := b.first; w != nil; w = w.next {
		if w.armed != armed || w.chosen {
			continue
		}
		c.some, c.alike = true, w.alike
		ok := c.chosen < n && w.ready()
		if !ok && !isArmed {
			arm(armed)
			isArmed = true
		}
		if !ok && c.chosen < n {
			var owner format.ID
			if ok, owner = w.look(); owner != format.NoID {
				c.owners = append(c.owners, owner)
			}
		}
		if ok { // it cannot leave before b.mu is free
			b.resuming.Add(1)
			b.choose(w, slot)
			w.ring()
			c.chosen++
		} else if c.chosen == n || w.alike {
			break
		}
	}
	return c
}

// enter counts a waiter that is not chosen. b.mu is held.
func (b *bucket) enter(w *waiter, slot *mem.Slot) {
	w.chosen = false
	if b.unchosen++; b.unchosen > 1 {
		return
	}
	b.occupied.Or(1 << w.k)
	if slot != nil {
		slot.Interest.Or(1 << w.k)
	}
}

// choose makes a waiter chosen, or one that leaves. b.mu is held.
func (b *bucket) choose(w *waiter, slot *mem.Slot) {
	if w.chosen {
		return
	}
	w.chosen = true
	if b.unchosen--; b.unchosen > 0 {
		return
	}
	b.occupied.And(^(uint64(1) << w.k))
	if slot != nil {
		slot.Interest.And(^(uint64(1) << w.k))
	}
}

// unchoose ends that a waiter is chosen, and reports whether it was.
func (b *bucket) unchoose(w *waiter, slot *mem.Slot) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !w.chosen {
		return false
	}
	b.resuming.Add(-1)
	b.enter(w, slot)
	return true
}

// carry chooses waiters of this process for a baton that was in its slot. mine: the caller itself
// waited for the object and goes on, so the baton is not lost if no other one waits here.
func (l *parkingLot) carry(word uint64, mine bool) {
	b := baton(word)
	if b == 0 {
		return
	}
	armed, err := mem.Control[atomic.Uint32](l.m, b.offset())
	if err != nil {
		return // no object is there
	}
	k := layout.Bucket(uintptr(b.offset()))
	c := l.buckets[k].chooseFor(armed, b.count(), l.slot)
	l.watchAll(k, c.owners)
	if c.chosen > 0 || c.some && c.alike || !c.some && mine {
		return
	}
	// The low bit stays set: a peer has chosen the offset, and this attachment may not write there.
	if armed.Load()&1 != 0 {
		ringSlots(l.m, 1<<k)
	}
	step.Reach(step.WakeCarried)
}

// carryStranded carries a baton for the bucket of a waiter that has left it as the last one: the
// waker put it there before the interest was cleared. goesOn: the wait has not failed.
func (l *parkingLot) carryStranded(w *waiter, goesOn bool) {
	b := baton(l.slot.Baton.Load())
	if b == 0 || layout.Bucket(uintptr(b.offset())) != w.k ||
		!l.slot.Baton.CompareAndSwap(uint64(b), 0) {
		return
	}
	l.carry(uint64(b), goesOn && b.offset() == mem.Offset(l.m, w.armed))
	l.ringLocal(0) // the leader may be chosen
}
