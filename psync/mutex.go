package psync

import (
	"context"
	"errors"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
)

// A Mutex is a mutual exclusion lock that survives the death of its holder. Its zero value is
// unlocked. All methods may be called by several goroutines and processes at once.
type Mutex struct {
	_ noCopy
	w robust.Word
}

// Lock locks the mutex, and waits as long as another process or goroutine holds it and lives.
// If the holder has died Lock answers [ErrOwnerDied], now and until [Mutex.Recover].
// A mutex that is free is locked even when ctx is done.
func (mu *Mutex) Lock(ctx context.Context) error {
	if id := robust.FastID(mu); id != 0 && mu.w.Word.CompareAndSwap(0, id) {
		step.Reach(step.LockTaken)
		return nil
	}
	return mu.lock(ctx)
}

func (mu *Mutex) lock(ctx context.Context) error {
	o, err := robust.Of(mu)
	if err != nil {
		return err
	}
	_, err = robust.Acquire(ctx, o, &mu.w.Word, &mu.w.Armed, robust.Mark)
	return err
}

// TryLock locks the mutex if that needs no waiting, and reports whether it has.
func (mu *Mutex) TryLock() (bool, error) {
	o, err := robust.Of(mu)
	if err != nil {
		return false, err
	}
	if mu.w.TryFast(o) {
		return true, nil
	}
	_, err = robust.TryAcquire(o, &mu.w.Word, &mu.w.Armed, robust.Mark)
	if errors.Is(err, ErrNotHeld) {
		return false, nil
	}
	return err == nil, err
}

// Unlock unlocks the mutex. [ErrNotHeld]: this attachment has not locked it.
func (mu *Mutex) Unlock() error {
	if id := robust.FastID(mu); id != 0 && mu.w.Word.CompareAndSwap(id, 0) {
		step.Reach(step.UnlockFree)
		return nil
	}
	return mu.unlock()
}

func (mu *Mutex) unlock() error {
	o, err := robust.Of(mu)
	if err != nil {
		return err
	}
	return robust.Release(o, &mu.w.Word, &mu.w.Armed)
}

// Recover reopens a mutex whose holder died: it runs repair, under the lock, and unlocks. If repair
// fails or panics the mutex stays as it was, for the next to recover; so it does if the process dies
// in repair. If nobody died, or somebody else has recovered the mutex or is at it, Recover does
// nothing and returns nil: lock again.
func (mu *Mutex) Recover(ctx context.Context, repair func() error) error {
	o, err := robust.Of(mu)
	if err != nil {
		return err
	}
	return robust.Recover(o, &mu.w.Word, &mu.w.Armed, repair)
}
