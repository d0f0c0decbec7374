package psync

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
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
	_     noCopy
	state atomic.Uint64 // an eventState, changed as a whole
	armed atomic.Uint32
	_     atomic.Uint32
}

// An eventState is the state of an Event: it says which setting a promise is for.
//
//	bits 32..63  count of changes; odd: the event is set
//	bits 0..31   id of the attachment that promised to set it next, 0: none
type eventState uint64

func (s eventState) count() uint32       { return uint32(s >> 32) }
func (s eventState) promiser() format.ID { return format.ID(uint32(s)) }
func (s eventState) set() bool           { return s.count()&1 != 0 }

// promised returns the state with a promise of id instead of the present one.
func (s eventState) promised(id format.ID) eventState { return s&^(1<<32-1) | eventState(id) }

// next returns the state with the next count.
func (s eventState) next() eventState { return s + 1<<32 }

func (e *Event) load() eventState { return eventState(e.state.Load()) }

func (e *Event) swap(from, to eventState) bool {
	return e.state.CompareAndSwap(uint64(from), uint64(to))
}

// Set sets the event and wakes all waiters. A promise to set it is fulfilled then, whichever
// attachment made it.
func (e *Event) Set() error {
	o, err := robust.Of(e)
	if err == nil {
		err = o.PinNested()
	}
	if err != nil {
		return failed("event set", e, err)
	}
	defer o.Unpin()
	robust.Releasing(o, &e.armed)
	for {
		s := e.load()
		to := s
		switch {
		case !s.set():
			to = s.next().promised(format.NoID)
		case s.promiser() == o.Me:
			to = s.promised(format.NoID)
		}
		// The promise of another attachment at an event that is set is for the next time.
		if to == s || e.swap(s, to) {
			break
		}
	}
	step.Reach(step.EventSet)
	// Also when the event was set already: its setter may have died before it woke the waiters.
	wait.Wake(o.M, &e.armed)
	return nil
}

// Reset makes the event not set. It leaves a promise to set it as it is.
func (e *Event) Reset() error {
	o, err := robust.Of(e)
	if err == nil {
		err = o.PinNested()
	}
	if err != nil {
		return failed("event reset", e, err)
	}
	defer o.Unpin()
	robust.Releasing(o, &e.armed)
	for {
		s := e.load()
		if !s.set() || e.swap(s, s.next()) {
			return nil
		}
	}
}

// Promise declares that this attachment will set the event. If the attachment dies before the event
// is set, or is closed, Wait returns [ErrOwnerDied], until an attachment sets the event or promises
// it again. A later Promise replaces an earlier one. At an event that is set the promise is for the
// next time: a Set of another attachment does not end it before Reset.
func (e *Event) Promise() error {
	o, err := robust.Of(e)
	if err == nil {
		err = o.PinNested()
	}
	if err != nil {
		return failed("event promise", e, err)
	}
	defer o.Unpin()
	if o.M != nil {
		o.M.Promised.Store(true)
	}
	for {
		s := e.load()
		if e.swap(s, s.promised(o.Me)) {
			break
		}
	}
	step.Reach(step.EventPromised)
	wait.Wake(o.M, &e.armed) // those who wait watch this attachment now
	return nil
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool {
	if !e.load().set() {
		return false
	}
	if o, err := objectToRead(e); err == nil {
		robust.Acquired(o, &e.armed)
	}
	return true
}

// objectToRead is robust.Of for calls that write nothing: it accepts a read-only attachment, and
// the object's id is format.NoID then.
func objectToRead[T any](p *T) (robust.Object, error) {
	m := mem.Of(p)
	if m != nil {
		if id := m.LockID(); id != format.NoID { // the usual case
			return robust.Object{M: m, Me: id}, nil
		}
	}
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
	if err := e.wait(ctx); err != errs.Entered {
		return fail("event wait", e, err)
	}
	return errs.Entered
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
	if s := e.load(); !s.set() {
		c := s.count()
		if g := wait.GroupOf(ctx); g != nil {
			c = g.First(c) // it may have been set and reset since
		}
		if err := e.waitFor(ctx, o, c); err != nil {
			return err
		}
	}
	robust.Acquired(o, &e.armed)
	return nil
}

// waitFor waits until the count is no longer c. The object is pinned.
func (e *Event) waitFor(ctx context.Context, o robust.Object, c uint32) error {
	for {
		s := e.load()
		if s.count() != c {
			return nil
		}
		opts := wait.Options{Pinned: true, Poll: o.Me == format.NoID}
		if id := s.promiser(); id != format.NoID {
			died := func() bool { return !o.Alive(id) }
			if died() {
				if e.load() == s { // no other attachment has set or promised it meanwhile
					return ErrOwnerDied
				}
				continue
			}
			opts.Probe, opts.Watch = died, []format.ID{id}
		}
		var err error
		if g := wait.GroupOf(ctx); g != nil {
			err = g.Enter(o.M, &e.armed, func() bool { return e.load() != s }, opts)
		} else {
			err = e.until(ctx, o, s, opts)
		}
		if err != nil {
			return err
		}
	}
}

// An eventWait is a condition that one wait after the other uses: a wait allocates nothing.
type eventWait struct {
	e       *Event
	s       eventState
	changed func() bool // the state of e is no longer s
}

var eventWaits = sync.Pool{New: func() any {
	w := new(eventWait)
	w.changed = func() bool { return w.e.load() != w.s }
	return w
}}

// until waits until the state is no longer s. A new promise ends the wait too: the next one watches
// its process.
func (e *Event) until(
	ctx context.Context, o robust.Object, s eventState, opts wait.Options,
) error {
	w := eventWaits.Get().(*eventWait)
	w.e, w.s = e, s
	err := wait.Until(ctx, o.M, &e.armed, w.changed, opts)
	w.e = nil
	eventWaits.Put(w)
	return err
}
