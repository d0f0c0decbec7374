//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// queueItems is how many messages a queue holds. It is a few, so that queues are often empty and
// often full.
const queueItems = 8

func (w *worker) openQueue(n int) *queue.Queue[uint64] {
	began := time.Now()
	q, err := queue.Open[uint64](w.name(n), &queue.Options{
		Dir: w.dir, Capacity: queueItems, Lifetime: shmem.Shared,
		Timeout: time.Duration(w.cfg.timeout),
	})
	if !w.expect("queue.Open", err, began) {
		return nil
	}
	w.a.count(attached)
	return q
}

// visitQueue opens a queue, sends and receives a little, and closes it. Most visits leave messages
// behind.
func (w *worker) visitQueue(n int) {
	q := w.openQueue(n)
	if q == nil {
		return
	}
	w.point()
	for range w.rng.IntN(3) {
		if w.percent(55) {
			w.sendTo(q)
		} else {
			w.receiveFrom(q, time.Millisecond)
		}
		w.point()
	}
	if w.oneIn(150) {
		w.exit()
	}
	began := time.Now()
	w.expect("Close", q.Close(), began)
}

// sendTo sends one message. It is recorded when Send has returned nil: it must be received then.
func (w *worker) sendTo(q *queue.Queue[uint64]) {
	id := w.a.ids.Add(1)
	if id >= maxSegments {
		return
	}
	switch err := q.TrySend(id); {
	case err == nil:
		w.a.segments[id].sent().Store(1)
		w.a.count(sends)
	case !errors.Is(err, queue.ErrFull):
		w.violate(unexpected, "TrySend: %v", err)
	}
}

// receiveFrom receives one message, if there is one. It is recorded before the queue forgets it: a
// message whose receiver dies in between is redelivered.
func (w *worker) receiveFrom(q *queue.Queue[uint64], limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := q.RecvFunc(ctx, func(id *uint64) error {
		if *id == 0 || *id >= maxSegments {
			w.violate(unexpected, "message %d was never sent", *id)
			return nil
		}
		w.a.segments[*id].received().Add(1)
		w.point()
		return nil
	})
	if err == nil {
		w.a.count(receives)
	} else if !errors.Is(err, context.DeadlineExceeded) {
		w.violate(unexpected, "RecvFunc: %v", err)
	}
	return err == nil
}

// drainQueue receives all that is left in a queue.
func (w *worker) drainQueue(n int) {
	q := w.openQueue(n)
	if q == nil {
		return
	}
	for t := time.Now(); time.Since(t) < patience; {
		// A message that a dead receiver had comes again when its death is noticed.
		if !w.receiveFrom(q, 200*time.Millisecond) && q.Len() == 0 {
			break
		}
	}
	began := time.Now()
	w.expect("Close", q.Close(), began)
}
