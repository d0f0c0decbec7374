package psync

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// A Cond is a condition variable: callers wait at it until the value that a [Mutex] protects has
// changed. The zero value is ready. Several goroutines and processes may call its methods at once.
//
//	if err := v.Mu.Lock(ctx); err != nil {
//		return err
//	}
//	for !v.Full {
//		if err := v.Changed.Wait(ctx, &v.Mu); err != nil {
//			return err // not locked
//		}
//	}
//	...
//	return v.Mu.Unlock()
//
// Wait can return although the condition does not hold, so always call it in a loop.
type Cond struct {
	_     noCopy
	count atomic.Uint32 // goes up with every signal
	armed atomic.Uint32
}

// Wait unlocks mu, which the caller has locked, waits for a later Signal or Broadcast, and locks mu
// again. When Wait returns an error, whatever it is, the caller no longer holds mu. Do not unlock
// mu then: another goroutine may have locked it.
//
// Wait returns the context's error when ctx is done, and [ErrOwnerDied] when a holder of mu died.
// It looks at mu when it begins to sleep, and then every 100 ms. The death of a holder that it has
// seen ends the wait at once where the kernel reports it. A holder that locked mu since the last
// look, or a mutex in another box than the Cond, is found at the next one.
func (c *Cond) Wait(ctx context.Context, mu *Mutex) error {
	return fail("cond wait", c, c.wait(ctx, mu))
}

func (c *Cond) wait(ctx context.Context, mu *Mutex) (err error) {
	mo, err := robust.Of(mu)
	if err != nil {
		return err // this attachment does not hold mu
	}
	locked := true
	unlock := func() { _ = mu.unlock() }
	defer func() {
		if err != nil && locked {
			unlock()
		}
	}()
	o, err := robust.Of(c)
	if err != nil {
		return err
	}
	wait := func() error {
		locked = false // waitAndLock unlocks it first
		return c.waitAndLock(ctx, o, mo, mu)
	}
	if mo.M == o.M {
		return o.Take(wait, unlock)
	}
	return mo.Take(func() error { return o.Take(wait, unlock) }, unlock)
}

// waitAndLock is wait with both objects pinned.
func (c *Cond) waitAndLock(ctx context.Context, o, mo robust.Object, mu *Mutex) error {
	was := c.count.Load()
	if err := mu.unlock(); err != nil {
		return err
	}
	step.Reach(step.CondOut)
	changed := func() bool { return c.count.Load() != was }
	opts := wait.Options{
		Probe: func() bool {
			free, err := robust.Free(mo, &mu.w.Word, &mu.w.Armed)
			return !free && err != nil
		},
		Subject: &mu.w.Word,
		Pinned:  true,
	}
	if mo.M == o.M { // else it names an attachment of another segment
		opts.Owner = &mu.w.Word
	}
	err := wait.Until(ctx, o.M, &c.armed, changed, opts)
	if err != nil {
		return err
	}
	return mu.lock(ctx)
}

// Signal wakes at least one waiter, if there is one. At present it wakes all of them: a process
// that is woken may die before it acts.
func (c *Cond) Signal() error { return fail("cond signal", c, c.wakeAll()) }

// Broadcast wakes all waiters.
func (c *Cond) Broadcast() error { return fail("cond broadcast", c, c.wakeAll()) }

func (c *Cond) wakeAll() error {
	o, err := robust.Of(c)
	if err != nil {
		return err
	}
	if err := o.PinNested(); err != nil {
		return err
	}
	defer o.Unpin()
	c.count.Add(1)
	step.Reach(step.CondCount)
	wait.Wake(o.M, &c.armed)
	return nil
}
