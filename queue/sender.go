package queue

import (
	"context"
	"io"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/stream"
)

// A Sender is a sending end of a queue for one goroutine at a time. It does what the methods of the
// queue do, and is faster. It ends with the queue.
type Sender[T any] struct {
	q       *Queue[T]
	end     itemSender
	section fence.Section // of a call
	giveUp  func()
	once    sync.Once // of giveUp
}

// Sender makes a sending end. In a Single queue it is the only one: until it is closed the methods
// of the queue that send return ErrTaken, here and in other processes. Sender returns ErrTaken if
// the queue has another sender that lives. The other errors are ErrReadOnly and ErrClosed.
func (q *Queue[T]) Sender() (*Sender[T], error) {
	a := q.form.attached()
	if err := a.Enter(); err != nil {
		return nil, a.sendErrors.Of(err)
	}
	defer a.M.Unpin()
	end, giveUp, err := q.form.newSender()
	if err != nil {
		return nil, err
	}
	s := &Sender[T]{q: q, end: end, giveUp: giveUp}
	if err := a.atClose(s, s.leave); err != nil {
		s.leave()
		return nil, a.sendErrors.Of(err)
	}
	return s, nil
}

// leave gives the end up when the call in flight has ended. The mapping is pinned.
func (s *Sender[T]) leave() {
	s.section.Shut()
	s.once.Do(s.giveUp)
}

// Close gives the end up. Any goroutine may call it. It waits for a call in flight, also for one
// that waits for room: cancel the context of that call first, or close the queue. Later calls
// return ErrClosed. A second Close returns nil.
func (s *Sender[T]) Close() error {
	a := s.q.form.attached()
	if !a.M.Pin() { // the queue is closed, and gives the end up itself
		s.section.Shut()
		return nil
	}
	defer a.M.Unpin()
	s.leave()
	a.forget(s)
	return nil
}

// closed returns the error of a call of a closed end.
func (s *Sender[T]) closed() error {
	a := s.q.form.attached()
	if a.M.Closed() {
		return a.sendErrors.Of(shmem.ErrClosed)
	}
	return a.sendErrors.EndClosed()
}

// Send sends a copy of v. See Queue.Send.
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	return s.q.send(ctx, s.end, &v)
}

// TrySend is Send that returns ErrFull where Send would block.
func (s *Sender[T]) TrySend(v T) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	return s.q.send(stream.Try{}, s.end, &v)
}

// SendFunc sends a message that f writes in place. See Queue.SendFunc. f must not use the Sender.
func (s *Sender[T]) SendFunc(ctx context.Context, f func(*T) error) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	return s.q.sendFunc(ctx, s.end, f)
}

// SendBatch sends all of vs in order. See Queue.SendBatch.
func (s *Sender[T]) SendBatch(ctx context.Context, vs []T) (int, error) {
	if !s.section.Enter() {
		return 0, s.closed()
	}
	defer s.section.Leave()
	return s.q.sendBatch(ctx, s.end, vs)
}

// The compiler exports the bodies of the functions that a generic method calls, so that it can
// inline them in other packages, only if this package has an instance of the method.
var (
	_ io.Closer = (*Sender[int])(nil)
	_ io.Closer = (*Receiver[int])(nil)
	_ io.Closer = (*Queue[int])(nil)
)
