package queue

import (
	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/ring"
)

// Stats are the state of a queue at one moment. Messages count from its creation, over all processes.
type Stats struct {
	Capacity    int    // messages there is room for; of a Single Bytes, bytes
	Depth       int    // sent, and nobody has begun to receive them; of a Single Bytes, bytes
	Sending     int    // being sent
	Receiving   int    // being received, or given back and not received again
	Sent        uint64 // sent or being sent, skipped ones included; of a Single Bytes, bytes
	Received    uint64 // received or being received; of a Single Bytes, bytes
	Skipped     uint64 // not sent, because the sender died; in a Single queue, how often it died
	Redelivered uint64 // given back, because the receiver died; in a Single queue, how often it died
	Ended       bool   // by End

	// HasSender and HasReceiver report whether a live process has that end of a Single queue.
	HasSender, HasReceiver bool
}

func (b *base) stats(capacity int) (Stats, error) {
	if !b.m.Pin() {
		return Stats{}, shmem.ErrClosed
	}
	defer b.m.Unpin()
	if h := b.single; h != nil {
		head := h.Head.Load()
		tail := h.Tail.Load()
		return Stats{
			Capacity: capacity, Depth: int(min(tail-head, uint64(capacity))), Sent: tail, Received: head,
			Skipped: b.deaths.SenderDied.Load(), Redelivered: b.deaths.ReceiverDied.Load(),
			Ended: h.Closed.Load() != 0, HasSender: b.lives(h.Producer.Load()), HasReceiver: b.lives(h.Consumer.Load()),
		}, nil
	}
	s := b.many.Stats()
	return Stats{
		Capacity: capacity, Depth: s.Ready, Sending: s.Claimed, Receiving: s.Leased + s.Given,
		Sent: s.Sent, Received: b.head.Load(), Skipped: s.Skipped, Redelivered: s.Returned, Ended: s.Closed,
	}, nil
}

func (b *base) lives(id uint64) bool {
	return id != 0 && id>>31 == 0 && b.m.Peers != nil && b.m.Peers.Alive(format.ID(id))
}

// Stats tells the state of the queue. It changes nothing and disturbs nobody, but looks at every place: a
// microsecond for a thousand. A queue attached to read-only has it too. ErrClosed.
func (q *Queue[T]) Stats() (Stats, error) { return q.stats(len(q.items)) }

var _ many = (*ring.MPMC)(nil)
