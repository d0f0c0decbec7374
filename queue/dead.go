package queue

import (
	"context"
	"errors"
	"io/fs"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// deadLetters are where a receiving call puts a message of type T that was delivered too often.
type deadLetters[T any] struct {
	most int // deliveries
	to   *Queue[T]
}

// deadBytes are the deadLetters of a Bytes.
type deadBytes struct {
	most int
	to   *Bytes
}

// openDead attaches to the dead-letter queue, or opens it with the options of a new one, such as
// the capacity of the queue. Another process may create it in between, with other options.
func openDead[Q any](attach, open func() (Q, error)) (q Q, err error) {
	if q, err = attach(); errors.Is(err, fs.ErrNotExist) {
		if q, err = open(); errors.Is(err, shmem.ErrMismatch) {
			q, err = attach()
		}
	}
	return q, err
}

// letters opens the dead-letter queue of q, which an attachment closes that closes.
func (q *Queue[T]) letters(o *Options) error {
	if o == nil || o.DeadLetters == "" || o.ReadOnly {
		return nil
	}
	there := *o
	there.DeadLetters, there.Single, there.Reserve, there.Lifetime = "", false, 0, 0
	there.Stamped = false
	here := there
	there.Capacity, here.Capacity = 0, q.capacity
	here.Stamped = q.form.attached().stamps != nil
	to, err := openDead(
		func() (*Queue[T], error) { return Attach[T](o.DeadLetters, &there) },
		func() (*Queue[T], error) { return Open[T](o.DeadLetters, &here) })
	if err != nil {
		return err
	}
	q.dead = &deadLetters[T]{o.most(), to}
	return q.form.attached().withDead(to)
}

func (q *Bytes) letters(o *BytesOptions) error {
	if o == nil || o.DeadLetters == "" || o.ReadOnly {
		return nil
	}
	there := *o
	there.DeadLetters, there.Single, there.Lifetime = "", false, 0
	there.Stamped = false
	here := there
	here.Stamped = q.form.attached().stamps != nil
	there.Capacity, there.Bytes, here.Bytes = 0, 0, max(q.MaxLen(), o.Bytes)
	to, err := openDead(
		func() (*Bytes, error) { return AttachBytes(o.DeadLetters, &there) },
		func() (*Bytes, error) { return OpenBytes(o.DeadLetters, &here) })
	if err != nil {
		return err
	}
	q.dead = &deadBytes{o.most(), to}
	return q.form.attached().withDead(to)
}

// withDead closes the dead-letter queue when a closes.
func (a *attachment) withDead(to interface{ Close() error }) error {
	if !a.M.Pin() {
		return to.Close()
	}
	defer a.M.Unpin()
	return a.AtClose(to, func() { _ = to.Close() })
}

// buried is called after the n-th message that one call has moved to the dead-letter queue. Now and
// then it looks at ctx: there may be many such messages.
func (a *attachment) buried(ctx context.Context, n int) error {
	switch {
	case n%stream.Patience != 0:
		return nil
	case stream.Tries(ctx):
		return a.recvErrors.Of(ErrEmpty)
	}
	return a.recvErrors.Of(stream.Context(ctx))
}

// bury moves a message to the dead-letter queue if it was delivered too often, and reports whether
// it did. A message that cannot be moved is delivered once more: it would be lost, or block others.
// If this process dies when the message is in both queues it stays in both.
func (q *Queue[T]) bury(end itemReceiver, r run) bool {
	if r.lease.deliveries <= q.dead.most {
		return false
	}
	if q.dead.to.move(q.item(r.first), r.sent) != nil {
		return false
	}
	step.Reach(step.QueueDead)
	return end.release(r) == nil
}

// move sends a message of another queue, with its stamp. It does not block.
func (q *Queue[T]) move(v *T, sent int64) error {
	s, err := q.form.sender(stream.Try{})
	if err != nil {
		return err
	}
	defer s.leave()
	return q.sendFunc(stream.Try{}, s, sent, func(to *T) error {
		mem.Assign(to, v)
		return nil
	})
}

func (q *Bytes) bury(end byteReceiver, b []byte, r run) bool {
	if r.lease.deliveries <= q.dead.most || q.dead.to.move(b, r.sent) != nil {
		return false
	}
	step.Reach(step.QueueDead)
	return end.release(r) == nil
}

// move is move of a Queue.
func (q *Bytes) move(b []byte, sent int64) error {
	s, err := q.form.sender(stream.Try{})
	if err != nil {
		return err
	}
	defer s.leave()
	return q.send(stream.Try{}, s, b, sent)
}
