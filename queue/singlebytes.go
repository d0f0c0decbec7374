package queue

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// stampSize is what a time stamp takes before a message.
const stampSize = 8

// singleBytes is the form of a Bytes for one sender and one receiver.
type singleBytes struct {
	single
	spsc        *ring.SPSCBytes
	stamp       int                 // bytes of the stamp before each message, 0 or stampSize
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
	if l.Stamped {
		q.stamp = stampSize
		q.stampAt = func(head uint64) int64 { return stream.RecordStamp(q.M, l, head) }
	}
	q.spsc, err = ring.NewSPSCBytes(q.header, data)
	return err
}

func (q *singleBytes) maxLen() int   { return q.spsc.Max() - q.stamp }
func (q *singleBytes) capacity() int { return q.size }

func (q *singleBytes) sender(ctx context.Context) (byteSender, error) {
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
func (q *singleBytes) takeSender() error {
	s, err := ownSide(&q.single, &q.sendSide, q.spsc.Sender)
	if err == nil {
		q.ownSender = &singleByteSender{q: q, ring: s}
	}
	return err
}

func (q *singleBytes) receiver(ctx context.Context) (byteReceiver, error) {
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
func (q *singleBytes) takeReceiver() error {
	r, err := ownSide(&q.single, &q.recvSide, q.spsc.Receiver)
	if err == nil {
		q.ownReceiver = &singleByteReceiver{q: q, ring: r}
	}
	return err
}

func (q *singleBytes) newSender(stop *stream.Stop) (byteSender, func(), error) {
	s, err := enterSide(&q.single, &q.sendSide, q.spsc.Sender)
	if err != nil {
		return nil, nil, err
	}
	return &singleByteSender{q: q, ring: s, stop: stop}, func() {
		q.sendSide.waiter.peer = nil
		s.Leave()
	}, nil
}

func (q *singleBytes) newReceiver(stop *stream.Stop) (byteReceiver, func(), error) {
	r, err := enterSide(&q.single, &q.recvSide, q.spsc.Receiver)
	if err != nil {
		return nil, nil, err
	}
	return &singleByteReceiver{q: q, ring: r, stop: stop}, func() {
		q.recvSide.waiter.peer = nil
		r.Leave()
	}, nil
}

// A singleByteSender is the sending end. One goroutine at a time calls its methods.
type singleByteSender struct {
	q    *singleBytes
	ring *ring.ByteSender
	stop *stream.Stop // of a BytesSender
	held bool         // messages are written and not published
	sent []byte       // where the stamp of the reserved message is
}

func (s *singleByteSender) leave() { s.q.sendSide.lock.unlock() }

func (s *singleByteSender) reserve(ctx context.Context, n int) ([]byte, uint64, error) {
	q := s.q
	var backoff stream.Backoff
	for waited := false; ; waited = true {
		b, err := s.try(n)
		if err == ring.ErrFull {
			// Look once more, and remember the head that a wait is for. The first look does
			// without, because the load takes the cache line from the receiver.
			q.fullHead.Store(q.header.Head.Load())
			if b, err = s.try(n); err == ring.ErrFull {
				s.flush() // room comes only if the receiver sees these
			}
		}
		if err == nil {
			step.Reach(step.QueueClaimed)
			s.sent = b[:q.stamp]
			return b[q.stamp:], 0, nil
		}
		if err == ring.ErrTooBig {
			return nil, 0, q.sendErrors.Of(tooBig(n, q.maxLen()))
		}
		if waited && err == ring.ErrFull && q.sendSide.waiter.peerGone() {
			return nil, 0, q.sendErrors.Of(errReceiverGone)
		}
		if err := q.retrySend(s.stop.With(ctx), &backoff, err); err != nil {
			return nil, 0, q.sendErrors.Of(err)
		}
	}
}

func (s *singleByteSender) try(n int) ([]byte, error) {
	if s.q.header.Closed.Load() != 0 {
		return nil, ring.ErrClosed
	}
	if n < 0 || n > s.q.maxLen() {
		return nil, ring.ErrTooBig
	}
	return s.ring.Reserve(n + s.q.stamp)
}

func (s *singleByteSender) publish(_ uint64, n int, more bool, sent int64) error {
	if len(s.sent) > 0 {
		binary.NativeEndian.PutUint64(s.sent, uint64(stampNow(sent)))
	}
	step.Reach(step.QueueWritten)
	s.ring.Commit(n + s.q.stamp)
	s.q.sendSide.waiter.count++
	if s.held = true; !more {
		s.flush()
	}
	return nil
}

// flush publishes the messages that are written.
func (s *singleByteSender) flush() {
	if !s.held {
		return
	}
	s.held = false
	q := s.q
	if robust.RaceEnabled {
		robust.Releasing(q.Object(), &q.header.RecvArmed)
	}
	if q.lightSend() {
		s.ring.Publish()
	} else {
		s.ring.PublishFence()
	}
	mem.PrefetchWrite(s.ring.Ahead())
	q.published()
}

func (s *singleByteSender) watchPeer() { s.q.watchPeer(&s.q.sendSide, &s.q.recvSide) }

// cancel has nothing to do: nothing was claimed in shared memory.
func (s *singleByteSender) cancel(uint64) {}

// A singleByteReceiver is the receiving end. One goroutine at a time calls its methods.
type singleByteReceiver struct {
	q    *singleBytes
	ring *ring.ByteReceiver
	stop *stream.Stop // of a BytesReceiver
	last lastSent
}

func (r *singleByteReceiver) leave() { r.q.recvSide.lock.unlock() }

func (r *singleByteReceiver) take(ctx context.Context) (b []byte, m run, err error) {
	q := r.q
	var backoff stream.Backoff
	for gone := false; ; gone = q.recvSide.waiter.peerGone() {
		b, err = r.next(&m)
		if err == nil {
			break
		}
		if gone && err == ring.ErrEmpty {
			return nil, m, q.recvErrors.Of(errSenderGone)
		}
		if err := q.retryRecv(r.stop.With(ctx), &backoff, err); err != nil {
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

// next returns the next message, and finds its stamp.
func (r *singleByteReceiver) next(m *run) ([]byte, error) {
	b, err := r.ring.Next()
	if err != nil || r.q.stamp == 0 {
		return b, err
	}
	if len(b) < stampSize {
		return nil, ring.ErrCorrupt
	}
	m.sent = int64(binary.NativeEndian.Uint64(b))
	r.last.took(m.sent)
	return b[stampSize:], nil
}

func (r *singleByteReceiver) watchPeer() { r.q.watchPeer(&r.q.recvSide, &r.q.sendSide) }

// another releases nothing: release consumes all that was taken.
func (r *singleByteReceiver) another(m run) (b []byte, next run, err error) {
	b, err = r.next(&m)
	if err != nil {
		return nil, m, nil // the next call finds out
	}
	r.q.recvSide.waiter.count++
	if robust.RaceEnabled {
		robust.Acquired(r.q.Object(), &r.q.header.RecvArmed)
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

// redeliver makes the message of take, which is not released, the next one again.
func (r *singleByteReceiver) redeliver(run, time.Duration) error {
	r.ring.Rewind()
	r.last.forget()
	return nil
}

func (r *singleByteReceiver) sent() int64 { return r.last.stamp }

func (r *singleByteReceiver) wait(ctx context.Context) error {
	return r.q.waitReceiver(r.stop.With(ctx))
}
