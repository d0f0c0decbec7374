package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/stream"
)

// errSingle is the cause of Take on a Single queue.
var errSingle = fmt.Errorf("%w: a Single queue has no leases that outlive a call; "+
	"use RecvFunc, or create the queue without Single", shmem.ErrBadOption)

// A Lease is a message that Take has received and that is not consumed yet. Its methods are safe
// for concurrent use, and one of Done and Back ends it.
//
// A lease can be ended before: by Options.LeaseTimeout of any attachment, or by an operator (shmem
// recover --lease). Then the message is redelivered, Done and Back return ErrLeaseLost, and what
// Value points to may change. The lease of a process that dies, or closes the queue, ends the same
// way.
type Lease[T any] struct {
	value *T
	loan
}

// A BytesLease is the Lease of a message of a Bytes.
type BytesLease struct {
	value []byte
	loan
}

// A loan is what a Lease and a BytesLease have in common.
type loan struct {
	q   *attachment
	end lender
	r   run
}

// Value returns the message, in its slot. It must not be used after Done or Back, nor after Close.
func (l *Lease[T]) Value() *T { return l.value }

// Deliveries returns how often the message was delivered, this time included: 1 at first. Of a
// message that was delivered more than 255 times it returns 255.
func (l *Lease[T]) Deliveries() int { return l.r.lease.deliveries }

// Position returns the number of the message, counted from the creation of the queue. It is the
// same each time the message is redelivered, to any process, and no other message of the queue ever
// has it: with the queue's time of creation (see shmem.Info) it names the message. Some numbers are
// left out.
func (l *Lease[T]) Position() uint64 { return l.r.pos }

// Time returns when the message was sent, by the wall clock of the sender's process when it had
// written the message. It stays the same when the message is redelivered, and when it is moved to
// the dead-letter queue. It is the zero time in a queue without Options.Stamped. A clock that is
// set can make later messages earlier.
func (l *Lease[T]) Time() time.Time { return stream.TimeOf(l.r.sent) }

// Done consumes the message and frees its slot. The errors are ErrLeaseLost if the lease has ended
// before, and ErrClosed.
func (l *Lease[T]) Done() error { return l.done() }

// Back returns the message, which is redelivered: before all others, or after a delay if that is
// more than 0. A delay of more than 10 ms ends early when the queue is full because of the message.
// The errors are those of Done.
func (l *Lease[T]) Back(delay time.Duration) error { return l.back(delay) }

// Value returns the message, in the queue's memory. It must not be used after Done or Back, nor
// after Close.
func (l *BytesLease) Value() []byte { return l.value }

// Deliveries is Lease.Deliveries.
func (l *BytesLease) Deliveries() int { return l.r.lease.deliveries }

// Position is Lease.Position.
func (l *BytesLease) Position() uint64 { return l.r.pos }

// Time is Lease.Time.
func (l *BytesLease) Time() time.Time { return stream.TimeOf(l.r.sent) }

// Done is Lease.Done.
func (l *BytesLease) Done() error { return l.done() }

// Back is Lease.Back.
func (l *BytesLease) Back(delay time.Duration) error { return l.back(delay) }

func (l *loan) done() error {
	if err := l.q.Enter(); err != nil {
		return l.q.recvErrors.Of(err)
	}
	defer l.q.M.Unpin()
	return l.end.release(l.r)
}

func (l *loan) back(delay time.Duration) error {
	if err := l.q.Enter(); err != nil {
		return l.q.recvErrors.Of(err)
	}
	defer l.q.M.Unpin()
	return l.end.redeliver(l.r, delay)
}

// lend takes a message for a Lease.
func (q *Queue[T]) lend(ctx context.Context, end itemReceiver) (*Lease[T], error) {
	a := q.form.attached()
	l, ok := q.form.(lender)
	if !ok {
		return nil, a.recvErrors.Of(errSingle)
	}
	r, err := q.take(ctx, end, 1)
	if err != nil {
		return nil, err
	}
	a.M.MarkExposed()
	l.keep(r)
	return &Lease[T]{q.item(r.first), loan{a, l, r}}, nil
}

func (q *Bytes) lend(ctx context.Context, end byteReceiver) (*BytesLease, error) {
	a := q.form.attached()
	l, ok := q.form.(lender)
	if !ok {
		return nil, a.recvErrors.Of(errSingle)
	}
	b, r, err := q.take(ctx, end)
	if err != nil {
		return nil, err
	}
	a.M.MarkExposed()
	l.keep(r)
	return &BytesLease{b, loan{a, l, r}}, nil
}
