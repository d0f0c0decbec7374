package queue

import (
	"context"

	"github.com/shmembox/shmem/internal/stream"
)

// A Sender is a sending end of a queue for one goroutine at a time. It does what the methods of the
// queue do, and is faster. It ends with the queue.
type Sender[T any] struct {
	q   *Queue[T]
	end itemSender
	handle
}

// Sender makes a sending end. In a Single queue it is the only one: until it is closed the methods
// of the queue that send return ErrTaken, here and in other processes. Sender returns ErrTaken if
// the queue has another sender that lives. The other errors are ErrReadOnly and ErrClosed.
func (q *Queue[T]) Sender() (*Sender[T], error) {
	s := &Sender[T]{q: q}
	a := q.form.attached()
	err := s.start(a, &a.sendErrors, func(stop *stream.Stop) (giveUp func(), err error) {
		s.end, giveUp, err = q.form.newSender(stop)
		return giveUp, err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives the end up. Any goroutine may call it. A call that waits for room returns ErrClosed,
// as later calls do. Close waits for that, and for a function of SendFunc that runs. A second Close
// returns nil.
func (s *Sender[T]) Close() error { return s.close() }

// Send sends a copy of v. See Queue.Send.
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	if s.q.many != nil {
		if done, err := s.q.sendQuickly(&v); done {
			return err
		}
	}
	return s.q.send(ctx, s.end, &v)
}

// TrySend is Send that returns ErrFull where Send would block.
func (s *Sender[T]) TrySend(v T) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	if s.q.many != nil {
		if done, err := s.q.sendQuickly(&v); done {
			return err
		}
	}
	return s.q.send(stream.Try{}, s.end, &v)
}

// SendFunc sends a message that f writes in place. See Queue.SendFunc. f must not use the Sender.
func (s *Sender[T]) SendFunc(ctx context.Context, f func(*T) error) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	return s.q.sendFunc(ctx, s.end, 0, f)
}

// SendBatch sends all of vs in order. See Queue.SendBatch.
func (s *Sender[T]) SendBatch(ctx context.Context, vs []T) (int, error) {
	if !s.section.Enter() {
		return 0, s.closed()
	}
	defer s.section.Leave()
	return s.q.sendBatch(s.stop.With(ctx), s.end, vs)
}
