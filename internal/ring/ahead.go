package ring

import "sync/atomic"

// These name slots that a caller will come to soon, so that it can ask for their lines early: claiming and taking
// wait for each line otherwise. They are hints, and look at the other side's index once in d positions at most:
// who asks for a line that the other side is at slows both.

// RoomAhead is the slot d positions after pos, which the caller has claimed, if there is room up to there.
func (r *MPMC) RoomAhead(pos, d uint64) (slot *atomic.Uint64, i int, ok bool) {
	to := pos + d
	if to-r.head.Load() >= r.n {
		if pos%d != 0 {
			return nil, 0, false
		}
		h := r.h.Head.Load()
		r.head.Store(h)
		if to-h >= r.n {
			return nil, 0, false
		}
	}
	i = r.Index(to)
	return &r.slots[i], i, true
}

// MessageAhead is the slot d positions after pos, which the caller has taken, if there are messages up to there.
func (r *MPMC) MessageAhead(pos, d uint64) (slot *atomic.Uint64, i int, ok bool) {
	to := pos + d
	if to >= r.tail.Load() {
		if pos%d != 0 {
			return nil, 0, false
		}
		t := r.h.Tail.Load()
		r.tail.Store(t)
		if to >= t {
			return nil, 0, false
		}
	}
	i = r.Index(to)
	return &r.slots[i], i, true
}
