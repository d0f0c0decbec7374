package psync

import (
	"context"
	"errors"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
)

// A Mutex is a mutual exclusion lock that survives the death of its holder. The zero value is
// unlocked. Several goroutines and processes may call its methods at once.
//
// # Fairness
//
// A goroutine that finds the mutex free locks it, though others wait: a short critical section
// stays cheap. But once in 1 ms each process leaves the mutex to one that waits. So a goroutine
// that keeps the mutex for 1 ms or longer, and locks it again at once, takes turns with the others:
// attachments in the order of their slots, goroutines of one attachment in that of their calls.
type Mutex struct {
	_ noCopy
	w robust.Lock
}

// Lock locks the mutex. It waits while another goroutine or a living process holds the mutex, until
// ctx is done. A free mutex is locked even when ctx is done already.
//
// When the holder died, Lock returns [ErrOwnerDied], now and until [Mutex.Recover] has succeeded.
// [Mutex.Do] does both.
func (mu *Mutex) Lock(ctx context.Context) error {
	id := robust.KnownID(mu)
	if id == 0 {
		id = robust.FastID(mu)
	}
	if id != 0 && mu.w.Word.CompareAndSwap(0, id) {
		step.Reach(step.LockTaken)
		return nil
	}
	return mu.lockSlow(ctx)
}

func (mu *Mutex) lockSlow(ctx context.Context) error {
	return fail("mutex lock", mu, mu.lock(ctx))
}

// lock is Lock without the operation's name in its errors.
func (mu *Mutex) lock(ctx context.Context) error {
	o, err := robust.ToLock(mu)
	if err != nil {
		return err
	}
	_, err = robust.Acquire(ctx, o, &mu.w.Word, &mu.w.Armed, robust.Mark|robust.One)
	return err
}

// TryLock locks the mutex if it is free, and reports whether it did. It never waits. When the
// holder died, TryLock returns [ErrOwnerDied]; for up to 1 ms after the death it may return false.
func (mu *Mutex) TryLock() (bool, error) {
	o, err := robust.ToLock(mu)
	if err != nil {
		return false, fail("mutex trylock", mu, err)
	}
	if robust.TryFast(o, &mu.w.Word) {
		return true, nil
	}
	_, err = robust.TryAcquire(o, &mu.w.Word, &mu.w.Armed, robust.Mark|robust.One)
	if errors.Is(err, ErrNotHeld) {
		return false, nil
	}
	return err == nil, fail("mutex trylock", mu, err)
}

// Unlock unlocks the mutex. It returns [ErrNotHeld] if this attachment does not hold the mutex.
func (mu *Mutex) Unlock() error {
	id := robust.KnownID(mu)
	if id == 0 {
		id = robust.FastID(mu)
	}
	if id != 0 && mu.w.Word.CompareAndSwap(id, 0) {
		step.Reach(step.UnlockFree)
		return nil
	}
	return mu.unlockSlow()
}

func (mu *Mutex) unlockSlow() error { return fail("mutex unlock", mu, mu.unlock()) }

// unlock is Unlock without the operation's name in its errors.
func (mu *Mutex) unlock() error {
	o, err := robust.Of(mu)
	if err != nil {
		return err
	}
	return robust.HandOver(o, &mu.w.Word, &mu.w.Armed)
}

// Do locks the mutex, calls f, and unlocks the mutex, also when f panics. It returns the error of f
// as it is, and does not call f if it cannot lock.
//
// When the holder died, Do first calls repair, as Recover does, and then f. With a nil repair it
// returns [ErrOwnerDied] instead. An error of repair is returned as it is; the mutex then stays as
// it was.
func (mu *Mutex) Do(ctx context.Context, repair, f func() error) (err error) {
	for {
		err := mu.Lock(ctx)
		if err == nil {
			break
		}
		if repair == nil || !errors.Is(err, ErrOwnerDied) {
			return err
		}
		if err := mu.Recover(ctx, repair); err != nil {
			return err
		}
	}
	defer func() {
		if e := mu.Unlock(); err == nil {
			err = e
		}
	}()
	return f()
}

// Recover reopens a mutex whose holder died: it locks the mutex, calls repair, and unlocks the
// mutex. When repair returns an error Recover returns that error as it is. When repair fails or
// panics, or its process dies, the mutex stays as it was, and the next Recover can repair it.
//
// When no holder died, or another Recover is running or was faster, Recover returns nil without
// calling repair. In all cases call Lock afterwards. Recover never waits; ctx is for symmetry with
// [RWMutex.Recover].
func (mu *Mutex) Recover(ctx context.Context, repair func() error) error {
	o, err := robust.Of(mu)
	if err != nil {
		return fail("mutex recover", mu, err)
	}
	c := callback{f: repair}
	err = robust.Recover(o, &mu.w.Word, &mu.w.Armed, c.call)
	if c.err != nil {
		return c.err
	}
	return fail("mutex recover", mu, err)
}
