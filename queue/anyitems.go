package queue

import (
	"context"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

func init() { stream.AttachItems, stream.OpenItems = attachItems, openItems }

// anyItems is a queue of items whose type the segment tells. The command shmem sends to such queues
// and receives from them. Every message goes the long way: no fast path knows the size of an item.
type anyItems struct {
	form itemForm
	m    *mem.Mapping
	l    *layout.Queue
}

func attachItems(name string, opts *shmem.Options) (stream.Items, error) {
	p := newPlan(name, stream.Attach, layout.QueueName)
	p.Options, p.Visitor = opts, true
	p.like = layout.QueueLike
	p.check = func(*layout.Queue) error { return nil }
	return p.openAny()
}

// openItems is attachItems, which creates the queue if there is none. A new one is kept.
func openItems(
	name string, opts *shmem.Options, item *format.Type, capacity int,
) (stream.Items, error) {
	p := newPlan(name, stream.Open, layout.QueueName)
	p.Options, p.Item, p.Kept = opts, item, true
	p.create = func(stride int) (*layout.Queue, error) {
		return layout.SpacedQueue(item, capacity, false, stride)
	}
	p.like = layout.QueueLike
	p.check = func(*layout.Queue) error { return nil }
	return p.openAny()
}

func (p *plan) openAny() (stream.Items, error) {
	seg, m, l, err := p.open()
	if err != nil {
		return nil, err
	}
	q := &anyItems{m: m, l: l}
	if q.form, err = newItemForm(seg, m, l); err == nil {
		_, err = mem.SliceAt[byte](m, l.Items, (l.Capacity-1)*l.Stride+l.Cell)
	}
	if err != nil {
		_ = seg.Close()
		return nil, p.Error(err)
	}
	if f, ok := q.form.(*singleItems); ok {
		f.quick = &slowly.single
	}
	return q, nil
}

// item returns the bytes of the item in a slot. The caller has pinned the mapping.
func (q *anyItems) item(slot int) []byte {
	n := q.l.Item.Size
	return q.m.Payload()[q.l.Items+slot*q.l.Stride:][:n:n]
}

// Type returns the type of an item.
func (q *anyItems) Type() *format.Type { return q.l.Item }

// Send sends a message that write writes in place.
func (q *anyItems) Send(ctx context.Context, write func([]byte) error) error {
	s, err := q.form.sender(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	r, err := s.claim(ctx, 1)
	if err != nil {
		return err
	}
	written := false
	defer func() {
		if !written {
			s.cancel(r)
		}
	}()
	q.m.Clear(q.l.Items+r.first*q.l.Stride, q.l.Cell)
	if err := write(q.item(r.first)); err != nil {
		return err
	}
	written = true
	return s.publish(r)
}

// Recv receives a message that read reads in place, with the time when it was sent. If read fails
// the message is redelivered.
func (q *anyItems) Recv(ctx context.Context, read func([]byte, time.Time) error) error {
	end, err := q.form.receiver(ctx)
	if err != nil {
		return err
	}
	defer end.leave()
	r, err := end.take(ctx, 1)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = end.redeliver(r, q.form.attached().care.delay)
		}
	}()
	if err := read(q.item(r.first), stream.TimeOf(r.sent)); err != nil {
		return err
	}
	done = true
	return end.release(r)
}

// anyLoan is a lease on an item.
type anyLoan struct {
	loan
	value []byte
}

func (l *anyLoan) Bytes() []byte                  { return l.value }
func (l *anyLoan) Position() uint64               { return l.r.pos }
func (l *anyLoan) Deliveries() int                { return l.r.lease.deliveries }
func (l *anyLoan) Time() time.Time                { return stream.TimeOf(l.r.sent) }
func (l *anyLoan) Done() error                    { return l.done() }
func (l *anyLoan) Back(delay time.Duration) error { return l.back(delay) }

// Take receives a message on a lease. See Queue.Take.
func (q *anyItems) Take(ctx context.Context) (stream.Loan, error) {
	end, err := q.form.receiver(ctx)
	if err != nil {
		return nil, err
	}
	defer end.leave()
	a := q.form.attached()
	k, ok := q.form.(lender)
	if !ok {
		return nil, a.recvErrors.Of(errSingle)
	}
	r, err := end.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	a.M.MarkExposed()
	k.keep(r)
	return &anyLoan{loan{a, k, r}, q.item(r.first)}, nil
}

// Unlinked is Queue.Unlinked.
func (q *anyItems) Unlinked() <-chan struct{} { return q.form.attached().Segment.Unlinked() }

// Len returns the number of messages that no receiver has taken yet.
func (q *anyItems) Len() int { return length(q.form) }

// Ended reports whether the stream has ended. It returns true after Close.
func (q *anyItems) Ended() bool {
	s, err := statsOf(q.form)
	return err != nil || s.Ended
}

// End ends the stream; see Queue.End.
func (q *anyItems) End() error { return end(q.form) }

// Close detaches; see shmem.Segment.Close.
func (q *anyItems) Close() error { return q.form.attached().Segment.Close() }
