package world

import (
	"context"
	"slices"
	"time"
)

// A Context is a context of a simulated process.
type Context struct {
	proc       *Process
	cancelable bool // the scheduler may cancel it
	done       chan struct{}
	err        error
	deadline   time.Time
	after      []func()
	children   []*Context // of WithTimeout
}

// Cancelable is a context that the scheduler may cancel at any decision.
func (p *Process) Cancelable() *Context {
	c := &Context{proc: p, cancelable: true, done: make(chan struct{})}
	w.ctxs = append(w.ctxs, c)
	return c
}

// Timeout is a context that ends after d.
func (p *Process) Timeout(d time.Duration) *Context {
	c := &Context{proc: p, done: make(chan struct{}), deadline: Now().Add(d)}
	p.Do(func() { NewTimer(d, func() { c.end(context.DeadlineExceeded) }) })
	return c
}

// WithTimeout is context.WithTimeout.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c, cancel := child(parent)
	c.deadline = Now().Add(d)
	t := NewTimer(d, func() { c.end(context.DeadlineExceeded) })
	return c, func() {
		t.Stop()
		cancel()
	}
}

// WithCancel is context.WithCancel.
func WithCancel(parent context.Context) (context.Context, context.CancelFunc) {
	c, cancel := child(parent)
	return c, cancel
}

// child makes a context that ends with parent.
func child(parent context.Context) (*Context, func()) {
	c := &Context{proc: Current(), done: make(chan struct{})}
	p, _ := parent.(*Context)
	if p != nil {
		p.children = append(p.children, c)
	}
	if err := parent.Err(); err != nil {
		c.end(err)
	}
	return c, func() {
		if p != nil {
			p.children = slices.DeleteFunc(p.children, func(x *Context) bool { return x == c })
		}
		c.end(context.Canceled)
	}
}

// Deadline, Done, Err and Value are those of context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }
func (c *Context) Done() <-chan struct{}       { return c.done }
func (c *Context) Err() error                  { return c.err }
func (c *Context) Value(any) any               { return nil }

// Cancel ends the context.
func (c *Context) Cancel() {
	Local()
	c.cancel()
}

func (c *Context) cancel() { c.end(context.Canceled) }

func (c *Context) end(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	Wake(ChannelKey(c.Done()), 0)
	for _, child := range c.children {
		child.end(err)
	}
	for _, f := range c.after {
		if f != nil {
			w.spawn(c.proc, c.proc.Name+".after", f)
		}
	}
}

// AfterFunc is context.AfterFunc.
func AfterFunc(ctx context.Context, f func()) (stop func() bool) {
	c, ok := ctx.(*Context)
	if !ok || c.proc.killed {
		return func() bool { return true }
	}
	if c.err != nil {
		w.spawn(c.proc, c.proc.Name+".after", f)
		return func() bool { return false }
	}
	i := len(c.after)
	c.after = append(c.after, f)
	return func() bool {
		if c.err != nil || c.after[i] == nil {
			return false
		}
		c.after[i] = nil
		return true
	}
}
