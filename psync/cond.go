package psync

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// A Cond is where one waits for the value behind a [Mutex] to change. Its zero value is ready. All
// methods may be called by several goroutines and processes at once.
//
//	if err := v.mu.Lock(); err != nil {
//		return err
//	}
//	for !v.full {
//		if err := v.changed.Wait(ctx, &v.mu); err != nil {
//			return err // not locked
//		}
//	}
//	...
//	return v.mu.Unlock()
//
// A signal wakes every attachment that waits, since one that is woken may die before it acts; Wait
// may also return for no reason.
type Cond struct {
	_     noCopy
	count atomic.Uint32
	armed atomic.Uint32
}

// Wait unlocks mu, which is locked, waits for a signal that comes after that, and locks mu again.
// With an error mu is not locked; do not unlock it then, it may be another goroutine's. When the
// holder of mu dies meanwhile Wait answers [ErrOwnerDied].
func (c *Cond) Wait(ctx context.Context, mu *Mutex) error {
	o, err := robust.Of(c)
	if err != nil {
		return err
	}
	mo, err := robust.Of(mu)
	if err != nil {
		return err
	}
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	if mo.M != o.M {
		if err := mo.Pin(); err != nil {
			return err
		}
		defer mo.Unpin()
	}
	was := c.count.Load()
	if err := mu.Unlock(); err != nil {
		return err
	}
	step.Reach(step.CondOut)
	err = wait.Until(ctx, o.M, &c.armed, func() bool { return c.count.Load() != was }, wait.Options{
		Look: func() bool {
			free, err := robust.Free(mo, &mu.w.Word, &mu.w.Armed)
			return !free && err != nil
		},
		Subject: &mu.w.Word,
		Watch:   holder(mu),
	})
	if err != nil {
		return err
	}
	return mu.Lock(ctx)
}

func holder(mu *Mutex) []format.ID {
	if id := format.ID(mu.w.Word.Load() &^ format.WaitersBit); id.Gen() != 0 {
		return []format.ID{id}
	}
	return nil
}

// Signal wakes at least one who waits, if anybody does.
func (c *Cond) Signal() error { return c.Broadcast() }

// Broadcast wakes all who wait.
func (c *Cond) Broadcast() error {
	o, err := robust.Of(c)
	if err != nil {
		return err
	}
	if err := o.Join(); err != nil {
		return err
	}
	defer o.Unpin()
	c.count.Add(1)
	step.Reach(step.CondCount)
	wait.Wake(o.M, &c.armed)
	return nil
}
