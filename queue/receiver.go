package queue

import (
	"context"
	"iter"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/stream"
)

// A Receiver is a receiving end of a queue for one goroutine at a time. It does what the methods of
// the queue do, and is faster. It ends with the queue.
type Receiver[T any] struct {
	q       *Queue[T]
	end     itemReceiver
	section fence.Section // of a call
	giveUp  func()
	once    sync.Once // of giveUp
}

// Receiver makes a receiving end. In a Single queue it is the only one: until it is closed the
// methods of the queue that receive return ErrTaken, here and in other processes. Receiver returns
// ErrTaken if the queue has another receiver that lives. The other errors are ErrReadOnly and
// ErrClosed.
func (q *Queue[T]) Receiver() (*Receiver[T], error) {
	a := q.form.attached()
	if err := a.Enter(); err != nil {
		return nil, a.recvErrors.Of(err)
	}
	defer a.M.Unpin()
	end, giveUp, err := q.form.newReceiver()
	if err != nil {
		return nil, err
	}
	r := &Receiver[T]{q: q, end: end, giveUp: giveUp}
	if err := a.atClose(r, r.leave); err != nil {
		r.leave()
		return nil, a.recvErrors.Of(err)
	}
	return r, nil
}

// leave gives the end up when the call in flight has ended. The mapping is pinned.
func (r *Receiver[T]) leave() {
	r.section.Shut()
	r.once.Do(r.giveUp)
}

// Close gives the end up. Any goroutine may call it. It waits for a call in flight, also for one
// that waits for a message: cancel the context of that call first, or close the queue. Later calls
// return ErrClosed. A second Close returns nil.
func (r *Receiver[T]) Close() error {
	a := r.q.form.attached()
	if !a.M.Pin() { // the queue is closed, and gives the end up itself
		r.section.Shut()
		return nil
	}
	defer a.M.Unpin()
	r.leave()
	a.forget(r)
	return nil
}

// closed returns the error of a call of a closed end.
func (r *Receiver[T]) closed() error {
	a := r.q.form.attached()
	if a.M.Closed() {
		return a.recvErrors.Of(shmem.ErrClosed)
	}
	return a.recvErrors.EndClosed()
}

// Recv receives the oldest message. See Queue.Recv.
func (r *Receiver[T]) Recv(ctx context.Context) (v T, err error) {
	if !r.section.Enter() {
		return v, r.closed()
	}
	defer r.section.Leave()
	err = r.q.recv(ctx, r.end, &v)
	return v, err
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (r *Receiver[T]) TryRecv() (v T, err error) {
	if !r.section.Enter() {
		return v, r.closed()
	}
	defer r.section.Leave()
	err = r.q.recv(stream.Try{}, r.end, &v)
	return v, err
}

// RecvFunc receives a message that f reads in place. See Queue.RecvFunc. f must not use the
// Receiver.
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
