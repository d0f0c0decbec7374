package queue

import (
	"context"
	"iter"
	"time"

	"github.com/shmembox/shmem/internal/stream"
)

// A Receiver is a receiving end of a queue for one goroutine at a time. It does what the methods of
// the queue do, and is faster. It ends with the queue.
type Receiver[T any] struct {
	q   *Queue[T]
	end itemReceiver
	handle
}

// Receiver makes a receiving end. In a Single queue it is the only one: until it is closed the
// methods of the queue that receive return ErrTaken, here and in other processes. Receiver returns
// ErrTaken if the queue has another receiver that lives. The other errors are ErrReadOnly and
// ErrClosed.
func (q *Queue[T]) Receiver() (*Receiver[T], error) {
	r := &Receiver[T]{q: q}
	a := q.form.attached()
	err := r.start(a, &a.recvErrors, func(stop *stream.Stop) (giveUp func(), err error) {
		r.end, giveUp, err = q.form.newReceiver(stop)
		return giveUp, err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close gives the end up. Any goroutine may call it. A call that waits for a message returns
// ErrClosed, as later calls do. Close waits for that, and for a function of RecvFunc that runs. A
// second Close returns nil.
func (r *Receiver[T]) Close() error { return r.close() }

// Recv receives the oldest message. See Queue.Recv.
func (r *Receiver[T]) Recv(ctx context.Context) (v T, err error) {
	if !r.section.Enter() {
		return v, r.closed()
	}
	defer r.section.Leave()
	if r.q.many != nil {
		if done, err := r.q.recvQuickly(&v); done {
			return v, err
		}
	}
	err = r.q.recv(ctx, r.end, &v)
	return v, err
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (r *Receiver[T]) TryRecv() (v T, err error) {
	if !r.section.Enter() {
		return v, r.closed()
	}
	defer r.section.Leave()
	if r.q.many != nil {
		if done, err := r.q.recvQuickly(&v); done {
			return v, err
		}
	}
	err = r.q.recv(stream.Try{}, r.end, &v)
	return v, err
}

// RecvFunc receives a message that f reads in place. See Queue.RecvFunc. f must not use the
// Receiver, except for Time.
func (r *Receiver[T]) RecvFunc(ctx context.Context, f func(*T) error) error {
	if !r.section.Enter() {
		return r.closed()
	}
	defer r.section.Leave()
	return r.q.recvFunc(ctx, r.end, f)
}

// RecvBatch receives up to len(vs) messages in order. See Queue.RecvBatch.
func (r *Receiver[T]) RecvBatch(ctx context.Context, vs []T) (int, error) {
	if !r.section.Enter() {
		return 0, r.closed()
	}
	defer r.section.Leave()
	return r.q.recvBatch(ctx, r.end, vs)
}

// Take receives the oldest message on a lease that outlives the call. See Queue.Take. The lease may
// be used in any goroutine.
func (r *Receiver[T]) Take(ctx context.Context) (*Lease[T], error) {
	if !r.section.Enter() {
		return nil, r.closed()
	}
	defer r.section.Leave()
	return r.q.lend(ctx, r.end)
}

// TryTake is Take that returns ErrEmpty where Take would block.
func (r *Receiver[T]) TryTake() (*Lease[T], error) { return r.Take(stream.Try{}) }

// Time returns when the message was sent that was received last, of a batch the last one; see
// Lease.Time. Inside the function of a RecvFunc it is that of the message that the function reads.
// It is the zero time if there is none, or in a queue without Options.Stamped.
func (r *Receiver[T]) Time() time.Time { return stream.TimeOf(r.end.sent()) }

// Wait waits until Recv has a message or io.EOF to return. See Queue.Wait.
func (r *Receiver[T]) Wait(ctx context.Context) error {
	if !r.section.Enter() {
		return r.closed()
	}
	defer r.section.Leave()
	return r.end.wait(ctx)
}

// All receives messages until the stream ends. See Queue.All.
func (r *Receiver[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return all(ctx, &r.q.form.attached().recvErrors, r.Recv)
}
