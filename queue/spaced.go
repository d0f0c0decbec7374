package queue

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/ring"
)

// The fast paths of Queue see the items side by side. In a queue with bytes between its items a
// check for that would burden them, so they meet rings there at which they find nothing to do, and
// go the long way.
var slowly = newSlowRings()

// slowRings are rings of this process that have ended.
type slowRings struct {
	many   manyItems
	single ring.SPSCHeader
}

func newSlowRings() *slowRings {
	s := new(slowRings)
	h := new(ring.MPMCHeader)
	s.many.mpmc, _ = ring.NewMPMC(h, ring.SideBySide(make([]atomic.Uint64, 1)))
	s.many.mpmc.Close()
	s.single.Closed.Store(1)   // a sender finds no room
	s.single.SendWait.Store(1) // a receiver is asked for a barrier
	return s
}
