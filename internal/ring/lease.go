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

// A Mark says of a slot how often its message was delivered, and a time. It is one of two kinds:
//
//   - since: the message is leased, since that time. The delivery under way is counted.
//   - due: the message is returned, or its new holder has not changed the mark yet. It can be taken
//     from that time on, and the deliveries that are counted have ended.
//
// A mark of another lap says nothing: the message is new. Taking a new message writes no mark. A
// mark has the low bits of a lap only, so an old one would count again after 2^18 laps. Producers
// clear old marks before: see cleanMarks.
//
//	bits 46 to 63  low bits of the lap
//	bits 38 to 45  deliveries; 255: or more
//	bit  37        1: due
//	bits  0 to 36  time in milliseconds since 1970, low bits; 0: none
type Mark uint64

const (
	markTimeBits = 37
	markDueBit   = 1 << markTimeBits
	markCount    = 38 // shift
	markLapShift = 46
	markTimeMask = 1<<markTimeBits - 1
	markMost     = 1<<(markLapShift-markCount) - 1
	markLapMask  = 1<<(64-markLapShift) - 1
)

// MaxDelay is the longest time between now and that of a mark, in milliseconds: two years.
const MaxDelay = 2 * 365 * 24 * 60 * 60 * 1000

func markSince(lap uint64, deliveries int, ms int64) Mark {
	n := uint64(min(deliveries, markMost))
	return Mark(lap<<markLapShift | n<<markCount | uint64(ms)&markTimeMask)
}

func markDue(lap uint64, deliveries int, ms int64) Mark {
	return markSince(lap, deliveries, ms) | markDueBit
}

// Known reports whether the mark is about the message of that lap.
func (m Mark) Known(lap uint64) bool {
	return uint64(m)>>markLapShift == lap&markLapMask && uint64(m)>>markCount&markMost != 0
}

// Due reports whether the mark is of the kind due.
func (m Mark) Due() bool { return m&markDueBit != 0 }

// Deliveries returns how often the message of that lap was delivered, if it was.
func (m Mark) Deliveries(lap uint64) int {
	if !m.Known(lap) {
		return 1
	}
	return int(uint64(m) >> markCount & markMost)
}

// After returns the time less now, in milliseconds, and 0 if the mark has no time. It is right if
// they are at most MaxDelay apart.
func (m Mark) After(now int64) int64 {
	if m&markTimeMask == 0 {
		return 0
	}
	const up = 64 - markTimeBits
	return int64((uint64(m)-uint64(now))<<up) >> up
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

// cleanLaps says in which laps producers clear marks: where these bits of the lap are set. There
// are four such laps before a mark counts again; a producer that is killed before it has cleared
// the mark leaves that to the next one.
const cleanLaps = 1<<(64-markLapShift-2) - 1

// cleanMarks clears the marks of k positions from pos on, which the caller has claimed: no message
// is there, so no mark is about one. A process that was stopped before it changed the mark of an
// earlier lap may still do so afterwards; that lap is not the one that counts as this one.
func (r *MPMC) cleanMarks(pos uint64, k int) {
	if r.marks == nil {
		return
	}
	for p := pos; p < pos+uint64(k); p++ {
		i, _ := r.at(p)
		if m := r.mark(i); m != 0 {
			r.remark(i, m, 0)
		}
	}
}

// Stamp says since when the caller has its lease of Take or Retake: at the latest since now.
func (r *MPMC) Stamp(self uint32, pos uint64, now int64) {
	i, lap := r.at(pos)
	m := r.mark(i)
	// Where the lease was ended meanwhile the mark is that of another one.
	w := word(access.Load("stamp.look", r.slot(i)))
	if w == named(taken, lap, self) || w == named(again, lap, self) {
		r.stamp(i, w, m, now)
	}
}

// stamp writes since when there is a lease, if the mark has no time. m was loaded before the word
// w. It returns the mark as the caller knows it then.
func (r *MPMC) stamp(i uint64, w word, m Mark, now int64) Mark {
	switch {
	case r.marks == nil:
		return m
	case m.Known(w.lap()):
		if m.Due() || m&markTimeMask != 0 {
			return m
		}
	case w.state() == again: // its holder is about to count the delivery
		return m
	}
	if next := markSince(w.lap(), m.Deliveries(w.lap()), now); r.remark(i, m, next) {
		return next
	}
	return m
}

// FullDelay is the longest delay of a message that producers have come round to, in milliseconds. A
// longer one ends at once. One that is as long is kept: a message that fails each time would keep
// its consumer busy otherwise.
const FullDelay = 10

// due reports whether the returned message of a slot can be taken at now. lap is that of the word,
// at least its low bits.
func (r *MPMC) due(i, lap, tail uint64, now int64) bool {
	m := r.mark(i)
	if !m.Known(lap) || !m.Due() {
		return true
	}
	after := m.After(now)
	return after <= 0 || after > FullDelay && r.round(i, lap, tail)
}

// round reports whether the tail has come round to slot i, whose message is of that lap.
func (r *MPMC) round(i, lap, tail uint64) bool {
	ti, tlap := r.at(tail)
	return i == ti && (tlap-lap)&shortMask == 1
}

// InTheWay reports whether producers have come round to pos, which the caller has leased. A caller
// that returns it then should not do so with a delay of more than FullDelay.
func (r *MPMC) InTheWay(pos uint64) bool {
	i, lap := r.at(pos)
	return r.round(i, lap, access.Load("way.tail", &r.h.Tail))
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
	for k := range out {
		p := out[k].pos
		i, lap := r.at(p)
		w := r.lease(p)
		if w == 0 || w.id() != 0 || !r.due(i, lap, tail, now) {
			continue
		}
		if access.CAS("retake.slot", r.slot(i), uint64(w), uint64(named(again, lap, self))) {
			return p, r.deliver(self, i, lap), true
		}
	}
	access.CAS("retake.clear", &r.h.Suspects, g, g&^1)
	return 0, 0, false
}

// markTries bounds the changes of a mark by its holder. Other processes change the mark of a leased
// message at most twice: one writes the time, and one ends the lease.
const markTries = 16

// deliver counts a delivery of the message that the caller has taken again. If the caller dies
// before, it has not seen the message.
//
// The mark has no time then: any that was read before the lease began is too early, and another
// process would take the lease for an old one. Stamp or Mend write one.
func (r *MPMC) deliver(self uint32, i, lap uint64) (deliveries int) {
	for range markTries {
		m := r.mark(i)
		deliveries = min(m.Deliveries(lap)+1, markMost)
		if word(access.Load("deliver.look", r.slot(i))) != named(again, lap, self) ||
			r.remark(i, m, markSince(lap, deliveries, 0)) {
			break
		}
	}
	return deliveries
}

// ReleaseAgain ends a lease of Retake: the message is consumed.
func (r *MPMC) ReleaseAgain(self uint32, pos uint64) error { return r.release(self, pos, again) }

// Return returns a message that Take has leased. With due 0 the next consumer gets it. Else it can
// be taken from that time on, in milliseconds, or when producers have come round to it; see due.
// Mend finds that.
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
	for range markTries {
		m := r.mark(i)
		if word(access.Load("return.look", r.slot(i))) != mine {
			return ErrNotHeld
		}
		if due == 0 && !m.Known(lap) || r.remark(i, m, markDue(lap, m.Deliveries(lap), due)) {
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
	Now   int64        // since 1970
	Clock func() int64 // reads the time anew; nil: it is Now
	Delay int64        // from the death of a consumer to the redelivery of its message
	Limit int64        // how long a living consumer may have a message; 0: without limit
}

func (c *Care) clock() int64 {
	if c.Clock == nil {
		return c.Now
	}
	return c.Clock()
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

// trust is for how long a handle must have seen a lease before it believes the time of the mark, in
// milliseconds.
const trust = 1000

// late reports whether a living consumer has had a message for too long. w is the word of its slot.
// It stamps a lease without a time.
//
// Word and mark change one after the other, by processes that can be slow. So a mark may have been
// stamped for the lease before, by a process that was stopped in between. But a lease whose word
// and mark have stayed the same between two looks of this handle is one lease: each has another
// word, or another count in its mark. So such a lease has lasted for that time at least.
func (r *MPMC) late(l *lent, i uint64, w word, c *Care) bool {
	m := r.mark(i)
	now := c.clock() // after the word was loaded: the lease is not younger
	m = r.stamp(i, w, m, now)
	if l.word != w || l.mark != m {
		l.word, l.mark, l.seen = w, m, now
	}
	if c.Limit <= 0 || w.state() == batch {
		return false
	}
	held := now - l.seen
	if m.Known(w.lap()) && !m.Due() && held >= min(c.Limit, trust) {
		held = max(held, -m.After(now))
	}
	return held > c.Limit
}

// endLease returns the message of a lease that is not the caller's. The mark is right before the
// message can be taken. It is changed only if the lease is still that of w: the next delivery has
// another mark.
func (r *MPMC) endLease(i uint64, w word, due int64) bool {
	m := r.mark(i)
	if word(access.Load("lease.look", r.slot(i))) != w {
		return false
	}
	lap := w.lap()
	n := m.Deliveries(lap)
	if w.state() == again && (m.Due() || !m.Known(lap)) {
		n++ // its holder has not counted it, and does not any more: the mark is another one
	}
	r.remark(i, m, markDue(lap, n, due))
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
	for _, l := range r.look(true) {
		i, _ := r.at(l.pos)
		w := r.lease(l.pos)
		if w != 0 && w.state() != batch && w.id() != 0 && theirs(w.id()) && r.endLease(i, w, 0) {
			ended++
		}
	}
	if ended > 0 {
		r.suspect()
	}
	return ended
}
