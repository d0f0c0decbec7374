package ring

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// ClaimNext, PublishNext, TakeNext and ReleaseNext move one message where nothing is in the way.
//
// TryClaim, Publish of a Next, TryTake and Release of a Next are the first round of these, by the
// same accesses in the same order: most messages need no other one. They have no names of accesses,
// so no test can step in, and are small. TestTry compares both.

// A Next is a position that ClaimNext or TakeNext got. With one more field the compiler would keep
// it in memory instead of registers.
type Next struct {
	Pos   uint64
	Index int // its slot

	word *atomic.Uint64
	held word // as which the caller holds the slot
}

// nextTries is how often ClaimNext and TakeNext try. They fail where another caller is faster.
const nextTries = 4

// TryClaim is one try of ClaimNext. The caller calls PublishTried then.
func (r *MPMC) TryClaim(self uint32) (n Next, ok bool) {
	h := r.h
	if r.mask == 0 || h.Closed.Load() != 0 {
		return Next{}, false
	}
	t := h.Tail.Load()
	i, lap := t&r.mask, t>>(r.shift&63)&lapMask
	s, mine := r.slots.At(i), named(claimed, lap, self)
	if t-r.head.Load() >= r.n && s.Load() != lap || // plain(free, lap) is lap
		lap&cleanLaps == cleanLaps || !s.CompareAndSwap(lap, uint64(mine)) {
		return Next{}, false
	}
	return Next{t, int(i), s, mine}, true
}

// PublishTried is PublishNext for a position of TryClaim. It reports false if the caller does not
// hold it.
func (r *MPMC) PublishTried(n Next) bool {
	if word(n.word.Load()) != n.held {
		return false
	}
	access.StoreRelease(n.word, uint64(plain(ready, n.Pos>>(r.shift&63))))
	r.h.Tail.CompareAndSwap(n.Pos, n.Pos+1)
	return true
}

// TryTake is one try of TakeNext. The caller calls ReleaseTried then.
func (r *MPMC) TryTake(self uint32) (n Next, ok bool) {
	h := r.h
	if r.mask == 0 || h.Suspects.Load()&1 != 0 {
		return Next{}, false
	}
	p := h.Head.Load()
	i, lap := p&r.mask, p>>(r.shift&63)&lapMask
	s, full, mine := r.slots.At(i), ready<<stateShift|lap, named(batch, lap, self)
	if p >= r.tail.Load() && s.Load() != full || !s.CompareAndSwap(full, uint64(mine)) {
		return Next{}, false
	}
	return Next{p, int(i), s, mine}, true
}

// ReleaseTried is ReleaseNext for a message of TryTake. It reports false if the caller does not
// hold it.
func (r *MPMC) ReleaseTried(n Next) bool {
	if word(n.word.Load()) != n.held {
		return false
	}
	access.StoreRelease(n.word, uint64(plain(free, n.Pos>>(r.shift&63)+1)))
	r.h.Head.CompareAndSwap(n.Pos, n.Pos+1)
	return true
}

// ClaimNext claims the next position, or reports false: then ClaimN claims it, or tells why not.
// The caller writes the item, then calls PublishNext. Together they do what Claim and PublishFence
// do, with two locked operations in place of three: the one that advances the tail orders the
// message before the check for waiters, too. Until then the tail is behind. So the item should be
// short.
func (r *MPMC) ClaimNext(self uint32) (n Next, ok bool) {
	if access.Load("claim.closed", &r.h.Closed) != 0 {
		return Next{}, false
	}
	for range nextTries {
		t := access.Load("claim.tail", &r.h.Tail)
		i, lap := r.at(t)
		s, mine := r.slot(i), named(claimed, lap, self)
		// Where there likely is room the slot is not loaded before: that would fetch its cache line
		// twice.
		if (t-r.head.Load() < r.n || word(access.Load("claim.look", s)) == plain(free, lap)) &&
			access.CAS("claim.slot", s, uint64(plain(free, lap)), uint64(mine)) {
			if lap&cleanLaps == cleanLaps {
				r.cleanMarks(t, 1)
			}
			return Next{t, int(i), s, mine}, true
		}
		w := word(access.Load("claim.look", s))
		if w == plain(free, lap) { // released this moment
			continue
		}
		if d := w.ahead(lap); d != 0 && d != 1 || w == plain(end, lap) {
			return Next{}, false
		}
		access.CAS("claim.help", &r.h.Tail, t, t+1) // the tail is behind
	}
	return Next{}, false
}

// PublishNext publishes a position of ClaimNext, in one order with all other atomic operations.
//
// The store that publishes is not a barrier, but the compare-and-swap of the tail is one: on amd64
// whether it succeeds or not. It fails if another caller has advanced the tail. Elsewhere each
// store is in one order with later loads.
func (r *MPMC) PublishNext(n Next) error {
	if word(access.Load("publish.look", n.word)) != n.held {
		return ErrNotHeld
	}
	_, lap := r.at(n.Pos)
	access.Release("publish.slot", n.word, uint64(plain(ready, lap)))
	access.CAS("publish.advance", &r.h.Tail, n.Pos, n.Pos+1)
	return nil
}

// TakeNext takes the oldest message, or reports false: then TakeN takes it, or tells why not. The
// caller copies the item, then calls ReleaseNext. They are to TakeN and ReleaseN what ClaimNext and
// PublishNext are to Claim and PublishFence. The lease is one of a batch: no other process ends it
// while the holder lives.
func (r *MPMC) TakeNext(self uint32) (n Next, ok bool) {
	if access.Load("take.suspects", &r.h.Suspects)&1 != 0 {
		return Next{}, false
	}
	for range nextTries {
		h := access.Load("take.head", &r.h.Head)
		i, lap := r.at(h)
		s, mine := r.slot(i), named(batch, lap, self)
		if (h < r.tail.Load() || word(access.Load("take.look", s)) == plain(ready, lap)) &&
			access.CAS("take.slot", s, uint64(plain(ready, lap)), uint64(mine)) {
			return Next{h, int(i), s, mine}, true
		}
		w := word(access.Load("take.look", s))
		if d := w.ahead(lap); d != 1 && (d != 0 || !w.leased()) {
			return Next{}, false
		}
		access.CAS("take.help", &r.h.Head, h, h+1) // the head is behind
	}
	return Next{}, false
}

// ReleaseNext ends a lease of TakeNext, in one order with all other atomic operations; see
// PublishNext.
func (r *MPMC) ReleaseNext(n Next) error {
	if word(access.Load("release.look", n.word)) != n.held {
		return ErrNotHeld
	}
	_, lap := r.at(n.Pos)
	access.Release("release.slot", n.word, uint64(plain(free, lap+1)))
	access.CAS("release.advance", &r.h.Head, n.Pos, n.Pos+1)
	return nil
}
