package stream

import (
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/ring"
)

// A process that takes the name from a queue or topic closes its ring: senders get ErrUnlinked at
// once, receivers after the last message. If that process dies before it has closed the ring,
// another attachment that waits, or that finds nothing, closes it: see FindTaken.

// Closed returns the error of a call that finds the ring closed: ErrUnlinked, or end if the stream
// has ended.
func Closed(closed *atomic.Uint64, end error) error {
	if ring.HasEnded(closed) {
		return end
	}
	return shmem.ErrUnlinked
}

// FindTaken closes the ring if the segment's file has lost its last name, and reports whether there
// is something new for those who wait: the caller wakes them. closed is the ring's word. An
// attachment that cannot write remembers what it has found. The caller has pinned the mapping.
func (a *Attachment) FindTaken(closed *atomic.Uint64) bool {
	if closed.Load() != 0 || !a.at.Nameless() {
		return false
	}
	a.nameless.Store(true)
	return !a.Writes || closed.CompareAndSwap(0, ring.Unlinked)
}
