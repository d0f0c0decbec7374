package inspect

import (
	"time"

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
		return stream.TimeOf(q.oldestShared())
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

func (q *queueView) oldestShared() (least int64) {
	for i := range q.stamps {
		word := q.slots.At(uint64(i))
		w := word.Load()
		if s := w >> stateShift; s != stateReady && (s != stateTaken || w&(1<<lapShift-1) != 0) {
			continue
		}
		stamp := int64(q.stamps[i].Load())
		if word.Load() == w && stamp != 0 && (least == 0 || stamp < least) {
			least = stamp
		}
	}
	return least
}
