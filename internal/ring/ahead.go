package ring

import "sync/atomic"

// Ahead is how many slots ahead of itself a caller of the functions below asks for lines, because claiming and
// taking wait for each line otherwise: some hundred nanoseconds, which is what a line takes from one core to another.
//
// The functions give hints. They name the slot, and its word if that begins a line. Who asks for a line that the
// other side is at slows both, so they look how far that is, but once in Ahead positions at most.
const Ahead = 16

// wordLine is how many words of slots share a line.
const wordLine = 8

func ahead(slots []atomic.Uint64, i uint64) (word *atomic.Uint64, slot int) {
	if i%wordLine == 0 {
		word = &slots[i]
	}
	return word, int(i)
}

// RoomAhead is for the producer that has claimed pos: ok if there is room up to there.
func (r *MPMC) RoomAhead(pos uint64) (word *atomic.Uint64, slot int, ok bool) {
	to := pos + Ahead
	if to-r.head.Load() >= r.n {
		if pos%Ahead != 0 {
			return nil, 0, false
		}
		h := r.h.Head.Load()
		r.head.Store(h)
		if to-h >= r.n {
			return nil, 0, false
		}
	}
	i, _ := r.at(to)
	word, slot = ahead(r.slots, i)
	return word, slot, true
}

// MessageAhead is for the consumer that has taken pos: ok if there are messages up to there.
func (r *MPMC) MessageAhead(pos uint64) (word *atomic.Uint64, slot int, ok bool) {
	to := pos + Ahead
	if to >= r.tail.Load() {
		if pos%Ahead != 0 {
			return nil, 0, false
		}
		t := r.h.Tail.Load()
		r.tail.Store(t)
		if to >= t {
			return nil, 0, false
		}
	}
	i, _ := r.at(to)
	word, slot = ahead(r.slots, i)
	return word, slot, true
}

// Ahead is for the publisher that has claimed pos.
func (p *Publisher) Ahead(pos uint64) (word *atomic.Uint64, slot int) {
	i, _ := p.r.at(pos + Ahead)
	return ahead(p.r.slots, i)
}

// Ahead is for the reader: ok if there are messages up to there.
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
