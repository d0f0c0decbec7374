package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/sys"
)

// A callContext is the context of a handler. Most handlers do not look at it, so it makes a context
// of the standard library only when Done is called.
type callContext struct {
	base     context.Context // of all handlers
	word     calls.Word
	meta     Metadata
	deadline time.Time // zero: none

	mu       sync.Mutex
	canceled bool               // guarded by mu
	inner    context.Context    // nil: Done was not called; guarded by mu
	stop     context.CancelFunc // of inner
}

// contextOf returns the context of the handler of a call.
func (s *service) contextOf(slot *calls.Slot, w calls.Word) *callContext {
	c := &callContext{base: s.base, word: w, meta: loadMetadata(slot)}
	if at := slot.Deadline.Load(); at != 0 {
		now := time.Now()
		c.deadline = now.Add(time.Duration(at) - sys.Uptime(now))
	}
	return c
}

// Deadline returns that of the call.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done is closed when the client gives up or dies, at the deadline, and when the handler returns.
func (c *callContext) Done() <-chan struct{} { return c.context().Done() }

// Err says why Done is closed.
func (c *callContext) Err() error { return c.context().Err() }

// Value returns the metadata, and otherwise what the context has that was passed to Serve.
func (c *callContext) Value(key any) any {
	if key == (metadataKey{}) {
		return c
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner == nil {
		inner = c.base
	}
	return inner.Value(key) // contexts that are made of c find the one that Done is of
}

// context returns the context of the standard library, which it makes at the first call.
func (c *callContext) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.deadline.IsZero() {
			c.inner, c.stop = context.WithCancel(c.base)
		} else {
			c.inner, c.stop = context.WithDeadline(c.base, c.deadline)
		}
		if c.canceled {
			c.stop()
		}
	}
	return c.inner
}

// cancel ends the context.
func (c *callContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.canceled = true
	if c.inner != nil {
		c.stop()
	}
}
