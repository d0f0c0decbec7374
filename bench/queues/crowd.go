//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// crowds are the cases in which k goroutines send and k receive, in one process.
func crowds[T any](what string, k, n int) []bench {
	group := fmt.Sprintf("%s, %d senders and %d receivers in one process", what, k, k)
	all := []bench{
		{group: group, name: "queue, Sender and Receiver", n: n, here: &queueCrowd[T]{k: k}},
		{group: group, name: "Go channel", n: n, here: &channelCrowd[T]{k: k}},
	}
	for kind, name := range bareKinds {
		x := &bareCrowd[T]{k: k}
		x.kind = kind
		all = append(all, bench{group: group, name: name, n: n, here: x})
	}
	return all
}

// each calls f in k goroutines, and waits for them.
func each(k int, f func()) {
	var wg sync.WaitGroup
	for range k {
		wg.Go(f)
	}
	wg.Wait()
}

type queueCrowd[T any] struct {
	k int
	q *queue.Queue[T]
}

func (x *queueCrowd[T]) open()  { x.q = openQueue[T](true, false, "") }
func (x *queueCrowd[T]) close() { x.q.Close() }

func (x *queueCrowd[T]) run(n int) {
	n /= x.k
	go each(x.k, func() {
		s, err := x.q.Sender()
		must(err)
		defer s.Close()
		var v T
		for range n {
			must(s.Send(ctx, v))
		}
	})
	each(x.k, func() {
		r, err := x.q.Receiver()
		must(err)
		defer r.Close()
		for range n {
			_, err := r.Recv(ctx)
			must(err)
		}
	})
}

type channelCrowd[T any] struct {
	k int
	c chan T
}

func (x *channelCrowd[T]) open()  { x.c = make(chan T, capacity) }
func (x *channelCrowd[T]) close() {}

func (x *channelCrowd[T]) run(n int) {
	n /= x.k
	go each(x.k, func() {
		var v T
		for range n {
			x.c <- v
		}
	})
	each(x.k, func() {
		for range n {
			<-x.c
		}
	})
}

// sizes are the cases whose cost should not depend on the number of places.
func sizes() (all []bench) {
	for _, shift := range []int{10, 20, 23} {
		group := fmt.Sprintf("2^%d places", shift)
		all = append(all,
			bench{group: group, name: "TryRecv of an empty queue", n: 1_000_000,
				here: &sized{places: 1 << shift, run1: tryEmpty}},
			bench{group: group, name: "RecvFunc that fails", n: 200_000,
				here: &sized{places: 1 << shift, run1: failLease}},
			bench{group: group, name: "1 ms of waiting", n: 300,
				here: &sized{places: 1 << shift, run1: idle}},
		)
	}
	return all
}

// sized is a queue of so many places.
type sized struct {
	places int
	run1   func(q *queue.Queue[small], n int)
	q      *queue.Queue[small]
}

func (x *sized) open() {
	var err error
	x.q, err = queue.Create[small](*base, &queue.Options{
		Capacity: x.places, Lifetime: shmem.Owned, Populate: -1,
	})
	must(err)
}

func (x *sized) close()    { x.q.Close() }
func (x *sized) run(n int) { x.run1(x.q, n) }

func tryEmpty(q *queue.Queue[small], n int) {
	for range n {
		if _, err := q.TryRecv(); !errors.Is(err, queue.ErrEmpty) {
			must(err)
		}
	}
}

var errNotNow = errors.New("not now")

func failLease(q *queue.Queue[small], n int) {
	must(q.Send(ctx, small{}))
	for range n {
		if err := q.RecvFunc(ctx, func(*small) error { return errNotNow }); err != errNotNow {
			must(err)
		}
	}
}

// idle waits for n milliseconds.
func idle(q *queue.Queue[small], n int) {
	c, cancel := context.WithTimeout(ctx, time.Duration(n)*time.Millisecond)
	defer cancel()
	if _, err := q.Recv(c); !errors.Is(err, context.DeadlineExceeded) {
		must(err)
	}
}
