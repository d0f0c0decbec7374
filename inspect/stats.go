package inspect

import (
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/stream"
)

// Stats are the counters of a queue or topic, in the words of queue.Stats and topic.Stats. In a
// queue.Bytes that is Single, Capacity, Depth, Sent and Received count bytes instead of messages.
type Stats struct {
	Kind     string // "queue.Queue", "queue.Bytes", "topic.Topic", "topic.Bytes"
	Capacity int    // messages there is room for; of a topic, messages kept
	Skipped  uint64 // not sent, because the sender died; in a Single queue, how often it died
	Ended    bool   // by End
	// attachments that are sending or receiving; those of a Single queue are Sender and Receiver
	Leases []Lease

	// Of a queue; zero for a topic.
	Single      bool // one sender and one receiver at a time
	Sent        uint64
	Received    uint64
	Depth       uint64 // sent and not yet received
	Redelivered uint64 // because the receiver died; in a Single queue, how often it died
	Sending     int    // messages that are being sent; 0 in a Single queue
	Receiving   int    // being received, or waiting for redelivery; 0 in a Single queue
	// OldestSent is when the oldest message was sent that waits to be received, in a queue with
	// time stamps. It is the zero time if none waits.
	OldestSent time.Time
	// of a queue.Bytes: what its messages occupy, their headers and padding included
	Bytes    uint64
	BytesCap uint64 // of a queue.Bytes or topic.Bytes: what they can occupy
	Sender   Holder // of a Single queue: the process at this end; the zero Holder if there is none
	Receiver Holder // as Sender

	// Of a topic; zero for a queue.
	Published     uint64
	Lost          uint64 // overwritten before a subscriber received them, over all subscribers
	Released      uint64 // holds released, because the subscriber died
	Holds         int    // subscribers that hold publishers back
	MaxHolds      int    // how many there can be
	Lag           uint64 // how many messages the slowest of them is behind
	Slowest       int    // its slot; -1 if there is none, and for a queue
	SlowestHolder Holder // the same with its process; the zero Holder if there is none
}

// Stats returns the counters of a queue or topic, and nil if the segment is neither. It disturbs no
// sender and no receiver.
func (o *Observer) Stats() (st *Stats, err error) {
	if err := o.usable(); err != nil && err != shmem.ErrClosed {
		return nil, nil
	}
	err = o.guarded("inspect stats", func() error { st = o.stats(); return nil })
	return st, err
}

// stats is Stats with the mapping pinned and guarded. A queue or topic that is damaged, or of a
// version with other fields, has none.
func (o *Observer) stats() *Stats {
	st := &Stats{Kind: layout.Stream(o.t), Slowest: -1}
	var err error
	switch st.Kind {
	case "":
		return nil
	case layout.TopicName, layout.TopicBytesName:
		err = o.topicStats(st)
	default:
		err = o.queueStats(st)
	}
	if err != nil {
		return nil
	}
	return st
}

func (o *Observer) topicStats(st *Stats) error {
	t := o.ring.topic
	if o.ring.t != o.t || t == nil {
		var err error
		if t, err = stream.TopicIn(o.m, o.t); err != nil {
			return err
		}
		o.ring.t, o.ring.topic, o.ring.queue = o.t, t, nil
	}
	st.BytesCap = uint64(t.Ring.Size())
	st.Capacity, st.Published, st.Ended = t.Ring.Cap(), t.Ring.Now(), t.Ring.Ended()
	st.Skipped, st.Released, st.Lost = t.Header.Skipped.Load(), t.Header.Released.Load(),
		t.Header.Lost.Load()
	st.Holds, st.MaxHolds = t.Ring.Holds(), t.Ring.MaxHolds()
	st.Leases = o.topicLeases(t)
	if id, cursor := t.Ring.Slowest(); id != 0 {
		st.SlowestHolder = o.holder(format.ID(id), "hold")
		st.Slowest = st.SlowestHolder.Slot
		st.Lag = st.Published - min(cursor, st.Published)
	}
	return nil
}

func (o *Observer) queueStats(st *Stats) error {
	q := o.ring.queue
	if o.ring.t != o.t || q == nil {
		var err error
		if q, err = o.queue(); err != nil {
			return err
		}
		o.ring.t, o.ring.queue, o.ring.topic = o.t, q, nil
	}
	st.Single, st.Capacity, st.BytesCap = q.layout.Single, q.layout.Capacity, uint64(q.layout.Bytes)
	if h := q.single; h != nil {
		st.Sent, st.Received, st.Ended = h.Tail.Load(), h.Head.Load(), ring.HasEnded(&h.Closed)
		st.Sender, st.Receiver = o.endHolder(h.Producer.Load(), "send"),
			o.endHolder(h.Consumer.Load(), "receive")
		st.Skipped, st.Redelivered = q.deaths()
	} else {
		h := q.header
		st.Sent, st.Received, st.Ended = h.Tail.Load(), h.Head.Load(), ring.HasEnded(&h.Closed)
		st.Skipped, st.Redelivered = h.Skipped.Load(), h.Returned.Load()
		st.Leases, st.Receiving = o.leases(q.slots, q.marks, st.Sent)
		for _, l := range st.Leases {
			if l.What == "send" {
				st.Sending += l.Count
			} else {
				st.Receiving += l.Count
			}
		}
	}
	st.Depth = st.Sent - min(st.Received, st.Sent)
	st.OldestSent = q.oldest()
	switch {
	case q.layout.Item != nil:
	case st.Single:
		st.Capacity, st.Bytes = q.layout.Bytes, st.Depth
	default:
		st.Bytes = q.bytesUsed()
	}
	return nil
}

// endHolder returns the process at an end of a Single queue, by the word of that end.
func (o *Observer) endHolder(word uint64, what string) Holder {
	if word == 0 || word>>31 != 0 { // not an id
		return Holder{}
	}
	return o.holder(format.ID(word), what)
}

// deaths returns how often the ends of a Single queue were taken over from a dead process; see
// layout.Deaths.
func (q *queueView) deaths() (sender, receiver uint64) {
	words, err := mem.SliceAt[atomic.Uint64](q.m, q.layout.Deaths, 2)
	if err != nil {
		return 0, 0
	}
	return words[0].Load(), words[1].Load()
}
