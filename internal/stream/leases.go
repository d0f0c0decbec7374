package stream

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// QueueSlots returns the words of the slots of a queue.
func QueueSlots(m *mem.Mapping, l *layout.Queue) (ring.Slots, error) {
	words, err := mem.SliceAt[atomic.Uint64](m, l.Slots, l.Capacity*l.WordStep)
	if err != nil {
		return ring.Slots{}, err
	}
	return ring.SlotsEvery(words, l.WordStep)
}

// EndLeases ends the leases that the attachment in a slot has on messages of a queue, and returns
// how many there were. The mapping is that of an attachment, which can write.
func EndLeases(m *mem.Mapping, l *layout.Queue, slot int) (ended int, err error) {
	h, err := mem.At[ring.MPMCHeader](m, 0)
	if err != nil {
		return 0, err
	}
	slots, err := QueueSlots(m, l)
	if err != nil {
		return 0, err
	}
	marks, err := mem.SliceAt[atomic.Uint64](m, l.Marks, l.Capacity)
	if err != nil {
		return 0, err
	}
	r, err := ring.NewMPMC(h, slots)
	if err != nil {
		return 0, err
	}
	if err := r.SetMarks(marks); err != nil {
		return 0, err
	}
	ended = r.End(func(id uint32) bool { return int(format.ID(id).Slot()) == slot })
	step.Reach(step.QueueRevoked)
	wait.Wake(m, &h.RecvArmed)
	wait.Wake(m, &h.SendArmed)
	return ended, nil
}
