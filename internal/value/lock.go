package value

import (
	"context"
	"fmt"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

var errNoImage = fmt.Errorf("%w (there is no undo image: Options.Undo)", errs.OwnerDied)

// Lock takes the box's lock for writing, and restores the value if its last holder has died while
// changing it.
func (v *Value) Lock(ctx context.Context) error {
	if _, err := v.lock.Lock(ctx); err != nil {
		return err
	}
	locked := false
	defer func() {
		if !locked { // an error or a fault; a live process must not keep the lock
			v.Unlock()
		}
	}()
	if v.image != 0 {
		if err := v.refreshSchema(); err != nil {
			return err
		}
	}
	if !v.consistent() {
		if v.image == 0 {
			return errNoImage
		}
		v.restore()
	}
	locked = true
	return nil
}

// WatchHeld lets the end of the attachment wait for the goroutines that hold locks in the value,
// whose type is t; see [robust.WatchHeld].
func (v *Value) WatchHeld(t *format.Type) {
	if v.plan.private != nil { // it has locks
		robust.WatchHeld(v.m, t)
	}
}

// Unlock frees the lock that Lock has taken.
func (v *Value) Unlock() { _ = v.lock.Unlock() }

// RLock takes the box's lock for reading.
func (v *Value) RLock(ctx context.Context) error {
	for {
		died, err := v.lock.RLock(ctx)
		if err != nil {
			return err
		}
		if !died {
			if v.consistent() {
				return nil
			}
			v.RUnlock()
		}
		// A process has died while it changed the value, or held the lock: Lock restores both.
		if err := v.Lock(ctx); err != nil {
			return err
		}
		v.Unlock()
	}
}

// awaitChange waits until the change of the value that is under way has ended. It is for an
// attachment that cannot take the lock, at a value without undo image.
func (v *Value) awaitChange(ctx context.Context) error {
	for {
		before := v.words.Seq.Load()
		if before&1 == 0 {
			return nil
		}
		if v.broken() {
			return errNoImage
		}
		var watch []format.ID
		if id := v.writer(); id.Gen() != 0 {
			watch = []format.ID{id}
		}
		ended := func() bool { return v.words.Seq.Load() != before }
		err := wait.Until(ctx, v.m, &v.words.SeqArmed, ended, wait.Options{
			Probe: v.broken,
			Watch: watch,
		})
		if err != nil {
			return err
		}
	}
}

// writer returns the attachment that holds the lock for writing; its generation is 0 if none does.
func (v *Value) writer() format.ID {
	return format.ID(v.words.Lock.Load() &^ format.WaitersBit)
}

// broken reports whether the value is half changed, and no living process is changing it.
func (v *Value) broken() bool {
	before := v.words.Seq.Load()
	if before&1 == 0 {
		return false
	}
	id := v.writer()
	return !(id.Gen() != 0 && v.m.Peers.Alive(id)) && v.words.Seq.Load() == before
}

// RUnlock frees the lock that RLock has taken.
func (v *Value) RUnlock() { v.lock.RUnlock() }

// consistent reports whether the payload counts: no process is in the middle of a change, or has
// died there.
func (v *Value) consistent() bool { return v.words.Seq.Load()&1 == 0 }

// setOdd makes the image count. The lock is held. No later store to the payload may be seen before
// it.
func (v *Value) setOdd() {
	seq := &v.words.Seq
	seq.Store(seq.Load() + 1)
	// On arm64 a plain store may pass the store above, but not a load of the same word.
	_ = seq.Load()
}

// setEven makes the payload count, with everything that was written to it before. The lock is held.
func (v *Value) setEven() {
	seq := &v.words.Seq
	seq.Store(seq.Load() + 1)
}

// restore undoes an unfinished change. The lock is held, the counter odd. A death at any point
// leaves the counter odd, and the next holder restores again.
func (v *Value) restore() {
	v.copyShared(0, v.image, step.RestoreWord)
	step.Reach(step.RestoreCopy)
	v.setEven()
	step.Reach(step.RestoreEven)
	wait.Wake(v.m, &v.words.SeqArmed)
	v.m.Note(notes.Recovered, "value", 1, format.NoID)
}
