package queue

import "github.com/shmembox/shmem/internal/mem"

// ahead is how many messages ahead a sender or receiver asks for the lines of a message: some hundred nanoseconds,
// which is what a line takes from one core to another.
const ahead = 16

// lineWords is how many words of slots share a line.
const lineWords = 8

// sentAt asks for what a sender that was at position pos, or at slot i of a Single queue, comes to soon.
func (q *Queue[T]) sentAt(pos uint64) {
	slot, i, ok := q.ring.RoomAhead(pos, ahead)
	if !ok {
		return
	}
	if i%lineWords == 0 {
		mem.PrefetchWrite(slot)
	}
	mem.PrefetchWrite(&q.items[i])
}

func (q *Queue[T]) sentSingle(i int) {
	if i += ahead; i < len(q.items) {
		mem.PrefetchWrite(&q.items[i])
	}
}

// receivedAt is the same for receivers.
func (q *Queue[T]) receivedAt(pos uint64) {
	slot, i, ok := q.ring.MessageAhead(pos, ahead)
	if !ok {
		return
	}
	if i%lineWords == 0 {
		mem.PrefetchWrite(slot)
	}
	mem.Prefetch(&q.items[i])
}

func (q *Queue[T]) receivedSingle(i int) {
	if i += ahead; i < len(q.items) {
		mem.Prefetch(&q.items[i])
	}
}
