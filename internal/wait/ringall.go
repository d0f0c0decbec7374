package wait

import "github.com/shmembox/shmem/internal/mem"

// RingAll makes every waiter at m check its condition, whatever it waits for. It needs no slot of
// its own. m is pinned, or the caller's alone.
func RingAll(m *mem.Mapping) {
	p := m.Peers
	for i := range p.SlotBound() {
		if s := p.Slot(i); s.Interest.Load() != 0 {
			ring(s, ^uint64(0))
		}
	}
}

// RingOwn is RingAll for the waiters of this attachment, which has a slot.
func RingOwn(m *mem.Mapping) { ring(m.Peers.Slot(int(m.Peers.Self.Slot())), ^uint64(0)) }
