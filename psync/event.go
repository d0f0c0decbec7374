package psync

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// An Event is set or not set. The zero value is not set. Several goroutines and processes may call
// its methods at once. Wait and IsSet work also where the box is attached read-only; Wait polls
// there.
//
// The death of a process changes no event. A process that must set an event can call
// [Event.Promise], so that waiters see its death.
type Event struct {
	_       noCopy
	count   atomic.Uint32 // goes up with every change; odd: set
	armed   atomic.Uint32
	promise atomic.Uint32 // id of the attachment that promised to set the event; 0: none
	_       atomic.Uint32
}

// Set sets the event and wakes all waiters.
func (e *Event) Set() error { return e.change(1) }

// Reset makes the event not set.
func (e *Event) Reset() error { return e.change(0) }

// change makes the low bit of the count equal to to.
func (e *Event) change(to uint32) error {
	o, err := robust.Of(e)
	if err == nil {
		err = o.PinNested()
	}
	if err != nil {
		return failed([...]string{"event reset", "event set"}[to&1], e, err)
	}
	defer o.Unpin()
	robust.Releasing(o, &e.count)
	for {
		c := e.count.Load()
		if c&1 == to || e.count.CompareAndSwap(c, c+1) {
			break
		}
	}
	if to == 1 {
		step.Reach(step.EventSet)
		// Also when the event was set already: its setter may have died before it woke the waiters.
		wait.Wake(o.M, &e.armed)
		if e.promise.Load() != 0 {
			e.promise.Store(0)
		}
	}
	return nil
}

// Promise declares that this attachment will set the event. If the attachment dies before it calls
// Set, Wait returns [ErrOwnerDied], until an attachment sets the event or promises it again. A
// later Promise replaces an earlier one.
func (e *Event) Promise() error {
	o, err := robust.Of(e)
	if err == nil {
		err = o.PinNested()
	}
	if err != nil {
		return fail("event promise", e, err)
	}
	defer o.Unpin()
	e.promise.Store(uint32(o.Me))
	return nil
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool {
	if e.count.Load()&1 == 0 {
		return false
	}
	if o, err := objectToRead(e); err == nil {
		robust.Acquired(o, &e.count)
	}
	return true
}

// objectToRead is robust.Of for calls that write nothing: it accepts a read-only attachment, and
// the object's id is format.NoID then.
func objectToRead[T any](p *T) (robust.Object, error) {
	m := mem.Of(p)
	if m == nil || m.Retired() {
		return robust.Of(p)
	}
	if !m.Writable() || m.Peers != nil && m.Peers.Self == format.NoID {
		return robust.Object{M: m}, nil
	}
	return robust.Of(p)
}

// Wait waits until the event is set, or ctx is done. Wait returns also when the event was set and
// reset again while it waited.
func (e *Event) Wait(ctx context.Context) error {
	return fail("event wait", e, e.wait(ctx))
}

func (e *Event) wait(ctx context.Context) error {
	o, err := objectToRead(e)
	if err != nil {
		return err
	}
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	c := e.count.Load()
	if c&1 == 0 {
		if err := e.waitFor(ctx, o, c); err != nil {
			return err
		}
	}
	robust.Acquired(o, &e.count)
	return nil
}

// waitFor waits until the count is no longer c. The object is pinned.
func (e *Event) waitFor(ctx context.Context, o robust.Object, c uint32) error {
	promiserDied := func() bool {
		id := format.ID(e.promise.Load())
		return id != format.NoID && !o.Alive(id)
	}
	changed := func() bool { return e.count.Load() != c }
	if promiserDied() {
		if changed() {
			return nil
		}
		return ErrOwnerDied
	}
	var watch []format.ID
	if id := format.ID(e.promise.Load()); id != format.NoID {
		watch = []format.ID{id}
	}
	err := wait.Until(ctx, o.M, &e.armed, changed, wait.Options{
		Probe: promiserDied,
		Watch: watch,
		Poll:  o.Me == format.NoID,
	})
	if err == nil && !changed() {
		return ErrOwnerDied
	}
	return err
}
