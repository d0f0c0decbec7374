package queue

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/ring"
)

// A Sender is a sending end of a queue for one goroutine at a time: it is faster than the methods of the
// queue, and other than that the same. It ends with the queue.
type Sender[T any] struct {
	q   *Queue[T]
	s   *ring.Sender // nil but in a Single queue
	sec fence.Section

	left sync.Once
}

// Sender makes a sending end. In a Single queue it is the only one, and the methods of the queue that send
// return ErrTaken while it is there, as does Sender when there is another, alive, here or in another process.
// ErrReadOnly, ErrClosed.
func (q *Queue[T]) Sender() (*Sender[T], error) {
	if err := q.enter(); err != nil {
		return nil, err
	}
	defer q.m.Unpin()
	s := &Sender[T]{q: q}
	if q.ring == nil {
		var err error
		if s.s, err = enterEnd(&q.base, &q.single.Producer, &q.deaths.SenderDied, q.spsc.Sender); err != nil {
			return nil, err
		}
	}
	if err := q.atClose(&s.sec, s.leave); err != nil {
		s.leave()
		return nil, err
	}
	return s, nil
}

// leave gives the end free when a call in flight has ended; the mapping is pinned.
func (s *Sender[T]) leave() {
	s.sec.Shut()
	if s.s != nil {
		s.left.Do(s.s.Leave)
	}
}

// Close gives the end free. It waits for a call in flight. A second Close returns nil.
func (s *Sender[T]) Close() error {
	s.q.closeEnd(&s.sec, s.leave)
	return nil
}

// Send is that of the queue.
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	if !s.sec.Enter() {
		return shmem.ErrClosed
	}
	defer s.sec.Leave()
	return s.q.send(ctx, s.s, &v)
}

// TrySend is that of the queue.
func (s *Sender[T]) TrySend(v T) error {
	if !s.sec.Enter() {
		return shmem.ErrClosed
	}
	defer s.sec.Leave()
	return s.q.send(nil, s.s, &v)
}

// SendFunc is that of the queue. f must not use the Sender.
func (s *Sender[T]) SendFunc(ctx context.Context, f func(*T) error) error {
	if !s.sec.Enter() {
		return shmem.ErrClosed
	}
	defer s.sec.Leave()
	return s.q.sendFunc(ctx, s.s, f)
}

// SendBatch is that of the queue.
func (s *Sender[T]) SendBatch(ctx context.Context, vs []T) (int, error) {
	if !s.sec.Enter() {
		return 0, shmem.ErrClosed
	}
	defer s.sec.Leave()
	return s.q.sendBatch(ctx, s.s, vs)
}

// A Receiver is a receiving end of a queue for one goroutine at a time: it is faster than the methods of the
// queue, and other than that the same. It ends with the queue.
type Receiver[T any] struct {
	q   *Queue[T]
	r   *ring.Receiver // nil but in a Single queue
	sec fence.Section

	left sync.Once
}

// Receiver makes a receiving end. In a Single queue it is the only one, and the methods of the queue that
// receive return ErrTaken while it is there, as does Receiver when there is another, alive, here or in
// another process. ErrReadOnly, ErrClosed.
func (q *Queue[T]) Receiver() (*Receiver[T], error) {
	if err := q.enter(); err != nil {
		return nil, err
	}
	defer q.m.Unpin()
	r := &Receiver[T]{q: q}
	if q.ring == nil {
		var err error
		if r.r, err = enterEnd(&q.base, &q.single.Consumer, &q.deaths.ReceiverDied, q.spsc.Receiver); err != nil {
			return nil, err
		}
	}
	if err := q.atClose(&r.sec, r.leave); err != nil {
		r.leave()
		return nil, err
	}
	return r, nil
}

// leave gives the end free when a call in flight has ended; the mapping is pinned.
func (r *Receiver[T]) leave() {
	r.sec.Shut()
	if r.r != nil {
		r.left.Do(r.r.Leave)
	}
}

// Close gives the end free. It waits for a call in flight. A second Close returns nil.
func (r *Receiver[T]) Close() error {
	r.q.closeEnd(&r.sec, r.leave)
	return nil
}

// Recv is that of the queue.
func (r *Receiver[T]) Recv(ctx context.Context) (v T, err error) {
	if !r.sec.Enter() {
		return v, shmem.ErrClosed
	}
	defer r.sec.Leave()
	err = r.q.recv(ctx, r.r, &v)
	return v, err
}

// TryRecv is that of the queue.
func (r *Receiver[T]) TryRecv() (v T, err error) {
	if !r.sec.Enter() {
		return v, shmem.ErrClosed
	}
	defer r.sec.Leave()
	err = r.q.recv(nil, r.r, &v)
	return v, err
}

// RecvFunc is that of the queue. f must not use the Receiver.
func (r *Receiver[T]) RecvFunc(ctx context.Context, f func(*T) error) error {
	if !r.sec.Enter() {
		return shmem.ErrClosed
	}
	defer r.sec.Leave()
	return r.q.recvFunc(ctx, r.r, f)
}

// RecvBatch is that of the queue.
func (r *Receiver[T]) RecvBatch(ctx context.Context, vs []T) (int, error) {
	if !r.sec.Enter() {
		return 0, shmem.ErrClosed
	}
	defer r.sec.Leave()
	return r.q.recvBatch(ctx, r.r, vs)
}

// All is that of the queue.
func (r *Receiver[T]) All(ctx context.Context) iter.Seq2[T, error] { return all(ctx, r.Recv) }

var _ io.Closer = (*Sender[int])(nil)
