package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// ErrDraftEnded is returned when a draft is sent or canceled that was sent or canceled before.
var ErrDraftEnded = errors.New("the draft was sent or canceled before")

// errSingleDraft is the cause of Reserve on a Single queue.
var errSingleDraft = fmt.Errorf("%w: a Single queue has no drafts that outlive a call; "+
	"use SendFunc, or create the queue without Single", shmem.ErrBadOption)

// A Draft is a message that is being written in its slot, and not sent yet. Its methods are safe
// for concurrent use, and one of Send and Cancel ends it.
//
// No other process ends the draft of a process that lives: that may write to its slot at any time,
// and would write into the message of another sender. If the process dies, or closes the queue, the
// slot is skipped.
type Draft[T any] struct {
	value *T
	claim
}

// A BytesDraft is the Draft of a message of a Bytes.
type BytesDraft struct {
	value []byte
	claim
}

// A claim is what a Draft and a BytesDraft have in common.
type claim struct {
	q       *attachment
	ended   atomic.Bool
	publish func() error
	cancel  func()
}

// Value returns where the message is written. An older message is there at first. It must not be
// used after Send or Cancel, nor after Close.
func (d *Draft[T]) Value() *T { return d.value }

// Send sends the message. When it returns nil the message is in the queue, whatever happens to this
// process. The errors are ErrDraftEnded and ErrClosed.
func (d *Draft[T]) Send() error { return d.send() }

// Cancel gives the slot up: nothing is sent. After Send, and a second time, it does nothing.
func (d *Draft[T]) Cancel() { d.drop() }

// Value returns where the message is written, whose bytes are not cleared. It must not be used
// after Send or Cancel, nor after Close.
func (d *BytesDraft) Value() []byte { return d.value }

// Send is Draft.Send.
func (d *BytesDraft) Send() error { return d.send() }

// Cancel is Draft.Cancel.
func (d *BytesDraft) Cancel() { d.drop() }

func (c *claim) send() error {
	if err := c.q.Enter(); err != nil {
		return c.q.sendErrors.Of(err)
	}
	defer c.q.M.Unpin()
	if c.ended.Swap(true) {
		return c.q.sendErrors.Of(ErrDraftEnded)
	}
	return c.publish()
}

func (c *claim) drop() {
	if c.q.Enter() != nil {
		return
	}
	defer c.q.M.Unpin()
	if !c.ended.Swap(true) {
		c.cancel()
	}
}

// Reserve claims a slot for a message, and blocks while there is none. The message is sent by
// [Draft.Send], which may come in any goroutine. Other messages can be sent meanwhile, but
// receivers get them after this one: they wait for it. The errors are those of Send, and
// shmem.ErrBadOption in a Single queue, which has no drafts.
func (q *Queue[T]) Reserve(ctx context.Context) (*Draft[T], error) {
	a := q.form.attached()
	s, err := q.form.sender(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if q.form.isSingle() {
		return nil, a.sendErrors.Of(errSingleDraft)
	}
	r, err := s.claim(ctx, 1)
	if err != nil {
		return nil, err
	}
	a.M.MarkExposed()
	q.clearRest(r.first)
	step.Reach(step.QueueReserved)
	return &Draft[T]{q.item(r.first), claim{
		q: a, publish: func() error { return s.publish(r) }, cancel: func() { s.cancel(r) },
	}}, nil
}

// TryReserve is Reserve that returns ErrFull where Reserve would block.
func (q *Queue[T]) TryReserve() (*Draft[T], error) { return q.Reserve(stream.Try{}) }

// Reserve claims room for a message of n bytes. See Queue.Reserve and Bytes.SendFunc.
func (q *Bytes) Reserve(ctx context.Context, n int) (*BytesDraft, error) {
	a := q.form.attached()
	s, err := q.form.sender(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if q.form.isSingle() {
		return nil, a.sendErrors.Of(errSingleDraft)
	}
	b, pos, err := s.reserve(ctx, n)
	if err != nil {
		return nil, err
	}
	a.M.MarkExposed()
	step.Reach(step.QueueReserved)
	return &BytesDraft{b, claim{
		q: a, publish: func() error { return s.publish(pos, n, false, 0) },
		cancel: func() { s.cancel(pos) },
	}}, nil
}

// TryReserve is Reserve that returns ErrFull where Reserve would block.
func (q *Bytes) TryReserve(n int) (*BytesDraft, error) { return q.Reserve(stream.Try{}, n) }
