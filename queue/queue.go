package queue

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/stream"
)

// A Queue is an attachment to a bounded queue of values of type T. T must be free of Go pointers, as for
// shmem.Box. All methods may be called by any number of goroutines at a time.
type Queue[T any] struct {
	_ [0]*T // a Queue[T] converts to no Queue[U]
	base
	items []T
	ring  *ring.MPMC // nil in a Single queue
	singleEnds[T]
}

// singleEnds are the ends of a Single queue.
type singleEnds[T any] struct {
	spsc     *ring.SPSC
	sender   *ring.Sender   // under sendLock
	receiver *ring.Receiver // under recvLock
}

// Open attaches to the queue of that name, or creates it, and owns it, if there is none. Capacity and
// Single are those of the queue that is there. The errors are those of shmem.Open; a segment that is no
// queue of T is shmem.ErrMismatch.
func Open[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Open, opts)
}

// Create creates a queue and owns it. It is fs.ErrExist if there is something of that name.
func Create[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Create, opts)
}

// Attach attaches to the queue of that name. It is fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Attach, opts)
}

func open[T any](name string, mode stream.Mode, opts *Options) (*Queue[T], error) {
	fail := func(err error) (*Queue[T], error) {
		return nil, &shmem.Error{Op: "queue " + string(mode), Name: name, Err: err}
	}
	c, err := opts.config()
	if err != nil {
		return fail(err)
	}
	item, err := stream.ItemType[T]()
	if err != nil {
		return fail(err)
	}
	q := new(Queue[T])
	l, err := q.base.open(name, mode, layout.QueueName, c.segment,
		func() (*layout.Queue, error) { return layout.NewQueue(item, c.capacity, c.single) },
		func(stored *format.Type) (*layout.Queue, error) { return layout.QueueLike(stored, item) })
	if err != nil {
		return nil, err
	}
	if err := q.bind(l); err != nil {
		_ = q.seg.Close()
		return fail(err)
	}
	return q, nil
}

// bind lays the ring over the memory.
func (q *Queue[T]) bind(l *layout.Queue) (err error) {
	if q.items, err = mem.SliceAt[T](q.m, l.Items, l.Capacity); err != nil {
		return err
	}
	q.capacity = len(q.items)
	if l.Single {
		if err := q.initSingle(l); err != nil {
			return err
		}
		q.spsc, err = ring.NewSPSC(q.single, len(q.items))
		return err
	}
	h, err := mem.At[ring.MPMCHeader](q.m, 0)
	if err != nil {
		return err
	}
	slots, err := mem.SliceAt[atomic.Uint64](q.m, l.Slots, l.Capacity)
	if err != nil {
		return err
	}
	if q.ring, err = ring.NewMPMC(h, slots); err != nil {
		return err
	}
	q.initMany(h, q.ring, q.ring.CanClaim)
	return nil
}

// Cap is how many messages there is room for.
func (q *Queue[T]) Cap() int { return len(q.items) }

// Len is the number of messages sent, or being sent, that nobody has begun to receive, and of places given up by a
// sender that nobody has come to yet; in a Single queue, of messages that nobody has received. Others change it at any
// time; Stats has the exact Depth. After Close it is 0.
func (q *Queue[T]) Len() int {
	if !q.m.Pin() {
		return 0
	}
	defer q.m.Unpin()
	if q.ring != nil {
		return q.ring.Len()
	}
	return q.spsc.Len()
}

// lockSend begins a sending call of the queue itself. The sender is nil but in a Single queue.
func (q *Queue[T]) lockSend(ctx context.Context) (*ring.Sender, error) {
	if err := q.enter(); err != nil {
		return nil, err
	}
	if q.ring != nil {
		return nil, nil
	}
	err := q.sendLock.lock(ctx, q.m.Closing)
	if err == nil {
		if q.sender != nil {
			return q.sender, nil
		}
		if q.sender, err = ownEnd(&q.base, &q.sendLock, &q.single.Producer, &q.deaths.SenderDied, q.spsc.Sender); err == nil {
			return q.sender, nil
		}
		q.sender = nil
		q.sendLock.unlock()
	}
	q.m.Unpin()
	return nil, err
}

func (q *Queue[T]) unlockSend() {
	if q.ring == nil {
		q.sendLock.unlock()
	}
	q.m.Unpin()
}

// lockRecv begins a receiving call of the queue itself.
func (q *Queue[T]) lockRecv(ctx context.Context) (*ring.Receiver, error) {
	if err := q.enter(); err != nil {
		return nil, err
	}
	if q.ring != nil {
		return nil, nil
	}
	err := q.recvLock.lock(ctx, q.m.Closing)
	if err == nil {
		if q.receiver != nil {
			return q.receiver, nil
		}
		if q.receiver, err = ownEnd(&q.base, &q.recvLock, &q.single.Consumer, &q.deaths.ReceiverDied, q.spsc.Receiver); err == nil {
			return q.receiver, nil
		}
		q.receiver = nil
		q.recvLock.unlock()
	} else if err == ErrFull {
		err = ErrEmpty
	}
	q.m.Unpin()
	return nil, err
}

func (q *Queue[T]) unlockRecv() {
	if q.ring == nil {
		q.recvLock.unlock()
	}
	q.m.Unpin()
}

// Send sends v, and waits while there is no room. When it returns nil the message is in the queue,
// whatever happens to this process; with an error it is not, but for ErrCorrupt. The errors are the
// context's, ErrEnded after End, ErrTaken in a Single queue with another sender, ErrClosed,
// ErrReadOnly and ErrCorrupt. The context counts only where Send has to wait.
//
// A receiver that dies holding a message is found after 100 ms at most, and Send goes on when it has come
// round to its place.
func (q *Queue[T]) Send(ctx context.Context, v T) error {
	s, err := q.lockSend(ctx)
	if err != nil {
		return err
	}
	defer q.unlockSend()
	return q.send(ctx, s, &v)
}

// TrySend is Send that returns ErrFull where Send would wait.
func (q *Queue[T]) TrySend(v T) error {
	s, err := q.lockSend(nil)
	if err != nil {
		return err
	}
	defer q.unlockSend()
	return q.send(nil, s, &v)
}

// SendFunc sends a message that f writes in its place in the queue, without a copy. The value f finds is
// that of an older message. If f fails or panics nothing is sent; the place is used again when the ring has come
// round to it. Other messages can be sent meanwhile, but not be received before this one; in a Single queue f must
// not send. The pointer is not to be used after f.
// The errors are those of f and of Send.
func (q *Queue[T]) SendFunc(ctx context.Context, f func(*T) error) error {
	s, err := q.lockSend(ctx)
	if err != nil {
		return err
	}
	defer q.unlockSend()
	return q.sendFunc(ctx, s, f)
}

// SendBatch sends all of vs, in order, and waits while there is no room. It returns how many are sent: all
// of them, or else an error, one of those of Send. Messages of others may come in between.
func (q *Queue[T]) SendBatch(ctx context.Context, vs []T) (int, error) {
	s, err := q.lockSend(ctx)
	if err != nil {
		return 0, err
	}
	defer q.unlockSend()
	return q.sendBatch(ctx, s, vs)
}

// Recv receives the oldest message, and waits until there is one. The errors are io.EOF when the stream
// has ended (End) and nothing is left, the context's, ErrTaken in a Single queue with another
// receiver, ErrClosed, ErrReadOnly and ErrCorrupt. The context counts only where Recv has to wait.
//
// A sender that dies in the middle of its message is found after 100 ms at most, and Recv goes on with the
// next one.
func (q *Queue[T]) Recv(ctx context.Context) (v T, err error) {
	r, err := q.lockRecv(ctx)
	if err != nil {
		return v, err
	}
	defer q.unlockRecv()
	err = q.recv(ctx, r, &v)
	return v, err
}

// TryRecv is Recv that returns ErrEmpty where Recv would wait.
func (q *Queue[T]) TryRecv() (v T, err error) {
	r, err := q.lockRecv(nil)
	if err != nil {
		return v, err
	}
	defer q.unlockRecv()
	err = q.recv(nil, r, &v)
	return v, err
}

// RecvFunc receives a message that f reads in its place in the queue, without a copy. If f fails or panics,
// or if the process dies in it, the message is given back: somebody receives it again. The pointer is not to
// be used after f. Other messages can be received meanwhile, but their places and this one are used again in
// order: senders wait when they come round to it. In a Single queue f must not receive.
// The errors are those of f and of Recv.
func (q *Queue[T]) RecvFunc(ctx context.Context, f func(*T) error) error {
	r, err := q.lockRecv(ctx)
	if err != nil {
		return err
	}
	defer q.unlockRecv()
	return q.recvFunc(ctx, r, f)
}

// RecvBatch receives up to len(vs) messages, in order, and waits until there is one. It returns how many
// they are: at least one, or an error, one of those of Recv. Where vs is empty it returns 0 and nil at once.
func (q *Queue[T]) RecvBatch(ctx context.Context, vs []T) (int, error) {
	r, err := q.lockRecv(ctx)
	if err != nil {
		return 0, err
	}
	defer q.unlockRecv()
	return q.recvBatch(ctx, r, vs)
}

// All receives until the stream ends, or until there is an error, which is the last that is yielded.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return all(ctx, q.Recv)
}

func all[T any](ctx context.Context, recv func(context.Context) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := recv(ctx)
			if err == io.EOF || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// End ends the stream for all senders in all processes. Sending calls return ErrEnded from now on,
// receiving calls io.EOF after the last message. Any attachment that can write may call it, at any
// time and more than once. In a Single queue the sender calls it: what is being sent at that moment
// by another process may come too late.
func (q *Queue[T]) End() error { return q.end() }

// Single reports whether the queue was created with Options.Single.
func (q *Queue[T]) Single() bool { return q.base.single != nil }

// Name returns the name of the queue's segment.
func (q *Queue[T]) Name() string { return q.seg.Name() }

// Linked reports whether the name still leads to this queue. See shmem.Segment.Linked.
func (q *Queue[T]) Linked() bool { return q.seg.Linked() }

// Owned reports whether this attachment owns the queue.
func (q *Queue[T]) Owned() bool { return q.seg.Owned() }

// Own makes this attachment the owner of the queue. See shmem.Segment.Own.
func (q *Queue[T]) Own() error { return q.seg.Own() }

// Segment returns the queue's segment, for what has no method here. Closing either closes both.
func (q *Queue[T]) Segment() *shmem.Segment { return q.seg }

// Close ends the attachment, and the queue if this attachment owns it. See shmem.Segment.Close. Calls
// that wait return ErrClosed. Close waits for the functions of SendFunc and RecvFunc that run, so
// they must not call it. Messages stay for the other attachments. A second Close returns nil.
func (q *Queue[T]) Close() error { return q.seg.Close() }

// Leak ends the attachment and leaves the queue without an owner. See shmem.Segment.Leak.
func (q *Queue[T]) Leak() error { return q.seg.Leak() }
