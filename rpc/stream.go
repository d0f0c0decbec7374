package rpc

import (
	"context"
	"iter"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
)

// windowOf returns how many replies of a size a stream has room for.
func windowOf(size int) int { return min(max(64<<10/max(size, 1), 2), 64) }

// ServeStream is Serve for calls with any number of replies. The handler sends each of them by
// send, which copies it. While the client is behind, by 64 replies or 64 KiB, send waits. It
// returns the error of ctx when the client has given up or died. After the replies the client gets
// the error of the handler. One goroutine at a time calls send, and none after the handler.
func ServeStream[Q, R any](
	ctx context.Context, name string,
	handler func(ctx context.Context, q *Q, send func(r *R) error) error, opts *ServeOptions,
) error {
	want, err := typesOf[Q, R]()
	s, err := newService(ctx, name, layout.StreamCalls, want, err, opts)
	if err != nil {
		return err
	}
	requests, err := valuesAt[Q](s, s.l.RequestAt)
	if err != nil {
		return s.give(err)
	}
	s.M.MarkExposed()
	s.run = func(ctx context.Context, i int, w calls.Word) error {
		s.t.Slot(i).Sent.Store(0)
		sent := uint64(0)
		return handler(ctx, requests[i], func(r *R) error {
			err := s.send(ctx, i, w, sent, mem.Bytes(r))
			if err == nil {
				sent++
			}
			return err
		})
	}
	return s.serve(ctx)
}

// send sends reply number n of a stream.
func (s *service) send(ctx context.Context, i int, w calls.Word, n uint64, b []byte) error {
	slot, window := s.t.Slot(i), uint64(s.l.Window)
	ready := func() bool { return n-slot.Received.Load() < window || s.t.IsCanceled(i, w) }
	err := errs.Context(ctx)
	if err == nil && !ready() {
		err = wait.Until(ctx, s.M, &slot.Room, ready, wait.Options{})
	}
	switch {
	case err != nil:
		return err
	case s.t.IsCanceled(i, w):
		return context.Canceled
	}
	mem.Copy(s.streamed(i, n), b)
	slot.Sent.Store(n + 1)
	wait.Wake(s.M, &slot.Armed)
	return nil
}

// streamed returns the place of reply number n of a stream.
func (c *core) streamed(i int, n uint64) []byte {
	at := int(n%uint64(c.l.Window)) * c.l.ReplyStride
	return c.part(i, c.l.ReplyAt+at, c.l.Reply.Size)
}

// A StreamClient makes calls of a service of ServeStream. Its methods are safe for concurrent use.
// It is otherwise as a Client.
type StreamClient[Q, R any] struct{ c client }

// DialStream returns a client of the service of that name, as Dial does.
func DialStream[Q, R any](
	ctx context.Context, name string, opts *DialOptions,
) (*StreamClient[Q, R], error) {
	want, err := typesOf[Q, R]()
	c := new(StreamClient[Q, R])
	if err := c.c.dial(ctx, name, layout.StreamCalls, want, err, opts); err != nil {
		return nil, err
	}
	return c, nil
}

// Call calls the handler with a copy of *q, and yields copies of the replies as they come. It ends
// with an error if there is one, as Client.Call does. When the loop is left, or ctx is done, the
// context of the handler is canceled. A call is made again, see DialOptions.Idempotent, only while
// no reply has been yielded.
func (c *StreamClient[Q, R]) Call(ctx context.Context, q *Q) iter.Seq2[*R, error] {
	return func(yield func(*R, error) bool) {
		_ = *q // nil panics before a slot is taken
		p, err := c.c.begin(ctx)
		if err != nil {
			yield(nil, c.c.error("rpc call", err))
			return
		}
		f := follower{c: &c.c, p: p, slot: c.c.t.Slot(p.slot), pinned: true}
		defer f.end() // also when the loop panics
		mem.Copy(c.c.request(p.slot), mem.Bytes(q))
		f.slot.Sent.Store(0)
		f.slot.Received.Store(0)
		c.c.ask(ctx, p)
		for {
			more, err := f.next(ctx)
			if !more {
				if err != nil {
					yield(nil, c.c.error("rpc call", err))
				}
				return
			}
			r := new(R)
			f.take(mem.Bytes(r))
			f.unpin() // the loop may close the client
			goesOn := yield(r, nil)
			if !f.pin() {
				if goesOn {
					yield(nil, c.c.error("rpc call", shmem.ErrClosed))
				}
				return
			}
			if !goesOn {
				return
			}
		}
	}
}

// A follower is a loop over the replies of one call.
type follower struct {
	c      *client
	p      *pending
	slot   *calls.Slot
	n      uint64 // replies that were taken
	over   bool   // no more replies come
	pinned bool   // the mapping is
}

// next waits for a reply. It reports false at the end, with the error of the call.
func (f *follower) next(ctx context.Context) (more bool, err error) {
	ready := func() bool { return f.slot.Sent.Load() != f.n || f.p.isDone() }
	for {
		err := errs.Context(ctx)
		if more := f.slot.Sent.Load() - f.n; err == nil && more != 0 {
			if more > uint64(f.c.l.Window) {
				return false, shmem.ErrCorrupt
			}
			return true, nil
		}
		if f.over {
			return false, f.c.outcome(f.slot, f.p.slot)
		}
		if err == nil {
			err = f.p.wait(ctx, ready)
		}
		if err == nil && f.slot.Sent.Load() != f.n {
			continue
		}
		done, err := f.p.settle(err)
		if done && err != nil {
			return false, err
		}
		f.over = done // replies that came last are still to be taken
	}
}

// take copies the reply that next has found.
func (f *follower) take(b []byte) {
	mem.Copy(b, f.c.streamed(f.p.slot, f.n))
	f.n++
	f.p.once = true
	f.slot.Received.Store(f.n)
	wait.Wake(f.c.M, &f.slot.Room)
}

// pin pins the mapping, if it is not pinned. It reports false after Close.
func (f *follower) pin() bool {
	f.pinned = f.pinned || f.c.M.Pin()
	return f.pinned
}

func (f *follower) unpin() {
	f.pinned = false
	f.c.M.Unpin()
}

// end gives the call up, if it is not over.
func (f *follower) end() {
	if !f.pin() {
		return // other processes free the slot of an attachment that has left
	}
	defer f.unpin()
	if f.p.held && !f.over {
		_, _ = f.p.settle(context.Canceled)
	}
	f.c.end(f.p)
}

// Segment returns the segment of the service.
func (c *StreamClient[Q, R]) Segment() *shmem.Segment { return c.c.Segment }

// Name returns the name of the service.
func (c *StreamClient[Q, R]) Name() string { return c.c.Segment.Name() }

// Linked reports whether the name still leads to this service; see shmem.Segment.Linked.
func (c *StreamClient[Q, R]) Linked() bool { return c.c.Segment.Linked() }

// Close ends the attachment, as Client.Close does.
func (c *StreamClient[Q, R]) Close() error { return c.c.Segment.Close() }
