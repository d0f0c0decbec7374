package ring

import "sync/atomic"

// Ahead is how many slots ahead a caller of the functions below prefetches cache lines. Otherwise
// claiming and taking wait for each cache line on its way from another core.
//
// The functions return hints: a slot, and its word if the word begins a cache line. Where an item
// is beside its word, a hint for the word would be one more for the same cache line. A prefetch of
// a cache line that the other side uses slows both sides. So the functions check how far the other
// side is, at most once in Ahead positions.
const Ahead = 16

// wordLine is how many words of slots share a cache line.
const wordLine = 8

// ahead returns the hint for slot i.
func ahead(slots []atomic.Uint64, i uint64) (word *atomic.Uint64, slot int) {
	if i%wordLine == 0 {
		word = &slots[i]
	}
	return word, int(i)
}

// RoomAhead returns the hint for the producer that has claimed pos, slot at. ok reports whether
// there is room that far.
func (r *MPMC) RoomAhead(pos uint64, at int) (word *atomic.Uint64, slot int, ok bool) {
	if to := pos + Ahead; to-r.head.Load() >= r.n {
		if pos%Ahead != 0 {
			return nil, 0, false
		}
		h := r.h.Head.Load()
		r.head.Store(h)
		if to-h >= r.n {
			return nil, 0, false
		}
	}
	return r.slotAhead(at)
}

// MessageAhead returns the hint for the consumer that has taken pos, slot at. ok reports whether
// there are messages that far.
func (r *MPMC) MessageAhead(pos uint64, at int) (word *atomic.Uint64, slot int, ok bool) {
	if to := pos + Ahead; to >= r.tail.Load() {
		if pos%Ahead != 0 {
			return nil, 0, false
		}
		t := r.h.Tail.Load()
		r.tail.Store(t)
		if to >= t {
			return nil, 0, false
		}
	}
	return r.slotAhead(at)
}

// slotAhead returns the hint for the slot that is Ahead of slot at. There is none at the end of the
// ring.
func (r *MPMC) slotAhead(at int) (word *atomic.Uint64, slot int, ok bool) {
	if slot = at + Ahead; slot >= r.Cap() {
		return nil, 0, false
	}
	if r.slots.shift == 0 && slot%wordLine == 0 {
		word = &r.slots.words[slot]
	}
	return word, slot, true
}

// Ahead returns the hint for the publisher that has claimed pos.
func (p *Publisher) Ahead(pos uint64) (word *atomic.Uint64, slot int) {
	i, _ := p.r.at(pos + Ahead)
	return ahead(p.r.slots, i)
}

// Ahead returns the hint for the reader. ok reports whether there are messages that far.
func (c *Cursor) Ahead() (word *atomic.Uint64, slot int, ok bool) {
	to := c.pos + Ahead
	if to >= c.tail {
		if c.pos%Ahead != 0 {
			return nil, 0, false
		}
		if c.tail = c.r.h.Tail.Load(); to >= c.tail {
			return nil, 0, false
		}
	}
	i, _ := c.r.at(to)
	word, slot = ahead(c.r.slots, i)
	return word, slot, true
}
