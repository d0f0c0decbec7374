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

// An Event is set or not. Its zero value is not set. All methods may be called by several
// goroutines and processes at once, Wait and IsSet also where the box is attached read-only.
//
// The death of a process changes no event, but see [Event.Promise].
type Event struct {
	_       noCopy
	count   atomic.Uint32 // odd: set
	armed   atomic.Uint32
	promise atomic.Uint32 // id of the attachment that will set it, 0: nobody said so
	_       atomic.Uint32
}

// Set sets the event and wakes all who wait for it.
func (e *Event) Set() error { return e.turn(1) }

// Reset makes the event not set.
func (e *Event) Reset() error { return e.turn(0) }

func (e *Event) turn(to uint32) error {
	o, err := robust.Of(e)
	if err != nil {
		return err
	}
	if err := o.Join(); err != nil {
		return err
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
		wait.Wake(o.M, &e.armed) // also if it was set already: who set it may have died before this
		if e.promise.Load() != 0 {
			e.promise.Store(0)
		}
	}
	return nil
}

// Promise says that this attachment will set the event. If it dies before, those who wait get
// [ErrOwnerDied] instead, until somebody sets the event or promises it. The last promise counts.
func (e *Event) Promise() error {
	o, err := robust.Of(e)
	if err != nil {
		return err
	}
	e.promise.Store(uint32(o.Me))
	return nil
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool {
	if e.count.Load()&1 == 0 {
		return false
	}
	if o, err := watcher(e); err == nil {
		robust.Acquired(o, &e.count)
	}
	return true
}

// watcher is robust.Of for those who only look.
func watcher[T any](p *T) (robust.Object, error) {
	if m := mem.Of(p); m != nil && (!m.Writable() || m.Peers != nil && m.Peers.Self == format.Nobody) {
		return robust.Object{M: m}, nil
	}
	return robust.Of(p)
}

// Wait waits until the event is set. It returns also if the event was set and reset again meanwhile.
func (e *Event) Wait(ctx context.Context) error {
	o, err := watcher(e)
	if err != nil {
		return err
	}
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	c := e.count.Load()
	if c&1 == 0 {
		if err := e.wait(ctx, o, c); err != nil {
			return err
		}
	}
	robust.Acquired(o, &e.count)
	return nil
}

func (e *Event) wait(ctx context.Context, o robust.Object, c uint32) error {
	died := func() bool {
		id := format.ID(e.promise.Load())
		return id != format.Nobody && !o.Alive(id)
	}
	set := func() bool { return e.count.Load() != c }
	if died() {
		if set() {
			return nil
		}
		return ErrOwnerDied
	}
	var watch []format.ID
	if id := format.ID(e.promise.Load()); id != format.Nobody {
		watch = []format.ID{id}
	}
	err := wait.Until(ctx, o.M, &e.armed, set, wait.Options{Look: died, Watch: watch, Poll: o.Me == format.Nobody})
	if err == nil && !set() {
		return ErrOwnerDied
	}
	return err
}
