package ring

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// Leases
//
// A consumer has a message on a lease from Take to Release or Return. The word of the slot names
// the holder; one compare-and-swap of it ends the lease, whether the holder does that, Repair after
// the holder's death, or Mend and End while the holder lives. So a holder that has lost its lease
// finds that out: Release and Return give ErrNotHeld.
//
// A message that was returned is taken by Retake, whose word has the state again: the word of the
// first lease never comes back. Two leases of the state again, of one id at one position, have the
// same word. The caller tells them apart: of one attachment Retake, ReleaseAgain and ReturnAgain
// run one at a time, and the caller knows which lease of a position is its last.
//
// Leases of the state batch end by plain stores, so no other process ends them while the holder
// lives. They are for copying.

// A Mark says of a slot how often its message was delivered, and a time. While the message is
// leased it is the time since when; while it is returned, the time from when on it can be taken. A
// mark of another lap says nothing: the message is new. Taking a new message writes no mark.
//
//	bits 46 to 63  low bits of the lap
//	bits 38 to 45  deliveries, the one under way included; 255: or more
//	bits  0 to 37  time in milliseconds since 1970, low bits; 0: none
type Mark uint64

const (
	markTimeBits = 38
	markLapShift = 46
	markTimeMask = 1<<markTimeBits - 1
	markMost     = 1<<(markLapShift-markTimeBits) - 1
	markLapMask  = 1<<(64-markLapShift) - 1
)

func markOf(lap uint64, deliveries int, ms int64) Mark {
	n := uint64(min(deliveries, markMost))
	return Mark(lap<<markLapShift | n<<markTimeBits | uint64(ms)&markTimeMask)
}

// Known reports whether the mark is about the message of that lap.
func (m Mark) Known(lap uint64) bool {
	return uint64(m)>>markLapShift == lap&markLapMask && uint64(m)>>markTimeBits&markMost != 0
}

// Deliveries returns how often the message of that lap was delivered, if it was.
func (m Mark) Deliveries(lap uint64) int {
	if !m.Known(lap) {
		return 1
	}
	return int(uint64(m) >> markTimeBits & markMost)
}

// After returns the time less now, in milliseconds, and 0 if the mark has no time. It is right if
// they are less than four years apart.
func (m Mark) After(now int64) int64 {
	if m&markTimeMask == 0 {
		return 0
	}
	const up = 64 - markTimeBits
	return int64(uint64(int64(m)-now)<<up) >> up
}

// SetMarks gives the ring its marks, one a slot. Without them a ring counts no deliveries and knows
// no times.
func (r *MPMC) SetMarks(marks []atomic.Uint64) error {
	if len(marks) != r.slots.Len() {
		return ErrShape
	}
	r.marks = marks
	return nil
}

func (r *MPMC) mark(i uint64) Mark {
	if r.marks == nil {
		return 0
	}
	return Mark(access.Load("mark.look", &r.marks[i]))
}

// remark changes a mark that is m, as a caller that may not hold the slot.
func (r *MPMC) remark(i uint64, m, next Mark) bool {
	return r.marks == nil || m == next ||
		access.CAS("mark.change", &r.marks[i], uint64(m), uint64(next))
}

// Stamp says since when the caller has its lease of Take.
func (r *MPMC) Stamp(self uint32, pos uint64, now int64) {
	i, lap := r.at(pos)
	// Where the lease was ended meanwhile the mark is that of another one.
	m := r.mark(i)
	if !m.Known(lap) && word(access.Load("stamp.look", r.slot(i))) == named(taken, lap, self) {
		r.remark(i, m, markOf(lap, 1, now))
	}
}

// due reports whether the returned message of a slot can be taken at now. lap is that of the word,
// at least its low bits. The message that producers have come round to is always due.
func (r *MPMC) due(i, lap, tail uint64, now int64) bool {
	m := r.mark(i)
	if !m.Known(lap) || m.After(now) <= 0 {
		return true
	}
	ti, tlap := r.at(tail)
	return i == ti && (tlap-lap)&shortMask == 1
}

// Retake takes the oldest message that was returned and is due at now, in milliseconds. It returns
// how often the message was delivered, this time included. The caller ends the lease by
// ReleaseAgain or ReturnAgain.
func (r *MPMC) Retake(self uint32, now int64) (pos uint64, deliveries int, ok bool) {
	// If the search finds nothing, and no lease was returned since, it clears the low bit.
	g := access.Load("take.suspects", &r.h.Suspects)
	if g&1 == 0 {
		return 0, 0, false
	}
	r.leases.mu.Lock()
	defer r.leases.mu.Unlock()
	out := r.look(false)
	tail := access.Load("retake.tail", &r.h.Tail)
	for _, p := range out {
		i, lap := r.at(p)
		w := r.lease(p)
		if w == 0 || w.id() != 0 || !r.due(i, lap, tail, now) {
			continue
		}
		if access.CAS("retake.slot", r.slot(i), uint64(w), uint64(named(again, lap, self))) {
			return p, r.deliver(i, lap, now), true
		}
	}
	access.CAS("retake.clear", &r.h.Suspects, g, g&^1)
	return 0, 0, false
}

// deliver counts a delivery of the message that the caller has taken again. If the caller dies
// before, it has not seen the message.
func (r *MPMC) deliver(i, lap uint64, now int64) (deliveries int) {
	deliveries = min(r.mark(i).Deliveries(lap)+1, markMost)
	if r.marks != nil {
		access.Store("mark.deliver", &r.marks[i], uint64(markOf(lap, deliveries, now)))
	}
	return deliveries
}

// ReleaseAgain ends a lease of Retake: the message is consumed.
func (r *MPMC) ReleaseAgain(self uint32, pos uint64) error { return r.release(self, pos, again) }

// Return returns a message that Take has leased. With due 0 the next consumer gets it. Else it can
// be taken from that time on, in milliseconds, or when producers have come round to it; Mend finds
// that.
func (r *MPMC) Return(self uint32, pos uint64, due int64) error {
	return r.giveBack(self, pos, taken, due)
}

// ReturnAgain is Return of a message that Retake has leased.
func (r *MPMC) ReturnAgain(self uint32, pos uint64, due int64) error {
	return r.giveBack(self, pos, again, due)
}

func (r *MPMC) giveBack(self uint32, pos, how uint64, due int64) error {
	i, lap := r.at(pos)
	mine := named(how, lap, self)
	for range 16 { // another process stamps a mark once
		m := r.mark(i)
		if word(access.Load("return.look", r.slot(i))) != mine {
			return ErrNotHeld
		}
		if due == 0 && !m.Known(lap) || r.remark(i, m, markOf(lap, m.Deliveries(lap), due)) {
			break
		}
	}
	if !access.CAS("return.slot", r.slot(i), uint64(mine), uint64(named(taken, lap, 0))) {
		return ErrNotHeld
	}
	if due == 0 {
		r.suspect()
	}
	return nil
}

// A Care says how Mend treats leases. Times are in milliseconds.
type Care struct {
	Alive func(id uint32) bool
	Now   int64 // since 1970
	Delay int64 // from the death of a consumer to the redelivery of its message
	Limit int64 // how long a living consumer may have a message; 0: without limit
}

// Repair ends claims of dead producers, returns the messages that dead consumers had leased, and
// returns how many of each. Its cost does not depend on the number of slots; see leases. Of the
// claims it ends those at the head, which hold consumers back, and those soon behind them. Others
// do no harm until the head comes to them.
func (r *MPMC) Repair(alive func(id uint32) bool) (skips, returns int) {
	skips, returns, _ = r.Mend(Care{Alive: alive})
	return skips, returns
}

// Mend is Repair that knows times: it also finds returned messages that have come due, returns
// those of leases past the limit, and stamps leases without a time. back reports that there is a
// message for Retake, and that no caller knew.
func (r *MPMC) Mend(c Care) (skips, returns int, back bool) {
	live := known{alive: c.Alive}
	returns, back = r.returnDead(&live, c)
	return r.skipDead(&live), returns, back
}

// late reports whether a living consumer has had a message for too long. It stamps a lease without
// a time.
func (r *MPMC) late(i uint64, w word, c Care) bool {
	m := r.mark(i)
	if !m.Known(w.lap()) {
		r.remark(i, m, markOf(w.lap(), 1, c.Now))
		return false
	}
	return c.Limit > 0 && w.state() != batch && m.After(c.Now) < -c.Limit
}

// endLease returns the message of a lease that is not the caller's. The mark is right before the
// message can be taken. It is changed only if the lease is still that of w: the next delivery has
// another mark.
func (r *MPMC) endLease(i uint64, w word, due int64) bool {
	m := r.mark(i)
	if word(access.Load("lease.look", r.slot(i))) != w {
		return false
	}
	r.remark(i, m, markOf(w.lap(), m.Deliveries(w.lap()), due))
	if !access.CAS("lease.end", r.slot(i), uint64(w), uint64(w.rename(taken, 0))) {
		return false
	}
	access.Add("repair.count", &r.h.Returned, 1)
	return true
}

// End ends the leases of some consumers, which live, except those of a batch, and returns how many.
// The messages can be taken again at once, and the consumers find their leases lost.
func (r *MPMC) End(theirs func(id uint32) bool) (ended int) {
	r.leases.mu.Lock()
	defer r.leases.mu.Unlock()
	for _, p := range r.look(true) {
		i, _ := r.at(p)
		w := r.lease(p)
		if w != 0 && w.state() != batch && w.id() != 0 && theirs(w.id()) && r.endLease(i, w, 0) {
			ended++
		}
	}
	if ended > 0 {
		r.suspect()
	}
	return ended
}
