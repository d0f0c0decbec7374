package queue

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// manyItems is the form of a Queue for any number of senders and receivers. It is its own end: its
// methods may be called concurrently.
type manyItems struct {
	many
	mpmc    *ring.MPMC
	canSend func() bool // a sender that waits should try again
}

func (q *manyItems) bind(l *layout.Queue) error {
	h, err := mem.At[ring.MPMCHeader](q.M, 0)
	if err != nil {
		return err
	}
	slots, err := stream.QueueSlots(q.M, l)
	if err != nil {
		return err
	}
	if q.mpmc, err = ring.NewMPMC(h, slots); err != nil {
		return err
	}
	marks, err := mem.SliceAt[atomic.Uint64](q.M, l.Marks, l.Capacity)
	if err != nil {
		return err
	}
	if err := q.mpmc.SetMarks(marks); err != nil {
		return err
	}
	if err := q.bindStamps(l); err != nil {
		return err
	}
	q.bindMany(h, q.mpmc, l.Capacity)
	q.canSend = q.mpmc.CanClaim
	q.alike = true
	return nil
}

func (q *manyItems) sender(context.Context) (itemSender, error) {
	if err := q.Enter(); err != nil {
		return nil, q.sendErrors.Of(err)
	}
	return q, nil
}

func (q *manyItems) receiver(context.Context) (itemReceiver, error) {
	if err := q.Enter(); err != nil {
		return nil, q.recvErrors.Of(err)
	}
	return q, nil
}

func (q *manyItems) newSender(stop *stream.Stop) (itemSender, func(), error) {
	return &manyItemsEnd{manyItems: q, stop: stop}, func() {}, nil
}

func (q *manyItems) newReceiver(stop *stream.Stop) (itemReceiver, func(), error) {
	return &manyItemsEnd{manyItems: q, stop: stop}, func() {}, nil
}

// A manyItemsEnd is the end of a Sender or Receiver.
type manyItemsEnd struct {
	*manyItems
	stop *stream.Stop
	last lastSent // of a Receiver
}

func (e *manyItemsEnd) claim(ctx context.Context, n int) (run, error) {
	return e.manyItems.claim(e.stop.With(ctx), n)
}

func (e *manyItemsEnd) take(ctx context.Context, n int) (run, error) {
	r, err := e.manyItems.take(e.stop.With(ctx), n)
	if err == nil {
		e.last.took(r.sent)
	}
	return r, err
}

func (e *manyItemsEnd) release(r run) error {
	err := e.manyItems.release(r)
	if err != nil {
		e.last.forget()
	}
	return err
}

func (e *manyItemsEnd) redeliver(r run, delay time.Duration) error {
	e.last.forget()
	return e.manyItems.redeliver(r, delay)
}

func (e *manyItemsEnd) forget()     { e.last.forget() }
func (e *manyItemsEnd) sent() int64 { return e.last.stamp }

func (e *manyItemsEnd) wait(ctx context.Context) error {
	return e.manyItems.wait(e.stop.With(ctx))
}

func (q *manyItems) claim(ctx context.Context, n int) (r run, err error) {
	var t tries
	for {
		if r.pos, r.n, err = q.mpmc.ClaimN(q.Self, n); err == nil {
			break
		}
		if err := q.retrySend(ctx, &t, err, q.canSend); err != nil {
			q.passRoom(&t, q.canSend)
			return r, q.sendErrors.Of(err)
		}
	}
	q.passRoom(&t, q.canSend)
	step.Reach(step.QueueClaimed)
	r.first = q.mpmc.Index(r.pos)
	return r, nil
}

func (q *manyItems) publish(r run) error {
	if q.stamps != nil {
		q.stamps.write(r)
	}
	step.Reach(step.QueueWritten)
	if robust.RaceEnabled {
		robust.Releasing(q.Object(), &q.header.RecvArmed)
	}
	if err := q.mpmc.PublishN(q.Self, r.pos, r.n); err != nil {
		return q.sendErrors.Corrupt(err)
	}
	q.published(r.n)
	return nil
}

func (q *manyItems) cancel(r run) { q.cancelAt(r.pos) }

func (q *manyItems) take(ctx context.Context, n int) (r run, err error) {
	var t tries
	for {
		if r.pos, r.n, err = q.mpmc.TakeN(q.Self, n); err == nil {
			if r.lease = (lease{deliveries: 1}); n > 1 {
				r.lease.kind = batched
			}
			break
		}
		if err == ring.ErrReturned {
			var ok bool
			if r.pos, r.lease, ok = q.retake(); ok {
				r.n = 1
				break
			}
		}
		if err := q.retryRecv(ctx, &t, err); err != nil {
			q.passMessage(&t)
			return r, q.recvErrors.Of(err)
		}
	}
	q.passMessage(&t)
	step.Reach(step.QueueTaken)
	if robust.RaceEnabled {
		robust.Acquired(q.Object(), &q.header.RecvArmed)
	}
	r.first = q.mpmc.Index(r.pos)
	if q.stamps != nil {
		r.sent = q.stamps.of(r)
	}
	return r, nil
}

// sent returns nothing: the calls of the queue's own methods are those of many goroutines.
func (q *manyItems) sent() int64 { return 0 }

func (q *manyItems) release(r run) error {
	step.Reach(step.QueueRead)
	switch r.lease.kind {
	case fresh:
		if q.mpmc.ReleaseFence(q.Self, r.pos) != nil {
			return q.lost()
		}
	case batched:
		if err := q.mpmc.ReleaseN(q.Self, r.pos, r.n); err != nil {
			return q.recvErrors.Corrupt(err)
		}
	default:
		return q.releaseAgain(r.pos, r.lease)
	}
	q.released(r.n)
	return nil
}

func (q *manyItems) redeliver(r run, delay time.Duration) error {
	return q.returnAt(r.pos, r.lease, delay)
}
