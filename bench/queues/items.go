//go:build linux

package main

import (
	"context"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/queue"
)

var ctx = context.Background()

type (
	small [1]uint64
	line  [8]uint64
)

const capacity = 4096 // of queues and bare rings

// items are the cases that send n values of type T one way, in batches of so many.
func items[T any](group string, batch, n int) (all []bench) {
	add := func(name string, n int, here, there side) {
		all = append(all, bench{group: group, name: name, n: n, here: here, there: there})
	}
	queues := func(name string, n int, single, handle bool) {
		add(name, n, &itemSender[T]{single: single, handle: handle, batch: batch},
			&itemReceiver[T]{single: single, handle: handle, batch: batch})
	}
	size := mem.SizeOf[T]()
	n -= n % 32
	if batch == 1 {
		queues("queue", n/4, false, false)
		queues("queue, Single", n/4, true, false)
	}
	queues("queue, Sender and Receiver", n/2, false, true)
	queues("queue, Single, Sender and Receiver", n, true, true)
	add("bare ring, spinning", n, &ringSender[T]{batch: batch}, &ringReceiver[T]{batch: batch})
	if batch == 1 {
		add("Go channel, one process", n/2, &goChannel[T]{}, nil)
		for kind, name := range bareKinds {
			s, r := &bareSender[T]{}, &bareReceiver[T]{}
			s.kind, r.kind = kind, kind
			add(name, n/2, s, r)
		}
	}
	for _, k := range []struct {
		name string
		unix bool
	}{{"Unix socket", true}, {"pipe", false}} {
		add(k.name, n/16, &streamWriter{unix: k.unix, size: size * batch, batch: batch},
			&streamReader{unix: k.unix, size: size * batch, batch: batch})
	}
	return all
}

// openQueue opens the queue of a name; the side here creates it.
func openQueue[T any](here, single bool, name string) *queue.Queue[T] {
	open := queue.Attach[T]
	if here {
		open = queue.Create[T]
	}
	q, err := open(*base+name, &queue.Options{
		Capacity: capacity, Single: single, Lifetime: shmem.Owned,
	})
	must(err)
	return q
}

// itemSender sends by a Sender, in batches, or by the queue's own method.
type itemSender[T any] struct {
	single, handle bool
	batch          int
	q              *queue.Queue[T]
}

func (x *itemSender[T]) open()  { x.q = openQueue[T](true, x.single, "") }
func (x *itemSender[T]) close() { x.q.Close() }

func (x *itemSender[T]) run(n int) {
	q := x.q
	var v T
	if !x.handle {
		for range n {
			must(q.Send(ctx, v))
		}
		return
	}
	s, err := q.Sender()
	must(err)
	if x.batch == 1 {
		for range n {
			must(s.Send(ctx, v))
		}
		return
	}
	vs := make([]T, x.batch)
	for i := 0; i < n; i += x.batch {
		_, err := s.SendBatch(ctx, vs)
		must(err)
	}
}

// itemReceiver is the other side of itemSender.
type itemReceiver[T any] struct {
	single, handle bool
	batch          int
	q              *queue.Queue[T]
}

func (x *itemReceiver[T]) open()  { x.q = openQueue[T](false, x.single, "") }
func (x *itemReceiver[T]) close() { x.q.Close() }

func (x *itemReceiver[T]) run(n int) {
	q := x.q
	if !x.handle {
		for range n {
			_, err := q.Recv(ctx)
			must(err)
		}
		return
	}
	r, err := q.Receiver()
	must(err)
	if x.batch == 1 {
		for range n {
			_, err := r.Recv(ctx)
			must(err)
		}
		return
	}
	vs := make([]T, x.batch)
	for i := 0; i < n/x.batch*x.batch; {
		k, err := r.RecvBatch(ctx, vs)
		must(err)
		i += k
	}
}

// bareRing is a ring with nothing around it. The side here creates it.
type bareRing[T any] struct {
	seg   *shmem.Segment
	ring  *ring.SPSC
	items []T
}

func (x *bareRing[T]) close() { x.seg.Close() }

func (x *bareRing[T]) openRing(here bool, name string) {
	const itemsAt = 1024
	var err error
	if here {
		x.seg, err = shmem.CreateSegment(*base+name, itemsAt+capacity*mem.SizeOf[T](), nil)
	} else {
		x.seg, err = shmem.AttachSegment(*base+name, nil)
	}
	must(err)
	m := segment.Shmem.Attachment(x.seg).Mapping()
	h, err := mem.At[ring.SPSCHeader](m, 0)
	must(err)
	x.items, err = mem.SliceAt[T](m, itemsAt, capacity)
	must(err)
	x.ring, err = ring.NewSPSC(h, capacity)
	must(err)
}

func noneAlive(uint32) bool { return false }

// ringSender sends in batches and spins while the ring is full.
type ringSender[T any] struct {
	bareRing[T]
	batch int
	s     *ring.Sender
}

func (x *ringSender[T]) open() {
	x.openRing(true, "bare")
	var err error
	x.s, err = x.ring.Sender(1, noneAlive)
	must(err)
}

func (x *ringSender[T]) run(n int) {
	s, items := x.s, x.items
	var v T
	for i := 0; i < n; {
		at, k, err := s.Reserve(min(x.batch, n-i))
		if err != nil {
			continue
		}
		for j := range k {
			items[at+j] = v
		}
		s.Publish(k)
		i += k
	}
}

// ringReceiver receives in batches and spins while the ring is empty.
type ringReceiver[T any] struct {
	bareRing[T]
	batch int
	r     *ring.Receiver
}

func (x *ringReceiver[T]) open() {
	x.openRing(false, "bare")
	var err error
	x.r, err = x.ring.Receiver(1, noneAlive)
	must(err)
}

func (x *ringReceiver[T]) run(n int) {
	r, items := x.r, x.items
	vs := make([]T, x.batch)
	for i := 0; i < n; {
		at, k, err := r.Peek(x.batch)
		if err != nil {
			continue
		}
		copy(vs, items[at:at+k])
		r.Release(k)
		i += k
	}
}

// goChannel is a channel between two goroutines of one process.
type goChannel[T any] struct{ c chan T }

func (x *goChannel[T]) open()  { x.c = make(chan T, capacity) }
func (x *goChannel[T]) close() {}

func (x *goChannel[T]) run(n int) {
	c := x.c
	go func() {
		var v T
		for range n {
			c <- v
		}
	}()
	for range n {
		<-c
	}
}
