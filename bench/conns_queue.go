package main

import (
	"context"
	"errors"
	"unsafe"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// queueConn is two queues, one for each direction. A message of many sizes of T is a batch.
type queueConn[T any] struct {
	s    *queue.Sender[T]
	r    *queue.Receiver[T]
	size int
	spin bool
	spinner
}

func openQueue[T any](t *Trial, side int, single, spin bool) (conn, error) {
	var v T
	c := &queueConn[T]{spin: spin, size: int(unsafe.Sizeof(v))}
	for i := range 2 {
		opts := &queue.Options{Dir: t.Dir, Lifetime: shmem.Kept, Capacity: ringSlots, Single: single}
		q, err := queue.Open[T]([2]string{"forth", "back"}[i], opts)
		if err != nil {
			return nil, err
		}
		if i == side {
			c.r, err = q.Receiver()
		} else {
			c.s, err = q.Sender()
		}
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *queueConn[T]) Send(b []byte) error {
	if len(b) == c.size {
		return c.s.Send(context.Background(), *as[T](b))
	}
	_, err := c.s.SendBatch(context.Background(), slice[T](b, len(b)/c.size))
	return err
}

func (c *queueConn[T]) Recv(b []byte) (err error) {
	if len(b) == c.size && !c.spin {
		*as[T](b), err = c.r.Recv(context.Background())
		return err
	}
	if c.spin {
		for {
			*as[T](b), err = c.r.TryRecv()
			if !errors.Is(err, queue.ErrEmpty) {
				return err
			}
			c.once()
		}
	}
	for vs := slice[T](b, len(b)/c.size); len(vs) > 0 && err == nil; {
		var n int
		n, err = c.r.RecvBatch(context.Background(), vs)
		vs = vs[n:]
	}
	return err
}

func (c *queueConn[T]) SendInPlace(n int, f func([]byte)) error {
	return c.s.SendFunc(context.Background(), func(v *T) error { f(bytesOf(v)); return nil })
}

func (c *queueConn[T]) RecvInPlace(f func([]byte)) error {
	return c.r.RecvFunc(context.Background(), func(v *T) error { f(bytesOf(v)); return nil })
}

func queueTransport(name string, single, spin bool) transport {
	return transport{name: name, kind: Ours, max: 1024,
		open: func(t *Trial, side int) (conn, error) {
			switch t.Size {
			case 8:
				return openQueue[[1]uint64](t, side, single, spin)
			case 64:
				return openQueue[[8]uint64](t, side, single, spin)
			default:
				return openQueue[[128]uint64](t, side, single, spin)
			}
		}}
}

var (
	singleQueue     = queueTransport("Queue, Single", true, false)
	manyQueue       = queueTransport("Queue", false, false)
	singleQueueSpin = queueTransport("Queue, Single, TryRecv", true, true)
	manyQueueSpin   = queueTransport("Queue, TryRecv", false, true)
)

// bytesConn is a queue of bytes, from side 1 to side 0.
type bytesConn struct{ q *queue.Bytes }

func bytesTransport(name string, single bool, room func(size int) int) transport {
	return transport{name: name, kind: Ours, open: func(t *Trial, side int) (conn, error) {
		q, err := queue.OpenBytes("bytes",
			&queue.BytesOptions{Dir: t.Dir, Lifetime: shmem.Kept, Bytes: room(t.Size), Single: single})
		return bytesConn{q: q}, err
	}}
}

func copyRoom(size int) int { return max(1<<20, min(16*(size+64), 33<<20)) }

// placeRoom holds as many messages of any size, or their cost would seem to depend on it.
func placeRoom(size int) int { return placeSlots * (size + 64) }

func (c bytesConn) Send(b []byte) error { return c.q.Send(context.Background(), b) }
func (c bytesConn) Recv(b []byte) error {
	_, err := c.q.Recv(context.Background(), b[:0])
	return err
}

func (c bytesConn) SendInPlace(n int, f func([]byte)) error {
	return c.q.SendFunc(context.Background(), n, func(b []byte) error { f(b); return nil })
}

func (c bytesConn) RecvInPlace(f func([]byte)) error {
	return c.q.RecvFunc(context.Background(), func(b []byte) error { f(b); return nil })
}

var (
	singleBytes      = bytesTransport("Bytes, Single", true, copyRoom)
	manyBytes        = bytesTransport("Bytes", false, copyRoom)
	singleBytesPlace = bytesTransport("Bytes, Single"+inPlace, true, placeRoom)
	manyBytesPlace   = bytesTransport("Bytes"+inPlace, false, placeRoom)
)
