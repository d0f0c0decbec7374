package psync

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
)

// A Once runs one function once, for all processes. Its zero value has run none. All methods may be
// called by several goroutines and processes at once, Do also where the box is attached read-only,
// if the function has run.
type Once struct {
	_    noCopy
	w    robust.Word
	done atomic.Uint32
	_    atomic.Uint32
}

// Do runs f unless it, or another, has run to its end without error. Others wait meanwhile. If f
// fails or panics, or its process dies, it does not count, and the next runs: f has to bear that.
// f must not call Do. Close waits for f.
func (o *Once) Do(ctx context.Context, f func() error) error {
	if o.done.Load() != 0 {
		if at, err := watcher(o); err == nil {
			robust.Acquired(at, &o.done)
		}
		return nil
	}
	at, err := robust.Of(o)
	if err != nil {
		return err
	}
	if err := at.Pin(); err != nil {
		return err
	}
	defer at.Unpin()
	if _, err := robust.Acquire(ctx, at, &o.w.Word, &o.w.Armed, robust.TakeOver); err != nil {
		return err
	}
	return o.run(at, f)
}

func (o *Once) run(at robust.Object, f func() error) (err error) {
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
	if err := f(); err != nil {
		return err
	}
	step.Reach(step.OnceRan)
	robust.Releasing(at, &o.done)
	o.done.Store(1)
	step.Reach(step.OnceDone)
	return nil
}
