// Package robust is the lock word that survives its holder: what the locks of psync and the box's
// own lock are made of.
//
// The word is one uint32: the waiters bit and the id (generation and slot) of the holder's
// attachment; zero is free. It is taken by one compare-and-swap, so that there is no moment between
// "locked" and "holder known". Whether the holder lives the kernel says, see [mem.Peers.Alive]: the
// generation of its slot and the slot's lock byte. A waiter sets the waiters bit and waits for any
// change of the word; it looks after the holder at first, when the kernel tells of its death, and
// after 10, 20, ... 100 ms. The time limit is needed even where deaths are told: a holder killed
// between freeing the word and waking leaves nobody to be looked after.
//
// A dead holder's word either becomes DEAD, and stays so until [Recover] (psync), or is taken over
// by the next in line, who is told (the box, which can roll back).
//
// The id is the attachment's: goroutines of one process share it, and queue inside the process
// ([wait.Turn]), so that one of them at most contends with other processes.
//
// After a word is freed without the waiters bit its memory is not touched again: whoever takes
// the lock next may close the mapping.
package robust

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// Errors of locks; psync exports them.
var (
	ErrNotHeld   = errs.NotHeld
	ErrNotShared = errs.NotShared
	errForeign   = fmt.Errorf("a segment without control block has no locks: %w", errors.ErrUnsupported)
)

const (
	free    = uint32(format.Nobody)
	dead    = uint32(format.Dead)
	waiters = uint32(format.WaitersBit)
)

// An Object is where a lock lives, and who uses it.
type Object struct {
	M  *mem.Mapping // nil: ordinary memory
	Me format.ID    // this attachment; format.Local in ordinary memory
}

// Of finds the segment that p lives in by its address. The error is mem.ErrReadOnly where p cannot
// be written, wait.ErrClosed where there was a segment once.
func Of[T any](p *T) (Object, error) {
	m := mem.Of(p)
	if m == nil {
		return Object{nil, format.Local}, nil
	}
	if m.Peers != nil && m.Writable() && m.Peers.Self != format.Nobody {
		return Object{m, m.Peers.Self}, nil
	}
	return refuse(m)
}

func refuse(m *mem.Mapping) (Object, error) {
	if m.Retired() {
		return Object{}, wait.ErrClosed
	}
	if m.Writable() && m.Peers == nil {
		return Object{}, errForeign
	}
	return Object{}, mem.ErrReadOnly
}

// Pin keeps the memory in place for a call that may block.
func (o Object) Pin() error {
	if o.M != nil && !o.M.Pin() {
		return wait.ErrClosed
	}
	return nil
}

// Join is Pin for a call that never blocks, see [mem.Mapping.Join].
func (o Object) Join() error {
	if o.M != nil && !o.M.Join() {
		return wait.ErrClosed
	}
	return nil
}

// Unpin ends Pin or Join.
func (o Object) Unpin() {
	if o.M != nil {
		o.M.Unpin()
	}
}

// Alive reports whether the attachment id lives. The object is pinned.
func (o Object) Alive(id format.ID) bool {
	switch {
	case o.M == nil || id == o.Me:
		return id == o.Me
	case o.M.Peers == nil:
		return true // nobody knows
	}
	return o.M.Peers.Alive(id)
}

// A Word is a lock: the word and the armed word of those who wait for it.
type Word struct {
	Word, Armed atomic.Uint32
}

// How a dead holder's lock is treated.
type Mode bool

const (
	Mark     Mode = false // it becomes DEAD: mem.ErrOwnerDied until Recover
	TakeOver Mode = true  // it passes to the caller, who is told
)

// TryFast takes the word if it is free.
func (w *Word) TryFast(o Object) bool { return TryFast(o, &w.Word) }

// FastID is the id by which what p points to is locked if nothing is the matter, else 0: then Of
// tells what is. It does not touch p's memory, which may have been taken away.
func FastID[T any](p *T) uint32 {
	if RaceEnabled {
		return free
	}
	return mem.LockID(p)
}

// TryFast takes a word if it is free.
func TryFast(o Object, word *atomic.Uint32) bool {
	if !word.CompareAndSwap(free, uint32(o.Me)) {
		return false
	}
	Acquired(o, word)
	step.Reach(step.LockTaken)
	return true
}

// Acquire takes a word, waiting for it as long as its holder lives. died says that it was taken
// over from a dead holder, in TakeOver mode; in Mark mode that is mem.ErrOwnerDied, and the lock is
// not held. Other errors: wait.ErrClosed, ErrNotShared, the context's.
func Acquire(ctx context.Context, o Object, word, armed *atomic.Uint32, mode Mode) (died bool, err error) {
	if TryFast(o, word) {
		return false, nil
	}
	if err := o.Pin(); err != nil {
		return false, err
	}
	defer o.Unpin()
	if done, died, err := try(o, word, armed, mode, false); done || err != nil {
		return died, err
	}
	turn, err := wait.Turn(ctx, o.M, armed)
	if err != nil {
		return false, err
	}
	defer turn.Done()
	wait.Spin(o.M, armed, func() bool { return word.Load() == free })
	for probe := false; ; {
		if done, died, err := try(o, word, armed, mode, probe); done || err != nil {
			return died, err
		}
		if probe, err = Changed(ctx, o, word, armed); err != nil {
			return false, err
		}
	}
}

// Changed waits until a word changes that somebody holds, or its holder dies. It returns at once
// if nobody holds it, or a dead one does, which it reports. The object is pinned.
func Changed(ctx context.Context, o Object, word, armed *atomic.Uint32) (died bool, err error) {
	w := word.Load()
	owner := format.ID(w &^ waiters)
	if owner == format.Nobody || owner == format.Dead {
		return false, nil
	}
	// One look before sleeping: who is dead already is not waited for.
	if !o.Alive(owner) {
		return true, nil
	}
	if w&waiters == 0 {
		if !word.CompareAndSwap(w, w|waiters) {
			return false, nil
		}
		w |= waiters
	}
	step.Reach(step.LockWaiters)
	return false, wait.Until(ctx, o.M, armed, func() bool { return word.Load() != w }, wait.Options{
		Look:   func() bool { return !o.Alive(owner) },
		Watch:  []format.ID{owner},
		NoSpin: true,
	})
}

// Free looks at a word that the caller does not want for itself, in Mark mode: it reports whether
// nobody holds it, and answers mem.ErrOwnerDied where a dead one does. The object is pinned.
func Free(o Object, word, armed *atomic.Uint32) (bool, error) {
	w := word.Load()
	if w == free {
		return true, nil
	}
	owner := format.ID(w &^ waiters)
	switch {
	case o.M == nil && owner.Gen() != 0:
		return false, ErrNotShared
	case owner == format.Dead:
		return false, mem.ErrOwnerDied
	case o.Alive(owner):
		return false, nil
	}
	return false, markDead(o, word, armed, w)
}

// markDead makes w, the word of a dead holder, DEAD.
func markDead(o Object, word, armed *atomic.Uint32, w uint32) error {
	if !word.CompareAndSwap(w, dead) {
		return nil
	}
	step.Reach(step.LockDead)
	wait.Wake(o.M, armed)
	step.Reach(step.LockDeadWake)
	return mem.ErrOwnerDied
}

// TryAcquire is Acquire that answers ErrNotHeld where Acquire would wait.
func TryAcquire(o Object, word, armed *atomic.Uint32, mode Mode) (died bool, err error) {
	if TryFast(o, word) {
		return false, nil
	}
	if err := o.Pin(); err != nil {
		return false, err
	}
	defer o.Unpin()
	for {
		w := word.Load()
		if done, died, err := try(o, word, armed, mode, true); done || err != nil {
			return died, err
		}
		owner := format.ID(w &^ waiters)
		if owner != format.Nobody && o.Alive(owner) {
			return false, ErrNotHeld
		}
	}
}

// try takes the word if it is free or its holder is dead. Neither done nor an error: somebody
// else has it, or had it a moment ago. Whether the holder lives is asked, by a system call, with
// probe only. The object is pinned.
func try(o Object, word, armed *atomic.Uint32, mode Mode, probe bool) (done, died bool, err error) {
	w := word.Load()
	owner := format.ID(w &^ waiters)
	switch {
	case owner == format.Nobody:
		if !word.CompareAndSwap(w, uint32(o.Me)|w&waiters) {
			return false, false, nil
		}
		Acquired(o, word)
		step.Reach(step.LockSlow)
		return true, false, nil
	case o.M == nil && owner.Gen() != 0:
		return false, false, ErrNotShared
	case owner == format.Dead && mode == Mark:
		return false, false, mem.ErrOwnerDied
	case owner != format.Dead && (!probe || o.Alive(owner)):
		return false, false, nil
	case mode == TakeOver:
		// The waiters bit stays: those who sleep wait for a change of the word that comes only now.
		if !word.CompareAndSwap(w, uint32(o.Me)|w&waiters) {
			return false, false, nil
		}
		Acquired(o, word)
		step.Reach(step.LockOver)
		return true, true, nil
	default:
		return false, false, markDead(o, word, armed, w)
	}
}

// Release frees a word that this attachment holds, else it answers ErrNotHeld or ErrNotShared.
func Release(o Object, word, armed *atomic.Uint32) error {
	Releasing(o, word)
	if word.CompareAndSwap(uint32(o.Me), free) {
		step.Reach(step.UnlockFree)
		return nil
	}
	return change(o, word, armed, free)
}

// MarkDead makes a held word DEAD: the value behind it is not to be trusted.
func MarkDead(o Object, word, armed *atomic.Uint32) error {
	Releasing(o, word)
	return change(o, word, armed, dead)
}

func change(o Object, word, armed *atomic.Uint32, to uint32) error {
	if err := o.Join(); err != nil {
		return err
	}
	defer o.Unpin()
	for {
		w := word.Load()
		if id := format.ID(w &^ waiters); id != o.Me {
			if o.M == nil && id.Gen() != 0 {
				return ErrNotShared
			}
			return ErrNotHeld
		}
		step.Reach(step.UnlockBegin)
		if !word.CompareAndSwap(w, to) {
			continue
		}
		if to == dead {
			step.Reach(step.RecoverFail)
		} else {
			step.Reach(step.UnlockFreed)
		}
		if w&waiters != 0 || to == dead {
			wait.Wake(o.M, armed)
		}
		step.Reach(step.UnlockWoken)
		return nil
	}
}

// Recover takes a word whose holder died, runs f, and frees it. If f fails or panics the word is
// DEAD. If no holder died nothing is done; f is not run while somebody else lives who holds it.
func Recover(o Object, word, armed *atomic.Uint32, f func() error) (err error) {
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	for {
		w := word.Load()
		owner := format.ID(w &^ waiters)
		if o.M == nil && owner.Gen() != 0 {
			return ErrNotShared
		}
		if owner == format.Nobody || owner != format.Dead && o.Alive(owner) {
			return nil
		}
		if word.CompareAndSwap(w, uint32(o.Me)|w&waiters) {
			break
		}
	}
	Acquired(o, word)
	step.Reach(step.RecoverTaken)
	failed := true
	defer func() {
		if failed {
			if e := MarkDead(o, word, armed); err == nil {
				err = e
			}
		}
	}()
	if err := f(); err != nil {
		return err
	}
	step.Reach(step.RecoverRan)
	failed = false
	return Release(o, word, armed)
}
