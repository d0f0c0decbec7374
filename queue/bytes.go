package queue

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// Bytes is an attachment to a bounded queue of messages of any length. It is full when either
// Options.Capacity messages are in it or their bytes, each message rounded up to 8, fill Options.Bytes; what
// is left at the end of the ring of bytes, where the next message does not fit, counts as filled. In a Single
// one Capacity means nothing and each message needs 8 bytes more.
//
// All methods may be called by any number of goroutines at a time.
type Bytes struct {
	base
	data []byte

	h    *ring.MPMCBytesHeader
	ring *ring.MPMCBytes // nil in a Single one

	spsc     *ring.SPSCBytes
	sender   *ring.ByteSender // under sendLock
	receiver *ring.ByteReceiver
}

// OpenBytes attaches to the queue of that name, or creates it, and owns it, if there is none. The sizes and
// Single are those of the queue that is there. The errors are those of shmem.Open; a segment that is no
// queue of bytes is shmem.ErrMismatch.
func OpenBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Open, opts)
}

// CreateBytes creates a queue and owns it. It is fs.ErrExist if there is something of that name.
func CreateBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Create, opts)
}

// AttachBytes attaches to the queue of that name. It is fs.ErrNotExist if there is none.
func AttachBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Attach, opts)
}

func openBytes(name string, mode stream.Mode, opts *BytesOptions) (*Bytes, error) {
	fail := func(err error) (*Bytes, error) {
		return nil, &shmem.Error{Op: "queue " + string(mode), Name: name, Err: err}
	}
	c, err := opts.config()
	if err != nil {
		return fail(err)
	}
	q := new(Bytes)
	l, err := q.base.open(name, mode, layout.BytesName, c.segment,
		func() (*layout.Queue, error) { return layout.NewBytes(c.capacity, c.bytes, c.single) },
		layout.BytesLike)
	if err != nil {
		return nil, err
	}
	if err := q.bind(l); err != nil {
		_ = q.seg.Close()
		return fail(err)
	}
	return q, nil
}

func (q *Bytes) bind(l *layout.Queue) (err error) {
	q.capacity = math.MaxInt
	if q.data, err = mem.SliceAt[byte](q.m, l.Items, l.Bytes); err != nil {
		return err
	}
	if l.Single {
		if err := q.initSingle(l); err != nil {
			return err
		}
		q.spsc, err = ring.NewSPSCBytes(q.single, q.data)
		return err
	}
	if q.h, err = mem.At[ring.MPMCBytesHeader](q.m, 0); err != nil {
		return err
	}
	slots, err := mem.SliceAt[atomic.Uint64](q.m, l.Slots, l.Capacity)
	if err != nil {
		return err
	}
	extents, err := mem.SliceAt[ring.Extent](q.m, l.Extents, l.Capacity)
	if err != nil {
		return err
	}
	if q.ring, err = ring.NewMPMCBytes(q.h, slots, extents, len(q.data)); err != nil {
		return err
	}
	q.initMany(&q.h.MPMCHeader, q.ring, nil)
	return nil
}

// MaxLen is the length in bytes of the largest message: Options.Bytes, or, in a Single one, about half of it.
func (q *Bytes) MaxLen() int {
	if q.ring != nil {
		return q.ring.Size()
	}
	return q.spsc.Max()
}

// Cap is how many messages there is room for; in a Single one, how many bytes.
func (q *Bytes) Cap() int {
	if q.ring != nil {
		return q.ring.Cap()
	}
	return len(q.data)
}

// Len is the number of messages sent, or being sent, that nobody has begun to receive; in a Single one, the
// number of bytes they fill. Others change it at any time. After Close it is 0.
func (q *Bytes) Len() int {
	if !q.m.Pin() {
		return 0
	}
	defer q.m.Unpin()
	if q.ring != nil {
		return q.ring.Len()
	}
	return q.spsc.Len()
}

// Stats tells the state of the queue. It changes nothing and disturbs nobody, but looks at every place: a
// microsecond for a thousand. A queue attached to read-only has it too. ErrClosed.
func (q *Bytes) Stats() (Stats, error) { return q.stats(q.Cap()) }

// lockSend begins a sending call.
func (q *Bytes) lockSend(ctx context.Context) error {
	if err := q.enter(); err != nil {
		return err
	}
	if q.ring != nil {
		return nil
	}
	err := q.sendLock.lock(ctx, q.m.Closing)
	if err == nil {
		if q.sender != nil {
			return nil
		}
		var s *ring.ByteSender
		if s, err = ownEnd(&q.base, &q.sendLock, &q.single.Producer, &q.deaths.SenderDied, q.spsc.Sender); err == nil {
			q.sender = s
			return nil
		}
		q.sendLock.unlock()
	}
	q.m.Unpin()
	return err
}

func (q *Bytes) unlockSend() {
	if q.ring == nil {
		q.sendLock.unlock()
	}
	q.m.Unpin()
}

func (q *Bytes) lockRecv(ctx context.Context) error {
	if err := q.enter(); err != nil {
		return err
	}
	if q.ring != nil {
		return nil
	}
	err := q.recvLock.lock(ctx, q.m.Closing)
	if err == nil {
		if q.receiver != nil {
			return nil
		}
		var r *ring.ByteReceiver
		if r, err = ownEnd(&q.base, &q.recvLock, &q.single.Consumer, &q.deaths.ReceiverDied, q.spsc.Receiver); err == nil {
			q.receiver = r
			return nil
		}
		q.recvLock.unlock()
	} else if err == ErrFull {
		err = ErrEmpty
	}
	q.m.Unpin()
	return err
}

func (q *Bytes) unlockRecv() {
	if q.ring == nil {
		q.recvLock.unlock()
	}
	q.m.Unpin()
}

// reserve finds room for n bytes in one piece. The position means nothing in a Single one.
func (q *Bytes) reserve(ctx context.Context, n int) (b []byte, pos uint64, err error) {
	var tried tries
	for try := 0; ; try++ {
		if q.ring != nil {
			var off int
			if pos, off, err = q.ring.Claim(q.self, n); err == nil {
				b = q.data[off : off+n : off+n]
			}
		} else if q.closed.Load() != 0 {
			err = ring.ErrClosed
		} else {
			if try > 0 { // the first time it would fetch the receiver's line for every message
				q.full.Store(q.single.Head.Load())
			}
			b, err = q.sender.Reserve(n)
		}
		switch err {
		case nil:
			step.Reach(step.QueueClaimed)
			return b, pos, nil
		case ring.ErrClosed:
			return nil, 0, ErrEnded
		case ring.ErrFull:
			if q.ring == nil && try == 0 {
				continue
			}
			if q.ring != nil && (ctx != nil || try < patience) && q.ring.Sweep() {
				if ctx == nil {
					continue
				}
				break
			}
			if ctx == nil {
				if try == 0 && q.lookNow() {
					continue
				}
				return nil, 0, ErrFull
			}
			ready := q.canSend
			if q.ring != nil {
				ready = func() bool { return q.ring.CanClaim(n) }
			}
			if err := q.waitSend(ctx, ready); err != nil {
				return nil, 0, err
			}
		case ring.ErrBusy: // another sender measures out its message, or has died doing so
			if ctx == nil {
				if try > 1000 {
					return nil, 0, ErrFull
				}
				q.lookGate()
				continue
			}
		case ring.ErrTooBig:
			return nil, 0, fmt.Errorf("queue %s: %w: %d bytes, MaxLen is %d; it is created with Options.Bytes", q.name, ErrTooBig, n, q.MaxLen())
		default:
			return nil, 0, q.errorOf(err)
		}
		if err := q.again(ctx, &tried); err != nil {
			return nil, 0, err
		}
	}
}

// lookGate opens the gate of a dead sender.
func (q *Bytes) lookGate() {
	if g := q.h.Gate.Load(); g != 0 && uint32(g) != q.self {
		q.lookNow()
	}
}

// publish sends the first n of the reserved bytes.
func (q *Bytes) publish(pos uint64, n int) error {
	step.Reach(step.QueueWritten)
	if robust.RaceEnabled {
		robust.Releasing(q.object(), q.recvArmed)
	}
	if q.ring != nil {
		if err := q.ring.PublishFence(q.self, pos); err != nil { // nobody runs the barrier for us here
			return q.errorOf(err)
		}
		q.published()
		q.released() // what was waited for by a sender may have been there before, unseen in between
		return nil
	}
	q.sender.Commit(n)
	if q.lightSend() {
		q.sender.Publish()
	} else {
		q.sender.PublishFence()
	}
	q.sendEnd.count++
	mem.PrefetchWrite(q.sender.Ahead())
	q.published()
	return nil
}

// Send sends a copy of p, and waits while there is no room. When it returns nil the message is in the queue,
// whatever happens to this process; with an error it is not, but for ErrCorrupt. The errors are ErrTooBig, the
// context's, ErrEnded after End, ErrTaken in a Single queue with another sender, ErrClosed, ErrReadOnly
// and ErrCorrupt. The context counts only where Send has to wait.
//
// A receiver that dies holding a message is found after 100 ms at most.
func (q *Bytes) Send(ctx context.Context, p []byte) error {
	if err := q.lockSend(ctx); err != nil {
		return err
	}
	defer q.unlockSend()
	return q.send(ctx, p)
}

// TrySend is Send that returns ErrFull where Send would wait.
func (q *Bytes) TrySend(p []byte) error {
	if err := q.lockSend(nil); err != nil {
		return err
	}
	defer q.unlockSend()
	return q.send(nil, p)
}

func (q *Bytes) send(ctx context.Context, p []byte) error {
	b, pos, err := q.reserve(ctx, len(p))
	if err != nil {
		return err
	}
	mem.Copy(b, p)
	return q.publish(pos, len(p))
}

// Write sends a copy of p as one message, and waits as long as it takes: it is Send for an io.Writer.
func (q *Bytes) Write(p []byte) (int, error) {
	if err := q.Send(context.Background(), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SendFunc sends a message of n bytes that f writes in its place in the queue, without a copy. What f finds
// there is not cleared. If f fails or panics nothing is sent. Other messages can be sent meanwhile, but not be
// received before this one; in a Single queue f must not send. The slice is not to be used after f. The errors
// are those of f and of Send.
func (q *Bytes) SendFunc(ctx context.Context, n int, f func([]byte) error) error {
	if err := q.lockSend(ctx); err != nil {
		return err
	}
	defer q.unlockSend()
	b, pos, err := q.reserve(ctx, n)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done && q.ring != nil {
			_ = q.cancel(pos)
		}
	}()
	if err := f(b); err != nil {
		return err
	}
	done = true
	return q.publish(pos, n)
}

// take finds the next message.
func (q *Bytes) take(ctx context.Context) (b []byte, pos uint64, err error) {
	var tried tries
	for try := 0; ; try++ {
		if q.ring != nil {
			if pos, _, err = q.ring.Take(q.self); err == nil {
				var off, n int
				if off, n, err = q.ring.Message(pos); err != nil {
					_ = q.ring.ReleaseFence(q.self, pos) // there is nothing to be given back
					q.released()
				} else {
					b = q.data[off : off+n : off+n]
				}
			}
		} else {
			b, err = q.receiver.Next()
			if p := q.receiver.Ahead(); p != nil {
				mem.Prefetch(p)
			}
		}
		switch err {
		case nil:
			step.Reach(step.QueueTaken)
			if robust.RaceEnabled {
				robust.Acquired(q.object(), q.recvArmed)
			}
			return b, pos, nil
		case ring.ErrClosed:
			return nil, 0, io.EOF
		case ring.ErrEmpty, ring.ErrHeld:
			if ctx == nil {
				if try == 0 && q.lookNow() {
					continue
				}
				return nil, 0, ErrEmpty
			}
			if err := q.waitRecv(ctx); err != nil {
				return nil, 0, err
			}
		case ring.ErrBusy:
			if ctx == nil {
				return nil, 0, ErrEmpty
			}
		default:
			return nil, 0, q.errorOf(err)
		}
		if ctx == nil {
			continue
		}
		if err := q.again(ctx, &tried); err != nil {
			return nil, 0, err
		}
	}
}

func (q *Bytes) release(pos uint64) error {
	step.Reach(step.QueueRead)
	if q.ring != nil {
		if err := q.ring.ReleaseFence(q.self, pos); err != nil {
			return q.errorOf(err)
		}
		q.released()
		return nil
	}
	if q.lightRecv() {
		q.receiver.Release()
	} else {
		q.receiver.ReleaseFence()
	}
	q.recvEnd.count++
	q.released()
	return nil
}

// Recv receives the oldest message, and waits until there is one. It appends the message to buf, which may be
// nil, and returns the result. The errors are io.EOF when the stream has ended (End) and nothing is
// left, the context's, ErrTaken in a Single queue with another receiver, ErrClosed, ErrReadOnly and
// ErrCorrupt. The context counts only where Recv has to wait.
//
// A sender that dies in the middle of its message is found after 100 ms at most.
func (q *Bytes) Recv(ctx context.Context, buf []byte) ([]byte, error) {
	if err := q.lockRecv(ctx); err != nil {
		return buf, err
	}
	defer q.unlockRecv()
	return q.recv(ctx, buf)
}

// TryRecv is Recv that returns ErrEmpty where Recv would wait.
func (q *Bytes) TryRecv(buf []byte) ([]byte, error) {
	if err := q.lockRecv(nil); err != nil {
		return buf, err
	}
	defer q.unlockRecv()
	return q.recv(nil, buf)
}

func (q *Bytes) recv(ctx context.Context, buf []byte) ([]byte, error) {
	b, pos, err := q.take(ctx)
	if err != nil {
		return buf, err
	}
	n := len(buf)
	buf = slices.Grow(buf, len(b))[:n+len(b)]
	mem.Copy(buf[n:], b)
	return buf, q.release(pos)
}

// RecvFunc receives a message that f reads in its place in the queue, without a copy. If f fails or panics, or
// if the process dies in it, the message is given back: somebody receives it again. The slice is not to be used
// after f. Other messages can be received meanwhile, but room is used again in order: senders wait when they
// come round to this message. In a Single queue f must not receive. The errors are those of f and of Recv.
func (q *Bytes) RecvFunc(ctx context.Context, f func([]byte) error) error {
	if err := q.lockRecv(ctx); err != nil {
		return err
	}
	defer q.unlockRecv()
	b, pos, err := q.take(ctx)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if done {
			return
		}
		if q.ring != nil {
			_ = q.giveBack(pos)
		} else {
			q.reset()
		}
	}()
	if err := f(b); err != nil {
		return err
	}
	done = true
	return q.release(pos)
}

// reset goes back to the first message that was not released.
func (q *Bytes) reset() {
	q.receiver.Leave()
	r, err := q.spsc.Receiver(q.self, func(id uint32) bool { return id != q.self })
	if err != nil {
		q.receiver = nil
		return
	}
	q.receiver = r
}

// All receives until the stream ends, or until there is an error, which is the last that is yielded. The
// messages are copies.
func (q *Bytes) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return all(ctx, func(ctx context.Context) ([]byte, error) {
		b, err := q.Recv(ctx, nil)
		return slices.Clip(b), err
	})
}

var _ io.Writer = (*Bytes)(nil)

// End ends the stream for all senders in all processes. Sending calls return ErrEnded from now on,
// receiving calls io.EOF after the last message. Any attachment that can write may call it, at any
// time and more than once. In a Single queue the sender calls it: what is being sent at that moment
// by another process may come too late.
func (q *Bytes) End() error { return q.end() }

// Single reports whether the queue was created with Options.Single.
func (q *Bytes) Single() bool { return q.base.single != nil }

// Name returns the name of the queue's segment.
func (q *Bytes) Name() string { return q.seg.Name() }

// Linked reports whether the name still leads to this queue. See shmem.Segment.Linked.
func (q *Bytes) Linked() bool { return q.seg.Linked() }

// Owned reports whether this attachment owns the queue.
func (q *Bytes) Owned() bool { return q.seg.Owned() }

// Own makes this attachment the owner of the queue. See shmem.Segment.Own.
func (q *Bytes) Own() error { return q.seg.Own() }

// Segment returns the queue's segment, for what has no method here. Closing either closes both.
func (q *Bytes) Segment() *shmem.Segment { return q.seg }

// Close ends the attachment, and the queue if this attachment owns it. See shmem.Segment.Close. Calls
// that wait return ErrClosed. Close waits for the functions of SendFunc and RecvFunc that run, so
// they must not call it. Messages stay for the other attachments. A second Close returns nil.
func (q *Bytes) Close() error { return q.seg.Close() }

// Leak ends the attachment and leaves the queue without an owner. See shmem.Segment.Leak.
func (q *Bytes) Leak() error { return q.seg.Leak() }
