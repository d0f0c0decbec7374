package queue

import (
	"context"
	"time"

	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// singleItems is the form of a Queue for one sender and one receiver.
type singleItems struct {
	single
	spsc        *ring.SPSC
	quick       *ring.SPSCHeader    // header; that of slowly where there is no fast path
	ownSender   *singleItemSender   // of the queue's own methods; guarded by sendSide.lock
	ownReceiver *singleItemReceiver // likewise; guarded by recvSide.lock
}

func (q *singleItems) bind(l *layout.Queue) (err error) {
	if err := q.bindSingle(l, l.Capacity, l.Capacity); err != nil {
		return err
	}
	q.quick = q.header
	if err := q.bindStamps(l); err != nil {
		return err
	}
	if q.stamps != nil {
		q.stampAt = func(head uint64) int64 {
			return int64(q.stamps[head%uint64(len(q.stamps))].Load())
		}
	}
	q.spsc, err = ring.NewSPSC(q.header, l.Capacity)
	return err
}

func (q *singleItems) sender(ctx context.Context) (itemSender, error) {
	side := &q.sendSide
	if side.lock.tryLock() {
		if q.ownSender != nil && !q.M.Closed() {
			return q.ownSender, nil
		}
		side.lock.unlock()
	}
	owned := func() bool { return q.ownSender != nil }
	if err := q.begin(ctx, side, owned, q.takeSender, ErrFull); err != nil {
		return nil, err
	}
	return q.ownSender, nil
}

// takeSender makes this attachment the sender, until Close. The caller holds sendSide.lock.
func (q *singleItems) takeSender() error {
	s, err := ownSide(&q.single, &q.sendSide, q.spsc.Sender)
	if err == nil {
		q.ownSender = &singleItemSender{q, s, nil, q.quick, q.M}
	}
	return err
}

func (q *singleItems) receiver(ctx context.Context) (itemReceiver, error) {
	side := &q.recvSide
	if side.lock.tryLock() {
		if q.ownReceiver != nil && !q.M.Closed() {
			return q.ownReceiver, nil
		}
		side.lock.unlock()
	}
	owned := func() bool { return q.ownReceiver != nil }
	if err := q.begin(ctx, side, owned, q.takeReceiver, ErrEmpty); err != nil {
		return nil, err
	}
	return q.ownReceiver, nil
}

// takeReceiver makes this attachment the receiver, until Close. The caller holds recvSide.lock.
func (q *singleItems) takeReceiver() error {
	r, err := ownSide(&q.single, &q.recvSide, q.spsc.Receiver)
	if err == nil {
		q.ownReceiver = &singleItemReceiver{q: q, ring: r, header: q.quick, m: q.M}
	}
	return err
}

func (q *singleItems) newSender(stop *stream.Stop) (itemSender, func(), error) {
	s, err := enterSide(&q.single, &q.sendSide, q.spsc.Sender)
	if err != nil {
		return nil, nil, err
	}
	return &singleItemSender{q, s, stop, q.quick, q.M}, s.Leave, nil
}

func (q *singleItems) newReceiver(stop *stream.Stop) (itemReceiver, func(), error) {
	r, err := enterSide(&q.single, &q.recvSide, q.spsc.Receiver)
	if err != nil {
		return nil, nil, err
	}
	return &singleItemReceiver{q: q, ring: r, stop: stop, header: q.quick, m: q.M}, r.Leave, nil
}

// A singleItemSender is the sending end. One goroutine at a time calls its methods.
type singleItemSender struct {
	q      *singleItems
	ring   *ring.Sender
	stop   *stream.Stop     // of a Sender
	header *ring.SPSCHeader // quick of q
	m      *mem.Mapping     // of q
}

func (s *singleItemSender) leave() { s.q.sendSide.lock.unlock() }

func (s *singleItemSender) claim(ctx context.Context, n int) (r run, err error) {
	q := s.q
	if q.header.Closed.Load() != 0 {
		return r, q.sendErrors.Of(stream.Closed(&q.header.Closed, ErrEnded))
	}
	var b stream.Backoff
	for {
		if r.first, r.n, err = s.ring.Reserve(n); err == nil {
			step.Reach(step.QueueClaimed)
			return r, nil
		}
		if err := q.retrySend(s.stop.With(ctx), &b, err); err != nil {
			return run{}, q.sendErrors.Of(err)
		}
		// The next wait is for another head than this one. It is loaded here only, because the load
		// takes the cache line from the receiver.
		q.fullHead.Store(q.header.Head.Load())
	}
}

func (s *singleItemSender) publish(r run) error {
	q := s.q
	if q.stamps != nil {
		q.stamps.write(r)
	}
	step.Reach(step.QueueWritten)
	if robust.RaceEnabled {
		robust.Releasing(q.Object(), &q.header.RecvArmed)
	}
	if q.lightSend() {
		s.ring.Publish(r.n)
	} else {
		s.ring.PublishFence(r.n)
	}
	q.published()
	return nil
}

// next returns a slot that is known to be free, where it can be published without a barrier.
func (s *singleItemSender) next() (slot int, ok bool) {
	if s.header.Closed.Load() != 0 || !fence.Light || s.header.RecvWait.Load() != 0 {
		return 0, false
	}
	return s.ring.Next()
}

// cancel has nothing to do: nothing was claimed in shared memory.
func (s *singleItemSender) cancel(run) {}

// A singleItemReceiver is the receiving end. One goroutine at a time calls its methods.
type singleItemReceiver struct {
	q      *singleItems
	ring   *ring.Receiver
	stop   *stream.Stop     // of a Receiver
	header *ring.SPSCHeader // quick of q
	m      *mem.Mapping     // of q
	last   lastSent
}

func (r *singleItemReceiver) leave() { r.q.recvSide.lock.unlock() }

func (r *singleItemReceiver) take(ctx context.Context, n int) (m run, err error) {
	q := r.q
	var b stream.Backoff
	for {
		if m.first, m.n, err = r.ring.Peek(n); err == nil {
			break
		}
		if err := q.retryRecv(r.stop.With(ctx), &b, err); err != nil {
			return run{}, q.recvErrors.Of(err)
		}
	}
	step.Reach(step.QueueTaken)
	if robust.RaceEnabled {
		robust.Acquired(q.Object(), &q.header.RecvArmed)
	}
	if q.stamps != nil {
		m.sent = q.stamps.of(m)
		r.last.took(m.sent)
	}
	return m, nil
}

func (r *singleItemReceiver) release(m run) error {
	q := r.q
	step.Reach(step.QueueRead)
	if q.lightRecv() {
		r.ring.Release(m.n)
	} else {
		r.ring.ReleaseFence(m.n)
	}
	q.released()
	return nil
}

// light reports whether a message can be released without a barrier.
func (r *singleItemReceiver) light() bool { return fence.Light && r.header.SendWait.Load() == 0 }

// redeliver has little to do: a message that is not released stays.
func (r *singleItemReceiver) redeliver(run, time.Duration) error {
	r.last.forget()
	return nil
}

func (r *singleItemReceiver) sent() int64 { return r.last.stamp }

func (r *singleItemReceiver) wait(ctx context.Context) error {
	return r.q.waitReceiver(r.stop.With(ctx))
}
