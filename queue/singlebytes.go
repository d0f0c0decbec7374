package queue

import (
	"context"
	"math"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// singleBytes is the form of a Bytes for one sender and one receiver.
type singleBytes struct {
	single
	spsc        *ring.SPSCBytes
	ownSender   *singleByteSender   // of the queue's own methods; guarded by sendSide.lock
	ownReceiver *singleByteReceiver // likewise; guarded by recvSide.lock
}

func (q *singleBytes) bind(l *layout.Queue) error {
	if err := q.bindSingle(l, l.Bytes, math.MaxInt); err != nil {
		return err
	}
	data, err := mem.SliceAt[byte](q.M, l.Items, l.Bytes)
	if err != nil {
		return err
	}
	q.spsc, err = ring.NewSPSCBytes(q.header, data)
	return err
}

func (q *singleBytes) maxLen() int   { return q.spsc.Max() }
func (q *singleBytes) capacity() int { return q.size }

func (q *singleBytes) sender(ctx context.Context) (byteSender, error) {
	if err := q.begin(ctx, &q.sendSide); err != nil {
		return nil, q.sendSide.beginError(err, ErrFull)
	}
	if q.ownSender == nil {
		if err := q.takeSender(); err != nil {
			return nil, err
		}
	}
	return q.ownSender, nil
}

// takeSender makes this attachment the sender, until Close. The caller holds sendSide.lock.
func (q *singleBytes) takeSender() error {
	err := q.stillTaken(&q.sendSide)
	if err != nil {
		q.finish(&q.sendSide)
		return err
	}
	s, err := ownSide(&q.single, &q.sendSide, q.spsc.Sender)
	if err != nil {
		q.finish(&q.sendSide)
		return err
	}
	q.ownSender = &singleByteSender{q, s}
	return nil
}

func (q *singleBytes) receiver(ctx context.Context) (byteReceiver, error) {
	if err := q.begin(ctx, &q.recvSide); err != nil {
		return nil, q.recvSide.beginError(err, ErrEmpty)
	}
	if q.ownReceiver == nil {
		if err := q.takeReceiver(); err != nil {
			return nil, err
		}
	}
	return q.ownReceiver, nil
}

// takeReceiver makes this attachment the receiver, until Close. The caller holds recvSide.lock.
func (q *singleBytes) takeReceiver() error {
	err := q.stillTaken(&q.recvSide)
	if err != nil {
		q.finish(&q.recvSide)
		return err
	}
	r, err := ownSide(&q.single, &q.recvSide, q.spsc.Receiver)
	if err != nil {
		q.finish(&q.recvSide)
		return err
	}
	q.ownReceiver = &singleByteReceiver{q, r}
	return nil
}

// A singleByteSender is the sending end. One goroutine at a time calls its methods.
type singleByteSender struct {
	q    *singleBytes
	ring *ring.ByteSender
}

func (s *singleByteSender) leave() { s.q.finish(&s.q.sendSide) }

func (s *singleByteSender) reserve(ctx context.Context, n int) ([]byte, uint64, error) {
	q := s.q
	var backoff stream.Backoff
	for {
		b, err := s.try(n)
		if err == ring.ErrFull {
			// Look once more, and remember the head that a wait is for. The first look does
			// without, because the load takes the cache line from the receiver.
			q.fullHead.Store(q.header.Head.Load())
			b, err = s.try(n)
		}
		if err == nil {
			step.Reach(step.QueueClaimed)
			return b, 0, nil
		}
		if err == ring.ErrTooBig {
			return nil, 0, q.sendErrors.Of(tooBig(n, q.maxLen()))
		}
		if err := q.retrySend(ctx, &backoff, err); err != nil {
			return nil, 0, q.sendErrors.Of(err)
		}
	}
}

func (s *singleByteSender) try(n int) ([]byte, error) {
	if s.q.header.Closed.Load() != 0 {
		return nil, ring.ErrClosed
	}
	return s.ring.Reserve(n)
}

func (s *singleByteSender) publish(_ uint64, n int) error {
	q := s.q
	step.Reach(step.QueueWritten)
	if robust.RaceEnabled {
		robust.Releasing(q.Object(), &q.header.RecvArmed)
	}
	s.ring.Commit(n)
	if q.lightSend() {
		s.ring.Publish()
	} else {
		s.ring.PublishFence()
	}
	q.sendSide.waiter.count++
	mem.PrefetchWrite(s.ring.Ahead())
	q.published()
	return nil
}

// cancel has nothing to do: nothing was claimed in shared memory.
func (s *singleByteSender) cancel(uint64) {}

// A singleByteReceiver is the receiving end. One goroutine at a time calls its methods.
type singleByteReceiver struct {
	q    *singleBytes
	ring *ring.ByteReceiver
}

func (r *singleByteReceiver) leave() { r.q.finish(&r.q.recvSide) }

func (r *singleByteReceiver) take(ctx context.Context) (b []byte, m run, err error) {
	q := r.q
	var backoff stream.Backoff
	for {
		b, err = r.ring.Next()
		if err == nil {
			break
		}
		if err := q.retryRecv(ctx, &backoff, err); err != nil {
			return nil, m, q.recvErrors.Of(err)
		}
	}
	if p := r.ring.Ahead(); p != nil {
		mem.Prefetch(p)
	}
	step.Reach(step.QueueTaken)
	if robust.RaceEnabled {
		robust.Acquired(q.Object(), &q.header.RecvArmed)
	}
	return b, m, nil
}

func (r *singleByteReceiver) release(run) error {
	q := r.q
	step.Reach(step.QueueRead)
	if q.lightRecv() {
		r.ring.Release()
	} else {
		r.ring.ReleaseFence()
	}
	q.recvSide.waiter.count++
	q.released()
	return nil
}

// redeliver makes the message of take, which is not released, the next one again: it makes a new
// end of the ring, which begins there.
func (r *singleByteReceiver) redeliver(run, time.Duration) error {
	q := r.q
	r.ring.Leave()
	again, err := q.spsc.Receiver(q.Self, func(id uint32) bool { return id != q.Self })
	if err != nil { // another attachment has the end now: the next call asks for it
		q.ownReceiver = nil
		return nil
	}
	r.ring = again
	return nil
}

func (r *singleByteReceiver) wait(ctx context.Context) error { return r.q.waitReceiver(ctx) }
