package topic

import (
	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
)

// Stats are the state of a topic at one moment. Messages count from its creation, over all processes.
type Stats struct {
	Capacity  int    // messages kept
	Published uint64 // published or being published, skipped ones included: the next sequence number
	Skipped   uint64 // not published, because the publisher died; not those that PublishFunc's function gave up
	Released  uint64 // subscribers that died holding publishers back
	Lost      uint64 // not received in time, over all subscribers that can write to the segment
	Holds     int    // subscribers that hold publishers back now
	MaxHolds  int    // how many of them there can be
	Lag       uint64 // how many messages the slowest of them is behind
	Slowest   int    // the slot of that one, see shmem.Peer; -1: there is none
	Ended     bool   // by End
}

// Stats tells the state of the topic. It changes nothing and disturbs nobody. A topic attached to read-only has it
// too. ErrClosed.
func (t *Topic[T]) Stats() (Stats, error) {
	if !t.m.Pin() {
		return Stats{}, shmem.ErrClosed
	}
	defer t.m.Unpin()
	now := t.ring.Now()
	s := Stats{
		Capacity: len(t.items), Published: now, Skipped: t.ring.Skipped(), Released: t.h.Released.Load(), Lost: t.h.Lost.Load(),
		Holds: t.ring.Holding(), MaxHolds: t.ring.Holds(), Slowest: -1, Ended: t.ring.Closed(),
	}
	if id, cursor := t.ring.Slowest(); id != 0 {
		s.Slowest = int(format.ID(id).Slot())
		s.Lag = now - min(cursor, now)
	}
	return s, nil
}

func (t *Topic[T]) released(n uint64) {
	if n > 0 {
		t.h.Released.Add(n)
	}
}
