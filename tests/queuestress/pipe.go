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
	// send sends up to max messages from seq on, and returns how many.
	send(ctx context.Context, p int, seq uint64, max int) (int, error)
	// recv receives at least one message; seen is called with each before it is given free.
	recv(ctx context.Context, hold func(i, p int, seq uint64), seen func(p int, seq uint64)) error
	end() error
	stats() (sent, skipped, again uint64)
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
			Dir: *dir, Slots: 64, Capacity: *capacity, Single: *mode == "single",
		})
		return &typed{q: q, buf: make([]Message, max(*batch, 1))}, err
	case "bytes", "bytes-single":
		open := queue.AttachBytes
		if create {
			open = queue.CreateBytes
		}
		q, err := open(name, &queue.BytesOptions{
			Dir: *dir, Slots: 64, Capacity: *capacity, Bytes: 100 * *capacity, Single: *mode == "bytes-single",
		})
		return &raw{q}, err
	}
	open := topic.Attach[Message]
	if create {
		open = topic.Create[Message]
	}
	t, err := open(name, &topic.Options{Dir: *dir, Slots: 64, Capacity: *capacity, Holds: 2 * maxProcs})
	return &cast{t: t}, err
}

type typed struct {
	q   *queue.Queue[Message]
	s   *queue.Sender[Message]
	r   *queue.Receiver[Message]
	buf []Message
}

func (t *typed) send(ctx context.Context, p int, seq uint64, max int) (n int, err error) {
	if *batch == 0 {
		return 1, t.q.SendFunc(ctx, func(m *Message) error { m.make(p, seq); return nil })
	}
	if t.s == nil {
		if t.s, err = t.q.Sender(); err != nil {
			return 0, err
		}
	}
	b := t.buf[:min(max, len(t.buf))]
	for i := range b {
		b[i].make(p, seq+uint64(i))
	}
	return t.s.SendBatch(ctx, b)
}

func (t *typed) recv(ctx context.Context, hold func(int, int, uint64), seen func(int, uint64)) (err error) {
	if *batch == 0 {
		return t.q.RecvFunc(ctx, func(m *Message) error {
			p, seq, err := m.check()
			if err == nil {
				hold(0, p, seq)
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

func (t *typed) end() error              { return t.q.End() }
func (t *typed) segment() *shmem.Segment { return t.q.Segment() }
func (t *typed) control() int            { return t.q.Segment().Size() - 64**capacity }
func (t *typed) stats() (uint64, uint64, uint64) {
	s, _ := t.q.Stats()
	return s.Sent, s.Skipped, s.Redelivered
}

type raw struct{ q *queue.Bytes }

func (r *raw) send(ctx context.Context, p int, seq uint64, max int) (int, error) {
	return 1, r.q.SendFunc(ctx, sizeOf(p, seq), func(b []byte) error { makeBytes(b, p, seq); return nil })
}

func (r *raw) recv(ctx context.Context, hold func(int, int, uint64), seen func(int, uint64)) error {
	return r.q.RecvFunc(ctx, func(b []byte) error {
		p, seq, err := checkBytes(b)
		if err == nil {
			hold(0, p, seq)
			seen(p, seq)
		}
		return err
	})
}

func (r *raw) end() error              { return r.q.End() }
func (r *raw) segment() *shmem.Segment { return r.q.Segment() }
func (r *raw) control() int            { return r.q.Segment().Size() - 100**capacity }
func (r *raw) stats() (uint64, uint64, uint64) {
	s, _ := r.q.Stats()
	return s.Sent, s.Skipped, s.Redelivered
}

type cast struct {
	t *topic.Topic[Message]
	s *topic.Subscription[Message]
}

func (c *cast) send(ctx context.Context, p int, seq uint64, max int) (int, error) {
	return 1, c.t.PublishFunc(ctx, func(m *Message) error { m.make(p, seq); return nil })
}

func (c *cast) recv(ctx context.Context, hold func(int, int, uint64), seen func(int, uint64)) (err error) {
	if c.s == nil {
		if c.s, err = c.t.Subscribe(topic.Now); err != nil {
			return err
		}
	}
	var p int
	var seq uint64
	if err := c.s.RecvFunc(ctx, func(m *Message) (err error) { p, seq, err = m.check(); return err }); err != nil {
		return err
	}
	if c.s.Lost() > 0 {
		return io.ErrUnexpectedEOF
	}
	seen(p, seq)
	return nil
}

func (c *cast) end() error              { return c.t.End() }
func (c *cast) segment() *shmem.Segment { return c.t.Segment() }
func (c *cast) control() int            { return c.t.Segment().Size() - 64**capacity }
func (c *cast) stats() (uint64, uint64, uint64) {
	s, _ := c.t.Stats()
	return s.Published, s.Skipped, s.Released
}
