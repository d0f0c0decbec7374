package ring

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// MPMCHeader is the shared part of an MPMC, without its slots. All zero is an empty ring. The
// waiting words belong to the caller; MPMC does not use them.
type MPMCHeader struct {
	Tail atomic.Uint64 // next position to claim; may be behind
	_    [120]byte
	Head atomic.Uint64 // next position to take; may be behind
	_    [120]byte

	// Seldom written.
	Closed   atomic.Uint64 // not 0: no more claims
	Suspects atomic.Uint64 // low bit: there may be a lease to be taken again, see suspect
	Skipped  atomic.Uint64 // claims whose producer died
	Returned atomic.Uint64 // leases whose consumer died
	Settled  atomic.Uint64 // positions before it are released; may be behind, see leases
	_        [88]byte

	SendWait, SendArmed atomic.Uint32 // for waiters for room
	_                   [120]byte
	RecvWait, RecvArmed atomic.Uint32 // for waiters for messages
	_                   [120]byte
}

// MPMC is a bounded first-in first-out queue of slots, for any number of producers and consumers in
// any processes. A producer claims a position, writes the item at its Index, and publishes it. A
// consumer takes a position, reads the item, and releases it. Messages are taken in the order of
// claims. All methods may be called concurrently.
//
//	free(lap) -Claim-> claimed(lap, id) -Publish-> ready(lap)
//	ready(lap) -Take-> taken(lap, id) -Release-> free(lap+1)
//	claimed(lap, dead) -Repair-> skipped(lap) -Take-> free(lap+1)
//	taken(lap, dead) -Repair-> taken(lap, 0) -Retake-> again(lap, id) -Release-> free(lap+1)
//	free(lap) -Take, closed-> end(lap)
//
// TakeNext, and TakeN of more than one message, make words batch(lap, id), which are released by
// plain stores; all else about them is as about taken. About leases see lease.go.
//
// Deaths: one compare-and-swap makes a claim the producer's, and a lease the consumer's. If the
// holder dies before it has advanced the index the next caller advances it. A slow claim at the
// head holds all consumers back. A slow lease holds all producers back one lap later.
type MPMC struct {
	h     *MPMCHeader
	slots Slots
	marks []atomic.Uint64 // one a slot; nil: none
	circle
	mask uint64 // n-1, if that selects the slot of a position; else 0
	_    Line
	head atomic.Uint64 // Head when RoomAhead loaded it last
	_    Line
	tail atomic.Uint64 // Tail when MessageAhead loaded it last
	_    Line

	leases leases
}

// NewMPMC returns a ring over h and slots. There may be 1 to 1<<31 slots. A power of two saves a
// division for each item.
func NewMPMC(h *MPMCHeader, slots Slots) (*MPMC, error) {
	n := slots.Len()
	if h == nil || n < 1 || uint64(n) > 1<<31 {
		return nil, ErrShape
	}
	r := &MPMC{h: h, slots: slots, circle: newCircle(n), leases: leases{step: settleStep}}
	if r.power {
		r.mask = r.n - 1
	}
	return r, nil
}

// slot returns the word of a slot.
func (r *MPMC) slot(i uint64) *atomic.Uint64 { return r.slots.At(i) }

// tries bounds the loops: an index may be a lap behind, and every further try means that another
// caller has succeeded.
func (r *MPMC) tries() uint64 { return r.n + 1<<12 }

// Cap returns the number of slots.
func (r *MPMC) Cap() int { return int(r.n) }

// Index returns the slot of a position.
func (r *MPMC) Index(pos uint64) int {
	i, _ := r.at(pos)
	return int(i)
}

// Len returns the number of messages that are claimed and not taken. It is exact while no other
// call runs.
func (r *MPMC) Len() int {
	h := r.h.Head.Load()
	t := r.h.Tail.Load()
	if t <= h {
		return 0
	}
	return int(min(t-h, r.n))
}

// Claim claims the next position for a message. The caller writes the item, then calls Publish or
// Cancel. It returns ErrFull, ErrClosed, ErrBusy or ErrCorrupt.
func (r *MPMC) Claim(self uint32) (pos uint64, err error) {
	pos, _, err = r.ClaimN(self, 1)
	return pos, err
}

// ClaimN claims up to n successive positions, at least one: pos to pos+k-1.
func (r *MPMC) ClaimN(self uint32, n int) (pos uint64, k int, err error) {
	if access.Load("claim.closed", &r.h.Closed) != 0 {
		return 0, 0, ErrClosed
	}
	for range r.tries() {
		t := access.Load("claim.tail", &r.h.Tail)
		i, lap := r.at(t)
		w := word(access.Load("claim.look", r.slot(i)))
		switch d := w.ahead(lap); {
		case w == plain(free, lap):
			if !access.CAS("claim.slot", r.slot(i), uint64(w), uint64(named(claimed, lap, self))) {
				continue
			}
			k := r.run("claim.slot", t, n, free, claimed, self)
			if lap&cleanLaps >= cleanLaps-1 { // the run may reach the next lap
				r.cleanMarks(t, k)
			}
			advance("claim.advance", &r.h.Tail, t, t+uint64(k))
			return t, k, nil
		case w == plain(end, lap):
			return 0, 0, ErrClosed
		case d == 0 || d == 1: // the tail is behind
			advance("claim.help", &r.h.Tail, t, t+1)
		case d == -1 && w.state() != free && w.state() != end:
			return 0, 0, ErrFull
		case access.Load("claim.check", &r.h.Tail) == t:
			return 0, 0, ErrCorrupt
		}
	}
	return 0, 0, ErrBusy
}

// run takes the slots after pos, which the caller holds, while they are in state from. It returns
// how many slots the caller holds then, with pos. A position can be taken as soon as the one before
// it is: callers that find an index behind advance it.
func (r *MPMC) run(step string, pos uint64, n int, from, to uint64, self uint32) int {
	k := 1
	for ; k < n && uint64(k) < r.n; k++ {
		i, lap := r.at(pos + uint64(k))
		if !access.CAS(step, r.slot(i), uint64(plain(from, lap)), uint64(named(to, lap, self))) {
			break
		}
	}
	return k
}

// Publish makes a claimed and written position a message. A later load of the caller may pass its
// store: a caller that then checks for waiters needs PublishFence, or a fence on the waiters' side.
//
// While the holder lives no other caller changes the word. So a check and a store suffice.
func (r *MPMC) Publish(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if word(access.Load("publish.look", r.slot(i))) != named(claimed, lap, self) {
		return ErrNotHeld
	}
	access.Release("publish.slot", r.slot(i), uint64(plain(ready, lap)))
	return nil
}

// PublishFence is Publish in one order with all other atomic operations.
func (r *MPMC) PublishFence(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if !access.CAS("publish.slot", r.slot(i), uint64(named(claimed, lap, self)),
		uint64(plain(ready, lap))) {
		return ErrNotHeld
	}
	return nil
}

// PublishN publishes k positions from pos, the last one with a fence.
func (r *MPMC) PublishN(self uint32, pos uint64, k int) error {
	for ; k > 1; k-- {
		if err := r.Publish(self, pos); err != nil {
			return err
		}
		pos++
	}
	if k < 1 {
		return nil
	}
	return r.PublishFence(self, pos)
}

// Cancel gives up a claimed position. Consumers skip it.
func (r *MPMC) Cancel(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if !access.CAS("cancel.slot", r.slot(i), uint64(named(claimed, lap, self)),
		uint64(named(skipped, lap, self))) {
		return ErrNotHeld
	}
	return nil
}

// Take takes the oldest message. The caller reads the item, then calls ReleaseFence or Return.
// Errors: ErrEmpty; ErrHeld, when the oldest position is not published yet; ErrReturned, when there
// may be a message for Retake; ErrClosed, when the ring is closed, no message is left and no
// consumer holds one; ErrBusy; ErrCorrupt.
func (r *MPMC) Take(self uint32) (pos uint64, err error) {
	// The common case of TakeN, see Claim.
	h := access.Load("take.head", &r.h.Head)
	if h < r.tail.Load() && access.Load("take.suspects", &r.h.Suspects)&1 == 0 {
		i, lap := r.at(h)
		if access.CAS("take.slot", r.slot(i), uint64(plain(ready, lap)),
			uint64(named(taken, lap, self))) {
			access.CAS("take.advance", &r.h.Head, h, h+1)
			return h, nil
		}
	}
	pos, _, err = r.TakeN(self, 1)
	return pos, err
}

// TakeN takes up to n successive messages, at least one: pos to pos+k-1. If n is more than 1 the
// caller ends the leases by ReleaseN.
func (r *MPMC) TakeN(self uint32, n int) (pos uint64, k int, err error) {
	if access.Load("take.suspects", &r.h.Suspects)&1 != 0 {
		return 0, 0, ErrReturned
	}
	how := uint64(taken)
	if n > 1 {
		how = batch
	}
	for range r.tries() {
		h := access.Load("take.head", &r.h.Head)
		i, lap := r.at(h)
		w := word(access.Load("take.look", r.slot(i)))
		d := w.ahead(lap)
		switch {
		case w == plain(ready, lap):
			if !access.CAS("take.slot", r.slot(i), uint64(w), uint64(named(how, lap, self))) {
				continue
			}
			k := r.run("take.slot", h, n, ready, how, self)
			advance("take.advance", &r.h.Head, h, h+uint64(k))
			return h, k, nil
		case w == plain(free, lap):
			if access.Load("take.closed", &r.h.Closed) == 0 {
				return 0, 0, ErrEmpty
			}
			// Either this ends the stream, or a producer is faster.
			access.CAS("take.end", r.slot(i), uint64(w), uint64(plain(end, lap)))
		case w == plain(end, lap):
			return 0, 0, r.ended()
		case d == 0 && w.state() == claimed:
			return 0, 0, ErrHeld
		case d == 0 && w.state() == skipped:
			access.CAS("take.skip", r.slot(i), uint64(w), uint64(plain(free, lap+1)))
		case d == 0 && w.leased(), d == 1: // the head is behind
			advance("take.help", &r.h.Head, h, h+1)
		case d == -1 && w.leased(): // not yet released, so not yet claimed
			if access.Load("take.closed", &r.h.Closed) != 0 {
				return 0, 0, ErrHeld
			}
			return 0, 0, ErrEmpty
		case access.Load("take.check", &r.h.Head) == h:
			return 0, 0, ErrCorrupt
		}
	}
	return 0, 0, ErrBusy
}

// ReleaseFence ends a lease of Take, in one order with all other atomic operations: the message is
// consumed.
func (r *MPMC) ReleaseFence(self uint32, pos uint64) error {
	return r.release(self, pos, taken)
}

func (r *MPMC) release(self uint32, pos, how uint64) error {
	i, lap := r.at(pos)
	if !access.CAS("release.slot", r.slot(i), uint64(named(how, lap, self)),
		uint64(plain(free, lap+1))) {
		return ErrNotHeld
	}
	return nil
}

// ReleaseN ends k leases of TakeN from pos, the last one with a fence. No process ends them
// otherwise while the holder lives, so a check and a store suffice for the others.
func (r *MPMC) ReleaseN(self uint32, pos uint64, k int) error {
	for ; k > 1; k-- {
		i, lap := r.at(pos)
		if word(access.Load("release.look", r.slot(i))) != named(batch, lap, self) {
			return ErrNotHeld
		}
		access.Release("release.slot", r.slot(i), uint64(plain(free, lap+1)))
		pos++
	}
	if k < 1 {
		return nil
	}
	return r.release(self, pos, batch)
}

// suspect tells consumers to look for returned leases, and reports whether they were not told
// before. The count above the low bit makes an earlier Retake fail to clear the bit.
func (r *MPMC) suspect() (first bool) {
	for range r.tries() {
		g := access.Load("suspect.load", &r.h.Suspects)
		if access.CAS("suspect.set", &r.h.Suspects, g, (g+2)|1) {
			return g&1 == 0
		}
	}
	return false
}

// soon is how many positions behind the claim of a dead producer Repair looks for more of them.
const soon = 1024

// skipDead ends the claims of dead producers at the head. If there is one it looks at soon further
// positions, after each that it finds.
func (r *MPMC) skipDead(live *known) (skips int) {
	p := access.Load("repair.head", &r.h.Head)
	more := 1
	for end := p + r.n; p < end && more > 0; p++ {
		i, lap := r.at(p)
		w := word(access.Load("repair.look", r.slot(i)))
		switch d, s := w.ahead(lap), w.state(); {
		case d == 1, d == 0 && (w.leased() || s == skipped): // the head is behind
		case d == 0 && s == claimed && !live.is(w.id()):
			if access.CAS("repair.skip", r.slot(i), uint64(w), uint64(w.rename(skipped, w.id()))) {
				access.Add("repair.count", &r.h.Skipped, 1)
				skips++
			}
			more = soon
		case d == 0 && (s == claimed || s == ready):
			more--
		default:
			return skips
		}
	}
	return skips
}

// known asks alive once for successive equal ids.
type known struct {
	alive func(uint32) bool
	id    uint32
	last  bool
}

func (k *known) is(id uint32) bool {
	if id == 0 {
		return false
	}
	if id != k.id {
		k.id, k.last = id, k.alive(id)
	}
	return k.last
}

// Close makes new claims fail. What is claimed may still be published, and consumers get it before
// they get ErrClosed.
func (r *MPMC) Close() { access.CAS("close", &r.h.Closed, 0, Ended) }

// Closed reports whether no more claims are possible.
func (r *MPMC) Closed() bool { return r.h.Closed.Load() != 0 }

// Stuck returns the producer whose claim at the head holds consumers back, and the consumer whose
// lease at the tail holds producers back. 0 means none.
func (r *MPMC) Stuck() (producer, consumer uint32) {
	i, lap := r.at(r.h.Head.Load())
	if w := word(r.slot(i).Load()); w.state() == claimed && w.ahead(lap) == 0 {
		producer = w.id()
	}
	i, lap = r.at(r.h.Tail.Load())
	if w := word(r.slot(i).Load()); w.leased() && w.ahead(lap) == -1 {
		consumer = w.id()
	}
	return producer, consumer
}

// MPMCStats counts slots by state.
type MPMCStats struct {
	Sent        uint64 // positions that were claimed since creation
	Ready       int    // published and not taken
	Claimed     int    // being written
	Leased      int    // being read
	ToRedeliver int    // returned and not taken again
	Skipped     uint64 // claims whose producer died
	Returned    uint64 // leases whose consumer died
	Ended       bool   // by Close
}

// Stats loads the slots of messages that are sent and not released, and changes nothing.
func (r *MPMC) Stats() MPMCStats {
	s := MPMCStats{
		Sent: r.h.Tail.Load(), Ended: HasEnded(&r.h.Closed),
		Skipped: r.h.Skipped.Load(), Returned: r.h.Returned.Load(),
	}
	r.inUse(func(_ uint64, w word) {
		switch w.state() {
		case ready:
			s.Ready++
		case claimed:
			s.Claimed++
		case taken, again, batch:
			if w.id() == 0 {
				s.ToRedeliver++
			} else {
				s.Leased++
			}
		}
	})
	return s
}

// Oldest returns the least of the stamps, one a slot, of the messages that wait to be taken. A
// message without a stamp, 0, does not count. It returns 0 if none waits. Messages have stamps in
// any order: one that waits for redelivery, or whose producer was slow, may be older than those
// before it.
func (r *MPMC) Oldest(stamps []atomic.Uint64) (least int64) {
	r.inUse(func(i uint64, w word) {
		if w.state() != ready && (!w.leased() || w.id() != 0) {
			return
		}
		stamp := int64(stamps[i].Load())
		if stamp != 0 && (least == 0 || stamp < least) && word(r.slot(i).Load()) == w {
			least = stamp
		}
	})
	return least
}

// inUse calls f with slots and words of the positions in use, from the first that may be leased on.
func (r *MPMC) inUse(f func(i uint64, w word)) {
	settled, head, tail := r.h.Settled.Load(), r.h.Head.Load(), r.h.Tail.Load()
	p := max(min(settled, head), before(tail, r.n))
	for last := p + r.n; p < last; p++ {
		i, lap := r.at(p)
		w := word(r.slot(i).Load())
		if s := w.state(); w.ahead(lap) == 0 && s != free && s != end {
			f(i, w)
		} else if p >= tail {
			return
		}
	}
}
