package ring

import "sync/atomic"

// Ahead is how many slots ahead a caller of the functions below prefetches cache lines. Otherwise
// claiming and taking wait for each cache line on its way from another core.
//
// What is prefetched is the item of a slot, and its word if the word begins a cache line. Where an
// item is beside its word that would be the same cache line twice. A prefetch of a cache line that
// the other side uses slows both sides. So the functions check how far the other side is, at most
// once in Ahead positions.
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

// RoomAhead reports whether there is room Ahead positions behind pos, which the producer has
// claimed.
func (r *MPMC) RoomAhead(pos uint64) bool {
	return pos+Ahead-r.head.Load() < r.n || pos%Ahead == 0 && r.lookForRoom(pos)
}

func (r *MPMC) lookForRoom(pos uint64) bool {
	h := r.h.Head.Load()
	r.head.Store(h)
	return pos+Ahead-h < r.n
}

// MessageAhead reports whether there is a message Ahead positions behind pos, which the consumer
// has taken.
func (r *MPMC) MessageAhead(pos uint64) bool {
	return pos+Ahead < r.tail.Load() || pos%Ahead == 0 && r.lookForMessage(pos)
}

func (r *MPMC) lookForMessage(pos uint64) bool {
	t := r.h.Tail.Load()
	r.tail.Store(t)
	return pos+Ahead < t
}

// WordAhead returns the word of a slot, if it is to be prefetched beside its item.
func (r *MPMC) WordAhead(slot int) *atomic.Uint64 {
	if slot%wordLine != 0 || r.slots.shift != 0 || slot >= len(r.slots.words) {
		return nil
	}
	return &r.slots.words[slot]
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
