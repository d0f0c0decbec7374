package stream

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
)

// A Stop ends a call of a sender or receiver that waits, when that is closed. One goroutine at a
// time calls With. A nil *Stop never stops.
type Stop struct {
	stopped chan struct{}
	once    sync.Once // of closing stopped
	ctx     stopContext
	ready   func() bool // of Group, made once
}

// A stopContext is the context of a call of an end that can be closed by itself.
type stopContext struct {
	context.Context
	stop *Stop
}

// Init makes s ready.
func (s *Stop) Init() {
	s.stopped = make(chan struct{})
	s.ctx.stop = s
}

// With returns ctx for a call that s stops. It is valid until the next call of With.
func (s *Stop) With(ctx context.Context) context.Context {
	if s == nil || ctx == nil || Tries(ctx) {
		return ctx
	}
	if _, ok := ctx.(*stopContext); !ok {
		s.ctx.Context = ctx
	}
	return &s.ctx
}

// Stop ends the call that waits at m, and those that would. Any goroutine may call it.
func (s *Stop) Stop(m *mem.Mapping) {
	s.once.Do(func() {
		close(s.stopped)
		wait.Rouse(m)
	})
}

// Stopped reports whether Stop was called.
func (s *Stop) Stopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// Group returns the group that ctx is, perhaps behind that of a Stop, and what a member waits for:
// ready, or the Stop. Of one Stop ready is always the same.
func Group(ctx context.Context, ready func() bool) (*wait.Group, func() bool) {
	c, ok := ctx.(*stopContext)
	if !ok {
		return wait.GroupOf(ctx), ready
	}
	g := wait.GroupOf(c.Context)
	if g == nil {
		return nil, ready
	}
	if s := c.stop; s.ready == nil {
		s.ready = func() bool { return s.Stopped() || ready() }
	}
	return g, c.stop.ready
}

// Err returns the error of a closed end once it is closed.
func (c *stopContext) Err() error {
	if c.stop.Stopped() {
		return errEndClosed
	}
	return c.Context.Err()
}

// Wait is wait.Until, with a context that a Stop has made, perhaps.
func Wait(
	ctx context.Context, m *mem.Mapping, armed *atomic.Uint32, ready func() bool, o wait.Options,
) error {
	c, ok := ctx.(*stopContext)
	if !ok {
		return wait.Until(ctx, m, armed, ready, o)
	}
	o.Stop = c.stop.stopped
	err := wait.Until(c.Context, m, armed, ready, o)
	if err == shmem.ErrClosed && !m.Closed() {
		return errEndClosed
	}
	return err
}
