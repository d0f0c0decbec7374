package rpc

import (
	"context"
	"math/rand/v2"
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

// A Client makes calls of a service. Its methods are safe for concurrent use.
//
// An error of the handler is a *HandlerError. Both sides may list errors in the option Errors: if
// errors.Is finds one of them in the handler's error, it finds it in that of the call too. They are
// known by their texts, so two of them cannot have the same one.
//
// When the server of a call dies, the call returns ErrServerDied or goes to another server; see
// DialOptions. When a client dies, the contexts of its handlers are canceled, and what it had in
// the service is free at once.
type Client[Q, R any] struct{ c client }

// Dial returns a client of the service of that name. It waits until there is one, and until a
// server is alive, or until ctx is done. A service of other types is shmem.ErrMismatch at once.
func Dial[Q, R any](ctx context.Context, name string, opts *DialOptions) (*Client[Q, R], error) {
	want, err := typesOf[Q, R]()
	c := new(Client[Q, R])
	if err := c.c.dial(ctx, name, layout.TypedCalls, want, err, opts); err != nil {
		return nil, err
	}
	return c, nil
}

// Call calls the handler with a copy of *q, and waits for the reply, which it copies to *r. If ctx
// is done first Call returns its error, and the context of the handler is canceled. The deadline
// and the metadata of ctx go with the call. While as many calls run as the service has room for
// Call waits.
//
// After an error *r has not changed.
func (c *Client[Q, R]) Call(ctx context.Context, q *Q, r *R) error {
	_, _ = *q, *r // nil panics before a slot is taken
	p, err := c.c.begin(ctx)
	if err != nil {
		return c.c.error("rpc call", err)
	}
	defer c.c.M.Unpin()
	mem.Copy(c.c.request(p.slot), mem.Bytes(q))
	if err = c.c.await(ctx, p); err == nil {
		mem.Copy(mem.Bytes(r), c.c.reply(p.slot))
	}
	c.c.end(p)
	return c.c.error("rpc call", err)
}

// Segment returns the segment of the service.
func (c *Client[Q, R]) Segment() *shmem.Segment { return c.c.Segment }

// Name returns the name of the service.
func (c *Client[Q, R]) Name() string { return c.c.Segment.Name() }

// Linked reports whether the name still leads to this service; see shmem.Segment.Linked.
func (c *Client[Q, R]) Linked() bool { return c.c.Segment.Linked() }

// Close ends the attachment. Calls that wait are given up; they and later ones return
// shmem.ErrClosed.
func (c *Client[Q, R]) Close() error { return c.c.Segment.Close() }

// client is a client of a service of any form.
type client struct {
	core
	idempotent, waiting bool
	pending             sync.Pool // of *pending
	calling             atomic.Int32
	owed                owed
}

// A pending is a call that is being made. It is used again, with the slot that it had last.
type pending struct {
	c       *client
	slot    int
	word    calls.Word
	held    bool   // the slot is to be freed
	once    bool   // the call must not be made again: a part of the reply was read
	begun   bool   // a server that died had begun the call
	joined  uint64 // how many servers had come when servers was read
	servers [calls.MaxServers]uint32
	watch   []format.ID
	ready   func() bool
	probe   func() bool
}

func (c *client) dial(
	ctx context.Context, name string, form layout.CallForm, want types, bad error, o *DialOptions,
) error {
	conf, err := o.config()
	p := plan("rpc dial", name, stream.Attach, conf.segment)
	p.Kind = layout.CallsName
	if bad != nil {
		err = bad
	}
	if err == nil {
		err = contextError(ctx)
	}
	if err != nil {
		return p.Error(err)
	}
	p.Like = like(form, want, nil)
	var seg *shmem.Segment
	var m *mem.Mapping
	var t *format.Type
	err = p.AttachWait(ctx, func() (err error) {
		seg, m, t, err = p.Open()
		return err
	})
	if err != nil {
		return err
	}
	c.idempotent, c.waiting = conf.idempotent, conf.waiting
	l, err := layout.CallsLike(t, want.request, want.reply)
	if err == nil {
		err = c.bind(seg, m, l, conf.kinds)
	}
	if err == nil {
		err = c.waitForServer(ctx)
	}
	if err != nil {
		_ = seg.Close()
	}
	return p.Error(err)
}

// waitForServer waits until a server is alive.
func (c *client) waitForServer(ctx context.Context) error {
	if err := c.Enter(); err != nil {
		return err
	}
	defer c.M.Unpin()
	for {
		seen := c.header.Joined.Load()
		if c.serverAlive() {
			return nil
		}
		if !c.Segment.Linked() {
			return shmem.ErrUnlinked
		}
		ready := func() bool { return c.header.Joined.Load() != seen }
		probe := func() bool { return !c.Segment.Linked() }
		err := wait.Until(ctx, c.M, &c.header.JoinArmed, ready, wait.Options{Probe: probe})
		if err != nil {
			return err
		}
	}
}

// error returns the error of an operation.
func (c *client) error(op string, err error) error {
	if err == nil {
		return nil
	}
	if err == shmem.ErrClosed {
		err = errClosed
	}
	return &shmem.Error{Op: op, Name: c.Segment.Name(), Err: err}
}

// begin takes a slot for a call. After nil the mapping is pinned, and the caller writes the request
// and calls await and end.
func (c *client) begin(ctx context.Context) (*pending, error) {
	if err := contextError(ctx); err != nil {
		return nil, err
	}
	if err := c.Enter(); err != nil {
		return nil, err
	}
	p, _ := c.pending.Get().(*pending)
	if p == nil {
		p = &pending{c: c, slot: rand.IntN(c.l.Calls)}
		p.ready, p.probe = p.isDone, p.look
	}
	for swept := false; ; swept = true {
		i, w, ok := c.t.Take(c.Self, p.slot)
		if ok {
			p.slot, p.word, p.held, p.once, p.begun = i, w, true, false, false
			c.calling.Add(1)
			return p, nil
		}
		if !swept && c.sweep().Freed > 0 {
			continue
		}
		err := c.until(ctx, &c.header.FreeArmed, c.t.AnyFree, wait.Options{
			Alike: true, Probe: func() bool { return c.sweep().Freed > 0 },
		})
		if err != nil {
			c.pending.Put(p)
			c.M.Unpin()
			return nil, err
		}
	}
}

// ask makes the call.
func (c *client) ask(ctx context.Context, p *pending) {
	s := c.t.Slot(p.slot)
	now := time.Now()
	s.Since.Store(uptime(now))
	s.Deadline.Store(deadlineIn(ctx))
	MetadataOf(ctx).store(s)
	p.word = c.t.Ask(p.slot, p.word)
	c.owe(now.Sub(started))
}

// wait waits until ready, which contains isDone, reports true. It watches the servers that there
// are. One that joins rings all that wait before it takes a call, so that they watch it too.
func (p *pending) wait(ctx context.Context, ready func() bool) error {
	c := p.c
	p.joined = c.header.Joined.Load()
	p.watch = p.watch[:0]
	for _, id := range c.t.Servers(p.servers[:0]) {
		if id != c.Self {
			p.watch = append(p.watch, format.ID(id))
		}
	}
	return c.until(ctx, &c.t.Slot(p.slot).Armed, ready, wait.Options{
		Probe: p.probe, Watch: p.watch, NoSpin: c.calling.Load() > 1,
	})
}

// until is wait.Until. Afterwards it rings a server, if other calls have left that to the caller.
func (c *client) until(
	ctx context.Context, armed *atomic.Uint32, ready func() bool, o wait.Options,
) error {
	err := wait.Until(ctx, c.M, armed, ready, o)
	c.pay(false)
	return err
}

// await makes the call and waits for the reply. After nil the caller reads it.
func (c *client) await(ctx context.Context, p *pending) error {
	s := c.t.Slot(p.slot)
	c.ask(ctx, p)
	for {
		if done, err := p.settle(p.wait(ctx, p.ready)); done {
			if err == nil {
				err = c.outcome(s, p.slot)
			}
			return err
		}
	}
}

// isDone reports whether the call is neither waiting for a server nor with one. It is true also
// when a server has joined, which is to be watched.
func (p *pending) isDone() bool {
	w := p.c.t.Load(p.slot)
	return !w.Same(p.word) || w.State() != calls.Asked && w.State() != calls.Begun ||
		p.c.header.Joined.Load() != p.joined
}

// look looks after the call while it waits. It reports whether settle has something to do.
func (p *pending) look() bool {
	c, w := p.c, p.c.t.Load(p.slot)
	switch {
	case !w.Same(p.word):
		return true
	case w.State() == calls.Asked:
		if c.t.Remark(p.slot, w) {
			c.ringServer()
		}
		return !c.waiting && !c.serverAlive() || !c.Segment.Linked()
	case w.State() == calls.Begun:
		return !c.Alive(w.ID())
	}
	return true
}

// settle decides what becomes of a call whose wait has ended with err. It reports whether the call
// is over.
func (p *pending) settle(err error) (done bool, _ error) {
	c := p.c
	for {
		w := c.t.Load(p.slot)
		if !w.Same(p.word) {
			p.held = false
			return true, shmem.ErrCorrupt
		}
		switch w.State() {
		case calls.Done:
			p.word = w
			return true, nil
		case calls.Asked:
			cause := err
			switch {
			case cause != nil:
			case !c.Segment.Linked():
				cause = shmem.ErrUnlinked
			case !c.waiting && !c.serverAlive():
				cause = errNoServer
				if p.begun {
					cause = errServerDied
				}
			default:
				return false, nil
			}
			if c.t.Withdraw(p.slot, w) {
				p.held = false
				wait.WakeN(c.M, &c.header.FreeArmed, 1)
				return true, cause
			}
		case calls.Begun:
			if done, err := p.settleBegun(w, err); done || err != errAgain {
				return done, err
			}
		default:
			p.held = false
			return true, shmem.ErrCorrupt
		}
	}
}

// settleBegun is settle of a call that a server has begun. It returns errAgain if the word has
// changed.
func (p *pending) settleBegun(w calls.Word, err error) (done bool, _ error) {
	c := p.c
	switch {
	case !c.Alive(w.ID()):
		if err == nil && c.idempotent && !p.once {
			c.t.Slot(p.slot).Sent.Store(0) // replies of a stream that were not read
			if c.t.Requeue(p.slot, w) {
				p.begun = true
				c.ringServer()
				return false, nil
			}
			return false, errAgain
		}
		if !c.t.Abandon(p.slot, w) {
			return false, errAgain
		}
		wait.WakeN(c.M, &c.header.FreeArmed, 1)
		if err == nil {
			err = errServerDied
		}
	case err == nil:
		return false, nil
	default:
		if !c.t.Cancel(p.slot, w) {
			return false, errAgain
		}
		wait.Wake(c.M, &c.header.CancelArmed)
	}
	p.held = false
	return true, err
}

var errAgain = &shmem.Error{Op: "rpc call", Err: shmem.ErrContended}

// end frees the slot of a call, if the client still has it.
func (c *client) end(p *pending) {
	if p.held {
		c.t.Free(p.slot, p.word)
		wait.WakeN(c.M, &c.header.FreeArmed, 1)
	}
	c.pending.Put(p)
	c.calling.Add(-1)
}
