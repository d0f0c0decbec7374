package inspect

import (
	"time"

	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/stream"
)

// oldest returns when the oldest message was sent that waits in the queue: the least of the stamps,
// since a message that waits for redelivery may be older than the others. It is the zero time if
// none waits, or if the queue has no time stamps.
func (q *queueView) oldest() time.Time {
	switch {
	case !q.layout.Stamped:
		return time.Time{}
	case q.header != nil:
		r, err := ring.NewMPMC(q.header, q.slots)
		if err != nil {
			return time.Time{}
		}
		return stream.TimeOf(r.Oldest(q.stamps))
	}
	head := q.single.Head.Load()
	if q.single.Tail.Load() == head {
		return time.Time{}
	}
	stamp := int64(0)
	if q.stamps != nil {
		stamp = int64(q.stamps[q.slot(head)].Load())
	} else {
		stamp = stream.RecordStamp(q.m, q.layout, head)
	}
	if q.single.Head.Load() != head { // it was received meanwhile
		return time.Time{}
	}
	return stream.TimeOf(stamp)
}
