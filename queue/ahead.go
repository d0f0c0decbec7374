package queue

import (
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// sentAt asks for the lines that a sender at position pos comes to soon.
func (q *Queue[T]) sentAt(pos uint64) {
	word, i, ok := q.ring.RoomAhead(pos)
	if !ok {
		return
	}
	if word != nil {
		mem.PrefetchWrite(word)
	}
	mem.PrefetchWrite(&q.items[i])
}

// sentSingle is that of the sender of a Single queue at slot i.
func (q *Queue[T]) sentSingle(i int) {
	if i += ring.Ahead; i < len(q.items) {
		mem.PrefetchWrite(&q.items[i])
	}
}

// receivedAt asks for those that a receiver comes to.
func (q *Queue[T]) receivedAt(pos uint64) {
	word, i, ok := q.ring.MessageAhead(pos)
	if !ok {
		return
	}
	if word != nil {
		mem.PrefetchWrite(word)
	}
	mem.Prefetch(&q.items[i])
}

func (q *Queue[T]) receivedSingle(i int) {
	if i += ring.Ahead; i < len(q.items) {
		mem.Prefetch(&q.items[i])
	}
}
