package queue

import (
	"context"
	"io"
	"iter"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/ring"
)

// A Sender is a sending end of a queue for one goroutine at a time: it is faster than the methods of the
// queue, and other than that the same. It ends with the queue.
type Sender[T any] struct {
	q   *Queue[T]
	s   *ring.Sender // nil but in a Single queue
	sec *fence.Section
}

// Sender makes a sending end. In a Single queue it is the only one, and the methods of the queue that send
// return ErrTaken while it is there, as does Sender when there is another, alive, here or in another process.
// ErrReadOnly, ErrClosed.
func (q *Queue[T]) Sender() (*Sender[T], error) {
	sec, err := q.section()
	if err != nil {
		return nil, err
	}
	s := &Sender[T]{q: q, sec: sec}
	if q.ring == nil {
		if s.s, err = enterEnd(&q.base, &q.single.Producer, &q.base.ends.SenderDied, q.spsc.Sender); err != nil {
			q.shut(sec)
			return nil, err
		}
	}
	return s, nil
}

// Close gives the end free. It waits for a call in flight. A second Close returns nil.
func (s *Sender[T]) Close() error {
	if s.s != nil && s.q.m.Pin() {
		if s.sec.Open() {
			s.q.shut(s.sec)
			s.s.Leave()
		}
		s.q.m.Unpin()
		return nil
	}
	s.q.shut(s.sec)
	return nil
}

// Send is that of the queue.
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	if !s.sec.Enter() {
		return shmem.ErrClosed
	}
	err := s.q.send(ctx, s.s, &v)
	s.sec.Leave()
	return err
}

// TrySend is that of the queue.
func (s *Sender[T]) TrySend(v T) error {
	if !s.sec.Enter() {
		return shmem.ErrClosed
	}
	err := s.q.send(nil, s.s, &v)
	s.sec.Leave()
	return err
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
	n, err := s.q.sendBatch(ctx, s.s, vs)
	s.sec.Leave()
	return n, err
}

// A Receiver is a receiving end of a queue for one goroutine at a time: it is faster than the methods of the
// queue, and other than that the same. It ends with the queue.
type Receiver[T any] struct {
	q   *Queue[T]
	r   *ring.Receiver // nil but in a Single queue
	sec *fence.Section
}

// Receiver makes a receiving end. In a Single queue it is the only one, and the methods of the queue that
// receive return ErrTaken while it is there, as does Receiver when there is another, alive, here or in
// another process. ErrReadOnly, ErrClosed.
func (q *Queue[T]) Receiver() (*Receiver[T], error) {
	sec, err := q.section()
	if err != nil {
		return nil, err
	}
	r := &Receiver[T]{q: q, sec: sec}
	if q.ring == nil {
		if r.r, err = enterEnd(&q.base, &q.single.Consumer, &q.base.ends.ReceiverDied, q.spsc.Receiver); err != nil {
			q.shut(sec)
			return nil, err
		}
	}
	return r, nil
}

// Close gives the end free. It waits for a call in flight. A second Close returns nil.
func (r *Receiver[T]) Close() error {
	if r.r != nil && r.q.m.Pin() {
		if r.sec.Open() {
			r.q.shut(r.sec)
			r.r.Leave()
		}
		r.q.m.Unpin()
		return nil
	}
	r.q.shut(r.sec)
	return nil
}

// Recv is that of the queue.
func (r *Receiver[T]) Recv(ctx context.Context) (v T, err error) {
	if !r.sec.Enter() {
		return v, shmem.ErrClosed
	}
	err = r.q.recv(ctx, r.r, &v)
	r.sec.Leave()
	return v, err
}

// TryRecv is that of the queue.
func (r *Receiver[T]) TryRecv() (v T, err error) {
	if !r.sec.Enter() {
		return v, shmem.ErrClosed
	}
	err = r.q.recv(nil, r.r, &v)
	r.sec.Leave()
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
	n, err := r.q.recvBatch(ctx, r.r, vs)
	r.sec.Leave()
	return n, err
}

// All is that of the queue.
func (r *Receiver[T]) All(ctx context.Context) iter.Seq2[T, error] { return all(ctx, r.Recv) }

var _ io.Closer = (*Sender[int])(nil)
