package psync

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
)

// A Once runs one function once, for all processes. The zero value has run none. Several goroutines
// and processes may call Do at once.
type Once struct {
	_    noCopy
	w    robust.Lock // held by the attachment that runs the function
	done atomic.Uint32
	_    atomic.Uint32
}

// Do calls f, unless a call of Do has already run its function to the end without an error. While
// another goroutine or process runs its function Do waits, until ctx is done. An error of f is
// returned as it is.
//
// When f returns an error or panics, or its process dies, the run does not count, and the next Do
// calls its function: f must be able to start from what an earlier run left. f must not call Do of
// the same Once. Close waits for f. Where the box is attached read-only Do succeeds if a function
// has run, and returns [shmem.ErrReadOnly] otherwise.
func (o *Once) Do(ctx context.Context, f func() error) error {
	c := callback{f: f}
	err := o.do(ctx, &c)
	if c.err != nil {
		return c.err
	}
	return fail("once do", o, err)
}

func (o *Once) do(ctx context.Context, c *callback) error {
	at, err := objectToRead(o)
	if err != nil {
		return err
	}
	if o.done.Load() != 0 {
		robust.Acquired(at, &o.done)
		return nil
	}
	if at, err = robust.Of(o); err != nil {
		return err
	}
	if err := at.Pin(); err != nil {
		return err
	}
	defer at.Unpin()
	if _, err := robust.Acquire(ctx, at, &o.w.Word, &o.w.Armed, robust.TakeOver); err != nil {
		return err
	}
	return o.run(at, c)
}

// run calls the function and counts it. The caller holds o.w, which run frees.
func (o *Once) run(at robust.Object, c *callback) (err error) {
	defer func() {
		if e := robust.Release(at, &o.w.Word, &o.w.Armed); err == nil {
			err = e
		}
	}()
	step.Reach(step.OnceIn)
	if o.done.Load() != 0 {
		robust.Acquired(at, &o.done)
		return nil
	}
	if err := c.call(); err != nil {
		return err
	}
	step.Reach(step.OnceRan)
	robust.Releasing(at, &o.done)
	o.done.Store(1)
	step.Reach(step.OnceDone)
	return nil
}
