//go:build linux

package main

import (
	"context"
	"io"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A pipe is a queue or a topic of some mode.
type pipe interface {
	// send sends up to limit messages from seq on, and returns how many it sent.
	send(ctx context.Context, p int, seq uint64, limit int) (int, error)
	// recv receives at least one message. It calls seen with each, where it can before the message
	// is released, and hold before that.
	recv(ctx context.Context, hold, seen func(p int, seq uint64)) error
	end() error
	stats() (sent, skipped, redelivered uint64)
	segment() *shmem.Segment
	control() int // bytes of control words
}

func openPipe(create bool) (pipe, error) {
	name := *base + ".pipe"
	switch *mode {
	case "many", "single":
		open := queue.Attach[Message]
		if create {
			open = queue.Create[Message]
		}
		q, err := open(name, &queue.Options{
			Dir: *dir, Slots: 64, Lifetime: shmem.Owned, Capacity: *capacity,
			Single: *mode == "single", Stamped: *stamped,
		})
		return &typedQueue{q: q, buf: make([]Message, max(*batch, 1))}, err
	case "bytes", "bytes-single":
		open := queue.AttachBytes
		if create {
			open = queue.CreateBytes
		}
		q, err := open(name, &queue.BytesOptions{
			Dir: *dir, Slots: 64, Lifetime: shmem.Owned, Capacity: *capacity,
			Bytes: 100 * *capacity, Single: *mode == "bytes-single", Stamped: *stamped,
		})
		if err != nil {
			return nil, err
		}
		return newBytesQueue(q), nil
	}
	if *mode == "topic-bytes" {
		open := topic.AttachBytes
		if create {
			open = topic.CreateBytes
		}
		t, err := open(name, &topic.BytesOptions{
			Dir: *dir, Slots: 64, Lifetime: shmem.Owned, Capacity: *capacity,
			Bytes: 100 * *capacity, Holds: 2 * maxProcs, Stamped: *stamped,
		})
		return &topicBytesPipe{t: t}, err
	}
	open := topic.Attach[Message]
	if create {
		open = topic.Create[Message]
	}
	t, err := open(name, &topic.Options{
		Dir: *dir, Slots: 64, Lifetime: shmem.Owned, Capacity: *capacity, Holds: 2 * maxProcs,
		Stamped: *stamped,
	})
	return &topicPipe{t: t}, err
}

type typedQueue struct {
	q   *queue.Queue[Message]
	s   *queue.Sender[Message]   // nil: none yet; used with -batch
	r   *queue.Receiver[Message] // the same
	buf []Message
}

func (t *typedQueue) send(ctx context.Context, p int, seq uint64, limit int) (n int, err error) {
	if *batch == 0 {
		return 1, t.q.SendFunc(ctx, func(m *Message) error { m.fill(p, seq); return nil })
	}
	if t.s == nil {
		if t.s, err = t.q.Sender(); err != nil {
			return 0, err
		}
	}
	b := t.buf[:min(limit, len(t.buf))]
	for i := range b {
		b[i].fill(p, seq+uint64(i))
	}
	return t.s.SendBatch(ctx, b)
}

func (t *typedQueue) recv(ctx context.Context, hold, seen func(int, uint64)) (err error) {
	if *batch == 0 {
		return t.q.RecvFunc(ctx, func(m *Message) error {
			p, seq, err := m.check()
			if err == nil {
				hold(p, seq)
				seen(p, seq)
			}
			return err
		})
	}
	if t.r == nil {
		if t.r, err = t.q.Receiver(); err != nil {
			return err
		}
	}
	n, err := t.r.RecvBatch(ctx, t.buf)
	for i := range t.buf[:n] {
		p, seq, err := t.buf[i].check()
		if err != nil {
			return err
		}
		seen(p, seq)
	}
	return err
}

func (t *typedQueue) end() error              { return t.q.End() }
func (t *typedQueue) segment() *shmem.Segment { return t.q.Segment() }
func (t *typedQueue) control() int            { return t.q.Segment().Size() - 64**capacity }
func (t *typedQueue) stats() (uint64, uint64, uint64) {
	s, _ := t.q.Stats()
	return s.Sent, s.Skipped, s.Redelivered
}

type bytesQueue struct {
	q    *queue.Bytes
	s    *queue.BytesSender   // nil: none yet; used with -batch
	r    *queue.BytesReceiver // the same
	bufs [][]byte
}

func newBytesQueue(q *queue.Bytes) *bytesQueue {
	return &bytesQueue{q: q, bufs: make([][]byte, *batch)}
}

func (b *bytesQueue) send(
	ctx context.Context, p int, seq uint64, limit int,
) (n int, err error) {
	if *batch == 0 {
		return 1, b.q.SendFunc(ctx, sizeOf(p, seq), func(m []byte) error {
			fillBytes(m, p, seq)
			return nil
		})
	}
	if b.s == nil {
		if b.s, err = b.q.Sender(); err != nil {
			return 0, err
		}
	}
	bufs := b.bufs[:min(limit, len(b.bufs))]
	for i := range bufs {
		bufs[i] = make([]byte, sizeOf(p, seq+uint64(i)))
		fillBytes(bufs[i], p, seq+uint64(i))
	}
	return b.s.SendBatch(ctx, bufs)
}

func (b *bytesQueue) recv(ctx context.Context, hold, seen func(int, uint64)) (err error) {
	if *batch > 0 {
		return b.recvBatch(ctx, seen)
	}
	return b.q.RecvFunc(ctx, func(m []byte) error {
		p, seq, err := checkBytes(m)
		if err == nil {
			hold(p, seq)
			seen(p, seq)
		}
		return err
	})
}

func (b *bytesQueue) recvBatch(ctx context.Context, seen func(int, uint64)) (err error) {
	if b.r == nil {
		if b.r, err = b.q.Receiver(); err != nil {
			return err
		}
	}
	n, err := b.r.RecvBatch(ctx, b.bufs)
	for _, m := range b.bufs[:n] {
		p, seq, err := checkBytes(m)
		if err != nil {
			return err
		}
		seen(p, seq)
	}
	return err
}

func (b *bytesQueue) end() error              { return b.q.End() }
func (b *bytesQueue) segment() *shmem.Segment { return b.q.Segment() }
func (b *bytesQueue) control() int            { return b.q.Segment().Size() - 100**capacity }
func (b *bytesQueue) stats() (uint64, uint64, uint64) {
	s, _ := b.q.Stats()
	return s.Sent, s.Skipped, s.Redelivered
}

type topicPipe struct {
	t   *topic.Topic[Message]
	sub *topic.Subscription[Message]
}

func (c *topicPipe) send(ctx context.Context, p int, seq uint64, limit int) (int, error) {
	return 1, c.t.PublishFunc(ctx, func(m *Message) error { m.fill(p, seq); return nil })
}

func (c *topicPipe) recv(ctx context.Context, hold, seen func(int, uint64)) (err error) {
	if c.sub == nil {
		if c.sub, err = c.t.Subscribe(topic.Now); err != nil {
			return err
		}
	}
	var p int
	var seq uint64
	err = c.sub.RecvFunc(ctx, func(m *Message) (err error) {
		p, seq, err = m.check()
		return err
	})
	if err != nil {
		return err
	}
	if c.sub.Lost() > 0 {
		return io.ErrUnexpectedEOF
	}
	seen(p, seq)
	return nil
}

func (c *topicPipe) end() error              { return c.t.End() }
func (c *topicPipe) segment() *shmem.Segment { return c.t.Segment() }
func (c *topicPipe) control() int            { return c.t.Segment().Size() - 64**capacity }
func (c *topicPipe) stats() (uint64, uint64, uint64) {
	s, _ := c.t.Stats()
	return s.Published, s.Skipped, 0 // a topic redelivers nothing
}

// isTopic reports whether the mode is one of a topic.
func isTopic() bool { return *mode == "topic" || *mode == "topic-bytes" }

type topicBytesPipe struct {
	t   *topic.Bytes
	sub *topic.BytesSubscription
}

func (c *topicBytesPipe) send(ctx context.Context, p int, seq uint64, limit int) (int, error) {
	return 1, c.t.PublishFunc(ctx, sizeOf(p, seq), func(m []byte) error {
		fillBytes(m, p, seq)
		return nil
	})
}

func (c *topicBytesPipe) recv(ctx context.Context, hold, seen func(int, uint64)) (err error) {
	if c.sub == nil {
		if c.sub, err = c.t.Subscribe(topic.Now); err != nil {
			return err
		}
	}
	var p int
	var seq uint64
	err = c.sub.RecvFunc(ctx, func(m []byte) (err error) {
		p, seq, err = checkBytes(m)
		return err
	})
	if err != nil {
		return err
	}
	if c.sub.Lost() > 0 {
		return io.ErrUnexpectedEOF
	}
	seen(p, seq)
	return nil
}

func (c *topicBytesPipe) end() error              { return c.t.End() }
func (c *topicBytesPipe) segment() *shmem.Segment { return c.t.Segment() }
func (c *topicBytesPipe) control() int            { return c.t.Segment().Size() - 100**capacity }
func (c *topicBytesPipe) stats() (uint64, uint64, uint64) {
	s, _ := c.t.Stats()
	return s.Published, s.Skipped, 0
}
