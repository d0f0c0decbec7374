package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/wait"
)

// Serve serves calls of that name until ctx is done, and returns nil then. It creates the service
// if there is none. Other processes can serve it as well, up to 64, and share the calls.
//
// The handler gets the request and a zero reply, both in shared memory, until it returns. Handlers
// run concurrently. The context of a handler has the values of ctx, the deadline and the metadata
// of the call, and is canceled when the client gives up or dies. If the handler returns an error
// the client gets it as a *HandlerError, and no reply.
//
// When ctx is done Serve takes no more calls, and waits for its handlers; see ServeOptions.Grace.
// Calls that no server has begun are left to other servers. If the name is taken from the service
// Serve returns shmem.ErrUnlinked, after its handlers. A handler that panics ends the process; the
// call of one that ends its goroutine, by runtime.Goexit, fails.
func Serve[Q, R any](
	ctx context.Context, name string, handler func(ctx context.Context, q *Q, r *R) error,
	opts *ServeOptions,
) error {
	want, err := typesOf[Q, R]()
	s, err := newService(ctx, name, layout.TypedCalls, want, err, opts)
	if err != nil {
		return err
	}
	requests, err := valuesAt[Q](s, s.l.RequestAt)
	if err != nil {
		return s.give(err)
	}
	replies, err := valuesAt[R](s, s.l.ReplyAt)
	if err != nil {
		return s.give(err)
	}
	s.M.MarkExposed()
	s.run = func(ctx context.Context, i int, _ calls.Word) error {
		clear(mem.Bytes(replies[i]))
		return handler(ctx, requests[i], replies[i])
	}
	return s.serve(ctx)
}

// valuesAt returns the values that are in each slot so many bytes from its beginning.
func valuesAt[T any](s *service, at int) (all []*T, err error) {
	all = make([]*T, s.l.Calls)
	for i := range all {
		if all[i], err = mem.At[T](s.M, s.l.SlotsAt+i*s.l.Stride+at); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// A service is what one call of Serve has.
type service struct {
	core
	plan     *stream.Plan
	grace    time.Duration
	handlers int32
	streams  bool // its handlers wait for clients
	// run runs the handler of slot i. w is the word of the call.
	run    func(ctx context.Context, i int, w calls.Word) error
	record *calls.Server

	taking  context.Context // no more calls are taken when it is done
	base    context.Context // of the handlers
	running []atomic.Pointer[callContext]
	crew    crew
}

// newService opens the segment of a service. bad is an error of its types.
func newService(
	ctx context.Context, name string, form layout.CallForm, want types, bad error, o *ServeOptions,
) (*service, error) {
	window := 1
	if form == layout.StreamCalls && bad == nil {
		window = windowOf(want.reply.Size)
	}
	c, err := o.config()
	p := plan("rpc serve", name, stream.Open, c.segment)
	p.Kind = layout.CallsName
	if bad != nil {
		err = bad
	}
	if err == nil {
		err = contextError(ctx)
	}
	if err != nil {
		return nil, p.Error(err)
	}
	p.New = func(int) (*format.Type, error) {
		l, err := layout.NewCalls(form, want.request, want.reply, layout.CallCounts{
			Calls: c.calls, Servers: calls.MaxServers, Window: window,
		})
		if err != nil {
			return nil, err
		}
		return l.Type, nil
	}
	p.Like = like(form, want, func(l *layout.Calls) error {
		return stream.Claim("ServeOptions", "Calls", l.Calls, c.claim)
	})
	seg, m, t, err := p.Open()
	if err != nil {
		return nil, err
	}
	s := &service{plan: p, grace: c.grace, handlers: int32(c.handlers)}
	s.streams = form == layout.StreamCalls
	l, err := layout.CallsLike(t, want.request, want.reply)
	if err == nil {
		err = s.bind(seg, m, l, c.kinds)
	}
	if err != nil {
		_ = seg.Close()
		return nil, p.Error(err)
	}
	if s.handlers == 0 || int(s.handlers) > l.Calls {
		s.handlers = int32(l.Calls)
	}
	s.running = make([]atomic.Pointer[callContext], l.Calls)
	return s, nil
}

// give closes the segment, and returns the error of Serve.
func (s *service) give(err error) error {
	if e := s.Segment.Close(); err == nil {
		err = e
	}
	return s.plan.Error(err)
}

// serve takes calls until ctx is done.
func (s *service) serve(ctx context.Context) error {
	if err := s.Enter(); err != nil {
		return s.give(err)
	}
	record, ok := s.t.Join(s.Self, s.Alive)
	if !ok {
		s.M.Unpin()
		return s.give(errServers)
	}
	s.record = record
	wait.RingAll(s.M) // clients that wait for a server, and those that are to watch it
	s.sweep()
	taking, stop := context.WithCancel(ctx)
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.taking, s.base = taking, base
	s.begin()
	var looks sync.WaitGroup
	looks.Go(s.followDeaths)
	looks.Go(s.followCancels)
	var err error
	select {
	case <-ctx.Done():
	case <-s.Segment.Unlinked():
		err = shmem.ErrUnlinked
	}
	stop()
	wait.Rouse(s.M)
	s.crew.lead.Release()
	s.t.Leave(record, s.Self)
	s.drain(cancel)
	cancel()
	looks.Wait()
	if s.t.AnyReady() {
		wait.WakeN(s.M, &s.header.ReadyArmed, 1)
	}
	s.M.Unpin()
	return s.give(err)
}

// drain waits until all handlers have returned. It cancels their contexts after a while.
func (s *service) drain(cancel context.CancelFunc) {
	if s.grace < 0 {
		cancel()
	} else {
		defer time.AfterFunc(s.grace, cancel).Stop()
	}
	s.crew.done.Wait()
}

// followDeaths frees what clients have that die, at once. The first event is of an attachment that
// lives: until then a client may have come, called and died.
func (s *service) followDeaths() {
	first := true
	for e, err := range s.Segment.Events(s.base) {
		if err != nil {
			return
		}
		// A loop over a stream leaves its slot.
		if first || e.Kind == shmem.Died || e.Kind == shmem.Left {
			first = false
			s.sweep()
			s.cancelTasks() // also of a process that died before it could tell
		}
	}
}

// followCancels cancels the contexts of handlers whose clients give up.
func (s *service) followCancels() {
	seen := uint64(0)
	ready := func() bool { return s.header.Canceled.Load() != seen }
	o := wait.Options{NoSpin: true}
	for wait.Until(s.base, s.M, &s.header.CancelArmed, ready, o) == nil {
		seen = s.header.Canceled.Load()
		s.cancelTasks()
	}
}

// cancelTasks cancels the contexts of handlers whose calls are canceled.
func (s *service) cancelTasks() {
	for i := range s.running {
		if c := s.running[i].Load(); c != nil && s.t.IsCanceled(i, c.word) {
			c.cancel()
		}
	}
}

// handle runs the handler of a call. It reports whether there is a client to be woken.
func (s *service) handle(i int, w calls.Word) (done bool) {
	slot := s.t.Slot(i)
	ctx := s.contextOf(slot, w)
	defer ctx.cancel()
	s.running[i].Store(ctx)
	if s.t.IsCanceled(i, w) {
		ctx.cancel()
	}
	return s.finish(i, w, s.run(ctx, i, w))
}

// finish ends a call, of which the handler returned err. It reports as handle does.
func (s *service) finish(i int, w calls.Word, err error) (done bool) {
	if err != nil {
		s.fail(i, err)
		s.record.Failed.Add(1)
	} else {
		s.t.Slot(i).Status.Store(replied)
	}
	s.running[i].Store(nil)
	s.record.Handled.Add(1)
	if s.t.Finish(i, w) {
		return true
	}
	wait.WakeN(s.M, &s.header.FreeArmed, 1)
	return false
}
