package inspect

import (
	"fmt"
	"slices"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
)

// A Message is one message of a queue or topic.
type Message struct {
	// Seq is the number of the message, from 0. A number that is left out was skipped or lost. In
	// a queue.Bytes that is Single it counts bytes.
	Seq  uint64
	Time time.Time // when the message was read
	// Where messages have time stamps (Options.Stamped): when the message was published, or sent.
	Published time.Time
	Value     Value // from a Follower: valid until its next call
	// Of a queue: how often it was delivered and not consumed. It waits for redelivery.
	Delivered int
}

// MessageType returns the type of a topic's messages, and nil if the segment is no topic.Topic.
func (o *Observer) MessageType() *Type {
	if layout.Stream(o.t) != layout.TopicName {
		return nil
	}
	return typeOf(layout.Item(o.t))
}

// Messages copies the last n messages that are in a queue or topic, oldest first; n <= 0 means all.
// It receives nothing and disturbs no process. Each message was there as a whole while it was
// copied, but they need not have been there all at the same time. The value of a message of a
// queue.Bytes or topic.Bytes is raw.
//
// A segment that is no queue or topic gives shmem.ErrMismatch, a damaged one shmem.ErrCorrupt. A
// queue whose messages change faster than they can be copied gives shmem.ErrContended.
func (o *Observer) Messages(n int) (all []Message, err error) {
	if n <= 0 {
		n = int(^uint(0) >> 1)
	}
	err = o.guarded("inspect messages", func() (err error) { all, err = o.messages(n); return err })
	return all, err
}

func (o *Observer) messages(n int) ([]Message, error) {
	switch layout.Stream(o.t) {
	case "":
		return nil, fmt.Errorf("%w: it is no queue or topic", shmem.ErrMismatch)
	case layout.TopicName, layout.TopicBytesName:
		return o.topicMessages(n)
	}
	q, err := o.queue()
	switch {
	case err != nil:
		return nil, err
	case q.header != nil:
		return q.sharedMessages(n), nil
	case q.layout.Item != nil:
		return q.singleMessages(n), nil
	}
	return q.singleBytes(n)
}

func (o *Observer) topicMessages(n int) ([]Message, error) {
	t, err := stream.TopicIn(o.m, o.t)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", shmem.ErrMismatch, err)
	}
	if t.Layout.Item == nil {
		return topicBytes(t, n), nil
	}
	if size := t.Layout.Item.Size; size > MaxSnapshot {
		return nil, tooLarge(int64(size))
	}
	at := func(pos uint64, _ int) (m Message, ok bool) {
		if !t.Ring.Valid(pos) {
			return m, false
		}
		b := make([]byte, t.Layout.Item.Size)
		t.Load(pos, b)
		m.Value, m.Published = Value{t.Layout.Item, b, 0, nil}, stream.TimeOf(t.Stamp(pos))
		return m, t.Ring.Valid(pos)
	}
	return backwards(t.Ring.Now(), t.Ring.Oldest(), n, at), nil
}

// topicBytes copies the last n messages of a topic.Bytes.
func topicBytes(t *stream.TopicMemory, n int) []Message {
	at := func(pos uint64, room int) (m Message, ok bool) {
		off, size, ok := t.Ring.Message(pos)
		if !ok || size > room {
			return m, false
		}
		m.Value.b = t.AppendBytes(nil, off, size)
		m.Published = stream.TimeOf(t.Stamp(pos))
		return m, t.Ring.Kept(pos)
	}
	return backwards(t.Ring.Now(), t.Ring.Oldest(), n, at)
}

// backwards collects up to n messages from positions below now, down to oldest, and returns them
// oldest first. at copies the message at a position, if it has no more than room bytes; it reports
// false if there is none, also if the message was taken or overwritten while it was copied.
func backwards(now, oldest uint64, n int, at func(pos uint64, room int) (Message, bool),
) (all []Message) {
	room := MaxSnapshot
	for pos := now; pos > oldest && len(all) < n && room > 0; {
		pos--
		m, ok := at(pos, room)
		if !ok {
			continue
		}
		m.Seq, m.Time = pos, time.Now()
		all = append(all, m)
		room -= len(m.Value.b) + messageCost
	}
	slices.Reverse(all)
	return all
}

// messageCost is what an empty message counts for in the limit of Messages.
const messageCost = 64
