package ring

import "sync/atomic"

// MPMCHeader is the shared part of an MPMC besides its slots. Zero is an
// empty ring. The waiting words are the caller's; MPMC does not touch them.
type MPMCHeader struct {
	Tail atomic.Uint64 // next position to claim; may be behind
	_    [120]byte
	Head atomic.Uint64 // next position to take; may be behind
	_    [120]byte

	// Seldom written.
	Closed   atomic.Uint64 // not 0: no more claims
	Suspects atomic.Uint64 // low bit: some lease may have been given back
	Skipped  atomic.Uint64 // claims whose producer died
	Returned atomic.Uint64 // leases whose consumer died
	_        [96]byte

	SendWait, SendArmed atomic.Uint32 // room
	_                   [120]byte
	RecvWait, RecvArmed atomic.Uint32 // messages
	_                   [120]byte
}

// MPMC is a bounded first-in first-out queue of slots for any number of
// producers and consumers in any processes. A producer claims a position,
// writes the item at its Index, and publishes it; a consumer takes a position,
// reads the item, and releases it. Messages are taken in the order of claims.
//
//	free(lap) -Claim-> claimed(lap, id) -Publish-> ready(lap)
//	ready(lap) -Take-> taken(lap, id) -Release-> free(lap+1)
//	claimed(lap, dead) -Repair-> skipped(lap) -Take-> free(lap+1)
//	taken(lap, dead) -Repair-> taken(lap, 0) -Take-> taken(lap, id)
//	free(lap) -Take, closed-> end(lap)
//
// Kills: a claim is the producer's with one compare-and-swap, so is a lease
// the consumer's; the index is moved on by the next one if he is killed before
// he does. A slow claim in front holds all consumers back, a slow lease all
// producers, one lap later. All methods may be called by anybody at any time.
type MPMC struct {
	h     *MPMCHeader
	slots []atomic.Uint64
	circle
	_    Line
	head atomic.Uint64 // of h, as RoomAhead saw it last
	_    Line
	tail atomic.Uint64 // of h, as MessageAhead saw it last
	_    Line
}

// NewMPMC lays a ring over h and slots. Any number of slots from 1 will do; a
// power of two saves a division an item.
func NewMPMC(h *MPMCHeader, slots []atomic.Uint64) (*MPMC, error) {
	if h == nil || len(slots) < 1 || uint64(len(slots)) > 1<<31 {
		return nil, ErrShape
	}
	return &MPMC{h: h, slots: slots, circle: newCircle(len(slots))}, nil
}

// tries bounds the loops: an index may be a lap behind, and each further try
// means that somebody else got on.
func (r *MPMC) tries() uint64 { return r.n + 1<<12 }

// Cap is the number of slots.
func (r *MPMC) Cap() int { return int(r.n) }

// Index is the slot of a position.
func (r *MPMC) Index(pos uint64) int {
	i, _ := r.at(pos)
	return int(i)
}

// Len is the number of messages claimed and not yet taken. It is exact when
// nobody is at it.
func (r *MPMC) Len() int {
	h := r.h.Head.Load()
	t := r.h.Tail.Load()
	if t <= h {
		return 0
	}
	return int(min(t-h, r.n))
}

// Claim takes the next position for a message. The caller writes the item,
// then calls Publish, or Cancel. ErrFull, ErrClosed, ErrBusy, ErrCorrupt.
func (r *MPMC) Claim(self uint32) (pos uint64, err error) {
	// ClaimN where nothing is in the way, without a look at the slot before:
	// that would fetch its line twice. It is worth a try where the slot is
	// known to be free.
	t := load("claim.tail", &r.h.Tail)
	if t-r.head.Load() < r.n && load("claim.closed", &r.h.Closed) == 0 {
		i, lap := r.at(t)
		if cas("claim.slot", &r.slots[i], uint64(plain(free, lap)), uint64(named(claimed, lap, self))) {
			// If it fails, somebody else has moved the tail on.
			cas("claim.advance", &r.h.Tail, t, t+1)
			return t, nil
		}
	}
	pos, _, err = r.ClaimN(self, 1)
	return pos, err
}

// ClaimN claims up to n positions in a row, pos to pos+k-1, at least one.
func (r *MPMC) ClaimN(self uint32, n int) (pos uint64, k int, err error) {
	if load("claim.closed", &r.h.Closed) != 0 {
		return 0, 0, ErrClosed
	}
	for range r.tries() {
		t := load("claim.tail", &r.h.Tail)
		i, lap := r.at(t)
		w := word(load("claim.look", &r.slots[i]))
		switch d := w.ahead(lap); {
		case w == plain(free, lap):
			if !cas("claim.slot", &r.slots[i], uint64(w), uint64(named(claimed, lap, self))) {
				continue
			}
			k := r.run("claim.slot", t, n, free, claimed, self)
			advance("claim.advance", &r.h.Tail, t, t+uint64(k))
			return t, k, nil
		case w == plain(end, lap):
			return 0, 0, ErrClosed
		case (d == 0 || d == 1) && w.state() <= skipped: // the tail is behind
			advance("claim.help", &r.h.Tail, t, t+1)
		case d == -1 && w.state() <= skipped && w.state() != free && w.state() != end:
			return 0, 0, ErrFull
		case load("claim.check", &r.h.Tail) == t:
			return 0, 0, ErrCorrupt
		}
	}
	return 0, 0, ErrBusy
}

// run takes the slots after pos, which is the caller's, as long as they are in
// state from, and tells how many it has, pos included. The next position may
// be taken as soon as the one before is: indices are moved on by others.
func (r *MPMC) run(step string, pos uint64, n int, from, to uint64, self uint32) int {
	k := 1
	for ; k < n && uint64(k) < r.n; k++ {
		i, lap := r.at(pos + uint64(k))
		if !cas(step, &r.slots[i], uint64(plain(from, lap)), uint64(named(to, lap, self))) {
			break
		}
	}
	return k
}

// Publish hands a claimed and written position to the consumers. A later load
// of the caller may pass it: who then looks whether somebody waits needs a
// fence on the other side, or PublishFence.
//
// Nobody but its living holder changes the word, so a check and a store do.
func (r *MPMC) Publish(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if word(load("publish.look", &r.slots[i])) != named(claimed, lap, self) {
		return ErrNotHeld
	}
	release("publish.slot", &r.slots[i], uint64(plain(ready, lap)))
	return nil
}

// PublishFence is Publish in one order with all other atomic operations.
func (r *MPMC) PublishFence(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if !cas("publish.slot", &r.slots[i], uint64(named(claimed, lap, self)), uint64(plain(ready, lap))) {
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

// Cancel gives a claimed position up; consumers pass over it.
func (r *MPMC) Cancel(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if !cas("cancel.slot", &r.slots[i], uint64(named(claimed, lap, self)), uint64(named(skipped, lap, self))) {
		return ErrNotHeld
	}
	return nil
}

// Take takes the oldest message. The caller reads the item and calls Release,
// or GiveBack. again: it was in somebody's hands before, who died or gave it
// back. ErrEmpty; ErrHeld: the oldest is not yet published; ErrClosed: closed
// and nothing left, also in nobody else's hands; ErrBusy, ErrCorrupt.
func (r *MPMC) Take(self uint32) (pos uint64, again bool, err error) {
	// TakeN where nothing is in the way; see Claim.
	h := load("take.head", &r.h.Head)
	if h < r.tail.Load() && load("take.suspects", &r.h.Suspects)&1 == 0 {
		i, lap := r.at(h)
		if cas("take.slot", &r.slots[i], uint64(plain(ready, lap)), uint64(named(taken, lap, self))) {
			cas("take.advance", &r.h.Head, h, h+1)
			return h, false, nil
		}
	}
	pos, _, again, err = r.TakeN(self, 1)
	return pos, again, err
}

// TakeN takes up to n messages in a row, pos to pos+k-1, at least one.
func (r *MPMC) TakeN(self uint32, n int) (pos uint64, k int, again bool, err error) {
	if g := load("take.suspects", &r.h.Suspects); g&1 != 0 {
		if pos, ok := r.retake(self, g); ok {
			return pos, 1, true, nil
		}
	}
	for range r.tries() {
		h := load("take.head", &r.h.Head)
		i, lap := r.at(h)
		w := word(load("take.look", &r.slots[i]))
		d := w.ahead(lap)
		switch {
		case w == plain(ready, lap):
			if !cas("take.slot", &r.slots[i], uint64(w), uint64(named(taken, lap, self))) {
				continue
			}
			k := r.run("take.slot", h, n, ready, taken, self)
			advance("take.advance", &r.h.Head, h, h+uint64(k))
			return h, k, false, nil
		case w == plain(free, lap):
			if load("take.closed", &r.h.Closed) == 0 {
				return 0, 0, false, ErrEmpty
			}
			// Either this ends the stream or a producer was faster.
			cas("take.end", &r.slots[i], uint64(w), uint64(plain(end, lap)))
		case w == plain(end, lap):
			return 0, 0, false, r.ended(self)
		case d == 0 && w.state() == claimed:
			return 0, 0, false, ErrHeld
		case d == 0 && w.state() == skipped:
			cas("take.skip", &r.slots[i], uint64(w), uint64(plain(free, lap+1)))
		case d == 0 && w.state() == taken, d == 1: // the head is behind
			advance("take.help", &r.h.Head, h, h+1)
		case d == -1 && w.state() == taken: // not yet released, so not yet claimed
			if load("take.closed", &r.h.Closed) != 0 {
				return 0, 0, false, ErrHeld
			}
			return 0, 0, false, ErrEmpty
		case load("take.check", &r.h.Head) == h:
			return 0, 0, false, ErrCorrupt
		}
	}
	return 0, 0, false, ErrBusy
}

// ended answers at the end of the stream: somebody else's lease may yet come
// back.
func (r *MPMC) ended(self uint32) error {
	for i := range r.slots {
		w := word(load("end.look", &r.slots[i]))
		if w.state() == taken && w.id() != self {
			return ErrHeld
		}
	}
	return ErrClosed
}

// retake takes the oldest lease that was given back. g is the value of
// Suspects before the search: if nothing is found, and nobody has given back
// since, the low bit is cleared.
func (r *MPMC) retake(self uint32, g uint64) (pos uint64, ok bool) {
	// The head may be behind the leases of a killed consumer.
	h := load("retake.head", &r.h.Head)
	for range r.n {
		i, lap := r.at(h)
		w := word(load("retake.ahead", &r.slots[i]))
		if w.state() != taken || w.ahead(lap) != 0 {
			break
		}
		advance("retake.help", &r.h.Head, h, h+1)
		h++
	}
	for p := before(h, r.n); p < h; p++ {
		i, lap := r.at(p)
		w := word(load("retake.look", &r.slots[i]))
		if w.state() != taken || w.id() != 0 || w.ahead(lap) != 0 {
			continue
		}
		if cas("retake.slot", &r.slots[i], uint64(w), uint64(named(taken, lap, self))) {
			return p, true
		}
	}
	cas("retake.clear", &r.h.Suspects, g, g&^1)
	return 0, false
}

// Release ends a lease: the message is consumed. For who waits, see Publish.
func (r *MPMC) Release(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if word(load("release.look", &r.slots[i])) != named(taken, lap, self) {
		return ErrNotHeld
	}
	release("release.slot", &r.slots[i], uint64(plain(free, lap+1)))
	return nil
}

// ReleaseFence is Release in one order with all other atomic operations.
func (r *MPMC) ReleaseFence(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if !cas("release.slot", &r.slots[i], uint64(named(taken, lap, self)), uint64(plain(free, lap+1))) {
		return ErrNotHeld
	}
	return nil
}

// ReleaseN ends k leases from pos, the last one with a fence.
func (r *MPMC) ReleaseN(self uint32, pos uint64, k int) error {
	for ; k > 1; k-- {
		if err := r.Release(self, pos); err != nil {
			return err
		}
		pos++
	}
	if k < 1 {
		return nil
	}
	return r.ReleaseFence(self, pos)
}

// GiveBack ends a lease without consuming: the next Take gets the message.
func (r *MPMC) GiveBack(self uint32, pos uint64) error {
	i, lap := r.at(pos)
	if !cas("giveback.slot", &r.slots[i], uint64(named(taken, lap, self)), uint64(named(taken, lap, 0))) {
		return ErrNotHeld
	}
	r.suspect()
	return nil
}

// suspect tells consumers to look for leases that were given back. The count
// above the low bit makes a clear fail that began before.
func (r *MPMC) suspect() {
	for range r.tries() {
		g := load("suspect.load", &r.h.Suspects)
		if cas("suspect.set", &r.h.Suspects, g, (g+2)|1) {
			return
		}
	}
}

// Repair ends the claims and gives back the leases of the dead, and tells how
// many of each. It looks at every slot.
func (r *MPMC) Repair(alive func(id uint32) bool) (skips, returns int) {
	live := known{alive: alive}
	back := false
	for i := range r.slots {
		w := word(load("repair.look", &r.slots[i]))
		switch w.state() {
		case claimed:
			if !live.is(w.id()) && cas("repair.skip", &r.slots[i], uint64(w), uint64(w.rename(skipped, w.id()))) {
				add("repair.count", &r.h.Skipped, 1)
				skips++
			}
		case taken:
			if w.id() == 0 {
				back = true // perhaps by one who died before he told
			} else if !live.is(w.id()) && cas("repair.return", &r.slots[i], uint64(w), uint64(w.rename(taken, 0))) {
				back = true
				add("repair.count", &r.h.Returned, 1)
				returns++
			}
		}
	}
	if back {
		r.suspect()
	}
	return skips, returns
}

// known asks once for ids that follow each other.
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

// Close lets no new claims in. What is claimed may still be published, and
// consumers get it before they get ErrClosed.
func (r *MPMC) Close() { store("close", &r.h.Closed, 1) }

// Closed tells whether Close was called.
func (r *MPMC) Closed() bool { return r.h.Closed.Load() != 0 }

// Stuck names who holds up consumers (the claim in front) and producers (the
// lease that the tail has come round to); 0: nobody.
func (r *MPMC) Stuck() (producer, consumer uint32) {
	i, lap := r.at(r.h.Head.Load())
	if w := word(r.slots[i].Load()); w.state() == claimed && w.ahead(lap) == 0 {
		producer = w.id()
	}
	i, lap = r.at(r.h.Tail.Load())
	if w := word(r.slots[i].Load()); w.state() == taken && w.ahead(lap) == -1 {
		consumer = w.id()
	}
	return producer, consumer
}

// MPMCStats counts slots by state; it disturbs nobody.
type MPMCStats struct {
	Sent     uint64 // positions claimed since creation
	Ready    int    // published and not taken
	Claimed  int    // being written
	Leased   int    // being read
	Given    int    // given back, not taken again yet
	Skipped  uint64 // claims whose producer died
	Returned uint64 // leases whose consumer died
	Closed   bool
}

// Stats looks at every slot.
func (r *MPMC) Stats() MPMCStats {
	s := MPMCStats{
		Sent: r.h.Tail.Load(), Closed: r.Closed(),
		Skipped: r.h.Skipped.Load(), Returned: r.h.Returned.Load(),
	}
	for i := range r.slots {
		switch w := word(r.slots[i].Load()); w.state() {
		case ready:
			s.Ready++
		case claimed:
			s.Claimed++
		case taken:
			if w.id() == 0 {
				s.Given++
			} else {
				s.Leased++
			}
		}
	}
	return s
}
