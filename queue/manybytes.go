package queue

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// manyBytes is the form of a Bytes for any number of senders and receivers. It is its own end: its
// methods may be called concurrently.
type manyBytes struct {
	many
	mpmc *ring.MPMCBytes
	gate *atomic.Uint64 // id of the attachment that claims a message; 0: none does
	data []byte
}

func (q *manyBytes) bind(l *layout.Queue) error {
	h, err := mem.At[ring.MPMCBytesHeader](q.M, 0)
	if err != nil {
		return err
	}
	slots, err := mem.SliceAt[atomic.Uint64](q.M, l.Slots, l.Capacity)
	if err != nil {
		return err
	}
	extents, err := mem.SliceAt[ring.Extent](q.M, l.Extents, l.Capacity)
	if err != nil {
		return err
	}
	if q.data, err = mem.SliceAt[byte](q.M, l.Items, l.Bytes); err != nil {
		return err
	}
	if q.mpmc, err = ring.NewMPMCBytes(h, slots, extents, l.Bytes); err != nil {
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
	q.bindMany(&h.MPMCHeader, q.mpmc, math.MaxInt)
	q.gate = &h.Gate
	return nil
}

func (q *manyBytes) maxLen() int   { return q.mpmc.Size() }
func (q *manyBytes) capacity() int { return q.mpmc.Cap() }

func (q *manyBytes) sender(context.Context) (byteSender, error) {
	if err := q.Enter(); err != nil {
		return nil, q.sendErrors.Of(err)
	}
	return q, nil
}

func (q *manyBytes) receiver(context.Context) (byteReceiver, error) {
	if err := q.Enter(); err != nil {
		return nil, q.recvErrors.Of(err)
	}
	return q, nil
}

func (q *manyBytes) newSender(stop *stream.Stop) (byteSender, func(), error) {
	return &manyBytesEnd{manyBytes: q, stop: stop}, func() {}, nil
}

func (q *manyBytes) newReceiver(stop *stream.Stop) (byteReceiver, func(), error) {
	return &manyBytesEnd{manyBytes: q, stop: stop}, func() {}, nil
}

// A manyBytesEnd is the end of a BytesSender or BytesReceiver.
type manyBytesEnd struct {
	*manyBytes
	stop *stream.Stop
	last lastSent // of a BytesReceiver
}

func (q *manyBytes) watchPeer() {}

func (e *manyBytesEnd) reserve(ctx context.Context, n int) ([]byte, uint64, error) {
	return e.manyBytes.reserve(e.stop.With(ctx), n)
}

func (e *manyBytesEnd) take(ctx context.Context) ([]byte, run, error) {
	b, r, err := e.manyBytes.take(e.stop.With(ctx))
	if err == nil {
		e.last.took(r.sent)
	}
	return b, r, err
}

func (e *manyBytesEnd) another(r run) ([]byte, run, error) {
	b, next, err := e.manyBytes.another(r)
	if b != nil {
		e.last.took(next.sent)
	} else if err != nil {
		e.last.forget()
	}
	return b, next, err
}

func (e *manyBytesEnd) release(r run) error {
	err := e.manyBytes.release(r)
	if err != nil {
		e.last.forget()
	}
	return err
}

func (e *manyBytesEnd) redeliver(r run, delay time.Duration) error {
	e.last.forget()
	return e.manyBytes.redeliver(r, delay)
}

func (e *manyBytesEnd) forget()     { e.last.forget() }
func (e *manyBytesEnd) sent() int64 { return e.last.stamp }

func (e *manyBytesEnd) wait(ctx context.Context) error {
	return e.manyBytes.wait(e.stop.With(ctx))
}

func (q *manyBytes) reserve(ctx context.Context, n int) (b []byte, pos uint64, err error) {
	pos, off, err := q.mpmc.Claim(q.Self, n)
	if err != nil {
		if pos, off, err = q.claimSlow(ctx, n, err); err != nil {
			return nil, 0, q.sendErrors.Of(err)
		}
	}
	step.Reach(step.QueueClaimed)
	return q.data[off : off+n : off+n], pos, nil
}

// gateTries bounds the tries of a call that does not block to get through the gate. Each takes far
// less than 1 µs, unless the holder of the gate is stopped.
const gateTries = 1000

func (q *manyBytes) claimSlow(
	ctx context.Context, n int, err error,
) (pos uint64, off int, _ error) {
	var ready func() bool
	if !stream.Tries(ctx) {
		ready = func() bool { return q.mpmc.CanClaim(n) }
	}
	var t tries
	defer q.passRoom(&t, nil)
	for err != nil {
		switch {
		case err == ring.ErrTooBig:
			return 0, 0, tooBig(n, q.maxLen())
		case err == ring.ErrBusy && stream.Tries(ctx) && t.n < gateTries:
			q.repairGate()
			t.n++
		default:
			if err := q.retrySend(ctx, &t, err, ready); err != nil {
				return 0, 0, err
			}
		}
		pos, off, err = q.mpmc.Claim(q.Self, n)
	}
	return pos, off, nil
}

// repairGate opens the gate if its holder is dead.
func (q *manyBytes) repairGate() {
	if id := q.gate.Load(); id != 0 && uint32(id) != q.Self {
		q.RepairIfDue()
	}
}

func tooBig(n, limit int) error {
	return fmt.Errorf("%w: %d bytes, MaxLen is %d; see BytesOptions.Bytes", ErrTooBig, n, limit)
}

func (q *manyBytes) publish(pos uint64, _ int, _ bool, sent int64) error {
	if q.stamps != nil {
		q.stamps.write(run{first: q.mpmc.Index(pos), n: 1, sent: sent})
	}
	step.Reach(step.QueueWritten)
	if robust.RaceEnabled {
		robust.Releasing(q.Object(), &q.header.RecvArmed)
	}
	if err := q.mpmc.PublishFence(q.Self, pos); err != nil {
		return q.sendErrors.Corrupt(err)
	}
	q.published(1)
	// A sender may have armed after the room that it waits for had become free, and before this
	// call looked: wake it as well.
	q.released(1)
	return nil
}

// flush has nothing to do: every message is published at once.
func (q *manyBytes) flush() {}

func (q *manyBytes) cancel(pos uint64) { q.cancelAt(pos) }

func (q *manyBytes) take(ctx context.Context) (b []byte, r run, err error) {
	var t tries
	for {
		if r.pos, err = q.mpmc.Take(q.Self); err == nil {
			r.lease = lease{deliveries: 1}
		} else if err == ring.ErrReturned {
			var ok bool
			if r.pos, r.lease, ok = q.retake(); ok {
				err = nil
			}
		}
		if err == nil {
			if b, err = q.message(&r); err == nil {
				break
			}
			_ = q.consume(r) // no receiver could read it
		}
		if err := q.retryRecv(ctx, &t, err); err != nil {
			q.passMessage(&t)
			return nil, run{}, q.recvErrors.Of(err)
		}
	}
	q.passMessage(&t)
	step.Reach(step.QueueTaken)
	if robust.RaceEnabled {
		robust.Acquired(q.Object(), &q.header.RecvArmed)
	}
	return b, r, nil
}

// another releases the message before: messages in between may be those of other receivers. One
// whose extent is corrupt is left to the next call, which returns the error.
func (q *manyBytes) another(r run) (b []byte, next run, err error) {
	if r.lease.kind != fresh {
		return nil, r, nil
	}
	pos, err := q.mpmc.Take(q.Self)
	if err != nil {
		return nil, r, nil // the next call finds out
	}
	step.Reach(step.QueueTaken)
	next = run{pos: pos, lease: lease{deliveries: 1}}
	if b, err = q.message(&next); err != nil {
		_ = q.redeliver(next, 0)
		return nil, r, nil
	}
	if err := q.release(r); err != nil {
		_ = q.redeliver(next, 0)
		return nil, next, err
	}
	return b, next, nil
}

// message returns the bytes of a message that this call has taken, and finds its stamp.
func (q *manyBytes) message(r *run) ([]byte, error) {
	off, n, err := q.mpmc.Message(r.pos)
	if err != nil {
		return nil, err
	}
	if q.stamps != nil {
		r.sent = q.stamps.of(run{first: q.mpmc.Index(r.pos), n: 1})
	}
	return q.data[off : off+n : off+n], nil
}

// sent returns nothing; see manyItems.
func (q *manyBytes) sent() int64 { return 0 }

func (q *manyBytes) release(r run) error {
	step.Reach(step.QueueRead)
	return q.consume(r)
}

// consume ends a lease: the message is consumed.
func (q *manyBytes) consume(r run) error {
	if r.lease.kind == redelivery {
		return q.releaseAgain(r.pos, r.lease)
	}
	if q.mpmc.ReleaseFence(q.Self, r.pos) != nil {
		return q.lost()
	}
	q.released(1)
	return nil
}

func (q *manyBytes) redeliver(r run, delay time.Duration) error {
	return q.returnAt(r.pos, r.lease, delay)
}
