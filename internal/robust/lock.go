// Package robust provides the lock word that survives its holder, of which the locks of psync and
// the lock of a box are made.
//
// It imports errs, step, sys, format, layout, mem and wait. Its invariant: whenever a process dies,
// a lock word names the attachment that holds it, so others can see that the holder is dead.
//
// The word is one uint32: the waiters bit, and the id (generation and slot) of the holder's
// attachment. 0 is free. One compare-and-swap takes it, so there is no moment between "locked" and
// "holder known". The kernel knows whether the holder is alive, see [mem.Peers.Alive].
//
// A waiter sets the waiters bit and waits until the word changes. It checks the holder before it
// sleeps, when the kernel reports the holder's death, and every 100 ms; where the kernel does not
// report it, after 10, 20, ... 100 ms. The time limit is needed even where the kernel reports
// deaths: a holder that is killed after it has freed the word, and before it has woken waiters,
// leaves no holder to watch.
//
// The word of a dead holder becomes DEAD, until [Recover] (psync), or the next in line takes it
// over and is told so (the box, which can undo the change). The mode of the lock says which.
//
// An id is that of an attachment, so the goroutines of a process share it. They queue inside the
// process ([wait.Turn]), and only one of them contends with other processes.
//
// After it has freed a word without waiters bit a process does not touch the memory again: the next
// holder may close the mapping.
//
// The algorithm follows Linux's robust futexes (Documentation/locking/robust-futexes.rst). File
// locks instead of thread ids show which holders are alive.
package robust

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// Values of a lock word.
const (
	free    = uint32(format.NoID)
	dead    = uint32(format.Dead)
	waiters = uint32(format.WaitersBit) // in addition to a holder's id
	// reserved is a free word that the last holder has left to those that wait, see standBack.
	reserved = free | waiters
)

// holderOf returns the attachment that holds a word of that value: format.NoID if it is free,
// format.Dead if it is DEAD.
func holderOf(word uint32) format.ID { return format.ID(word &^ waiters) }

// A Lock is a lock word, with the armed word of its waiters.
type Lock struct {
	Word, Armed atomic.Uint32
}

// A Mode says what becomes of the lock of a dead holder, and how waiters are woken.
type Mode uint8

const (
	Mark     Mode = 0      // the word becomes DEAD: errs.OwnerDied until Recover
	TakeOver Mode = 1 << 0 // the next in line gets the lock, and is told
	// One is added where ReleaseOne or HandOver frees the word: it wakes one waiter, all of which
	// call Acquire or Freed. A word that HandOver has reserved is free for those that only read.
	One Mode = 1 << 1
)

// TryFast takes a word if it is free and has no waiters bit. It calls nothing and touches nothing
// else.
func TryFast(o Object, word *atomic.Uint32) bool {
	if !word.CompareAndSwap(free, uint32(o.Me)) {
		return false
	}
	Acquired(o, word)
	step.Reach(step.LockTaken)
	return true
}

// Acquire takes a word. It waits while a living attachment holds it, until ctx is done. In TakeOver
// mode died reports that the word was taken over from a dead holder. In Mark mode Acquire returns
// errs.OwnerDied then. Other errors are errs.Closed, errs.NotShared and the context's. With an
// error the word is not held.
func Acquire(ctx context.Context, o Object, word, armed *atomic.Uint32, mode Mode) (
	died bool, err error,
) {
	if TryFast(o, word) {
		return false, nil
	}
	err = o.Take(func() error {
		var err error
		died, err = acquire(ctx, o, word, armed, mode)
		return err
	}, func() { giveBack(o, word, armed, died) })
	return died && err == nil, err
}

// giveBack frees a word that was taken. If it was taken over, the next holder is told of the death.
func giveBack(o Object, word, armed *atomic.Uint32, died bool) {
	if died {
		_ = MarkDead(o, word, armed)
	} else {
		_ = Release(o, word, armed)
	}
}

// acquire is the part of Acquire that may wait. The object is pinned.
func acquire(
	ctx context.Context, o Object, word, armed *atomic.Uint32, mode Mode,
) (died bool, err error) {
	if word.Load() != reserved || errs.Context(ctx) != nil {
		done, died, err := attempt(o, word, armed, mode, false)
		if done || err != nil {
			return died, err
		}
	}
	turn, err := wait.Turn(ctx, o.M, armed)
	if err != nil {
		return false, err
	}
	defer turn.Done()
	standBack(ctx, o, word, armed)
	wait.Spin(o.M, armed, func() bool { return word.Load() == free })
	for probe, as := false, uint32(o.Me); ; {
		if done, died, err := attemptAs(o, word, armed, mode, probe, as); done || err != nil {
			return died, err
		}
		if mode&One == 0 {
			probe, err = Changed(ctx, o, word, armed)
		} else {
			probe, err = Freed(ctx, o, word, armed)
			as |= waiters // it may be the only one that is woken: the bit stays for the others
		}
		if err != nil {
			return false, err
		}
	}
}

// Unreserve frees a word that is reserved for those that wait. The reader for which it perhaps was
// has been woken and reads, and needs no word for that.
func Unreserve(word *atomic.Uint32) { word.CompareAndSwap(reserved, free) }

// standBack lets those that wait take a word that is reserved for them. They need less than the
// time that it waits if they can go on. One that was woken may have died, be stopped or have given
// up, and perhaps none is left. Then the caller may take the word.
func standBack(ctx context.Context, o Object, word, armed *atomic.Uint32) {
	if word.Load() != reserved {
		return
	}
	for nap := 2 * firstNap; nap < lastNap && errs.Context(ctx) == nil; nap *= 2 {
		if o.M == nil {
			time.Sleep(nap)
		} else {
			// A timer of Go costs several switches of threads, this call one. Do not yield before:
			// Go's monitor thread would then wait for 10 ms until it takes the P of the sleep that
			// follows, and look 60 times meanwhile.
			mem.FutexWait(word, reserved, nap)
		}
		if word.Load() != reserved {
			return
		}
	}
	wait.KeepHandOffs(o.M, armed)
}

// TryAcquire is Acquire that returns errs.NotHeld where Acquire would wait, and for up to 1 ms
// after the death of a holder that it found alive.
func TryAcquire(o Object, word, armed *atomic.Uint32, mode Mode) (died bool, err error) {
	if TryFast(o, word) {
		return false, nil
	}
	err = o.Take(func() error {
		var err error
		died, err = tryAcquire(o, word, armed, mode)
		return err
	}, func() { giveBack(o, word, armed, died) })
	return died && err == nil, err
}

func tryAcquire(o Object, word, armed *atomic.Uint32, mode Mode) (died bool, err error) {
	for {
		held := HeldLately(o, word)
		if done, died, err := attempt(o, word, armed, mode, !held); done || err != nil {
			return died, err
		}
		if held {
			return false, errs.NotHeld
		}
	}
}

// HeldLately reports whether an attachment holds the word that was alive a moment ago, see
// [Object.AliveLately]. The object is pinned.
func HeldLately(o Object, word *atomic.Uint32) bool {
	return o.AliveLately(holderOf(word.Load()))
}

// AcquireBriefly takes a word of the modes TakeOver and One that its holders keep for moments only,
// also while the mapping drains, when Acquire fails. It polls then. The object is pinned.
func AcquireBriefly(o Object, word, armed *atomic.Uint32) error {
	_, err := Acquire(context.Background(), o, word, armed, TakeOver|One)
	end := time.Now().Add(mem.UnlockTime)
	for nap := firstNap; errors.Is(err, errs.Closed); nap = min(2*nap, lastNap) {
		switch _, e := tryAcquire(o, word, armed, TakeOver|One); {
		case !errors.Is(e, errs.NotHeld):
			return e
		case time.Now().After(end):
			return err
		}
		time.Sleep(nap)
	}
	return err
}

// Times between two tries of AcquireBriefly.
const (
	firstNap = 10 * time.Microsecond
	lastNap  = 500 * time.Microsecond
)

// attempt takes the word if it is free or its holder is dead. Only with probe it asks the kernel
// whether the holder is alive. If it is neither done nor fails, another holder has the word, or had
// it a moment ago. The object is pinned.
func attempt(o Object, word, armed *atomic.Uint32, mode Mode, probe bool) (
	done, died bool, err error,
) {
	return attemptAs(o, word, armed, mode, probe, uint32(o.Me))
}

// attemptAs is attempt that writes the id of this attachment, perhaps with the waiters bit.
func attemptAs(o Object, word, armed *atomic.Uint32, mode Mode, probe bool, as uint32) (
	done, died bool, err error,
) {
	w := word.Load()
	holder := holderOf(w)
	switch {
	case holder == format.NoID:
		if !word.CompareAndSwap(w, as|w&waiters) {
			return false, false, nil
		}
		Acquired(o, word)
		step.Reach(step.LockSlow)
		return true, false, nil
	case o.M == nil && holder.Gen() != 0:
		return false, false, errs.NotShared
	case holder == format.Dead && mode&TakeOver == 0:
		return false, false, errs.OwnerDied
	case holder != format.Dead && (!probe || o.Alive(holder)):
		return false, false, nil
	case mode&TakeOver != 0:
		// The waiters bit stays: the waiters are not woken before the new holder frees the word.
		if !word.CompareAndSwap(w, as|w&waiters) {
			return false, false, nil
		}
		Acquired(o, word)
		step.Reach(step.LockOver)
		o.M.Note(notes.OwnerDied, "lock", 1, holder)
		return true, true, nil
	default:
		return false, false, markDead(o, word, armed, w)
	}
}

// Changed waits until a held word changes, or its holder dies, which it reports. It returns at once
// if the word is free or DEAD, or if the holder is dead already. The object is pinned.
func Changed(ctx context.Context, o Object, word, armed *atomic.Uint32) (died bool, err error) {
	w, died := markWaiting(o, word)
	if w == 0 {
		return died, nil
	}
	holder := holderOf(w)
	return false, wait.Until(ctx, o.M, armed, func() bool { return word.Load() != w }, wait.Options{
		Probe:  func() bool { return !o.Alive(holder) },
		Watch:  []format.ID{holder},
		NoSpin: true,
	})
}

// markWaiting sets the waiters bit of a held word and returns the word. It returns 0 if the word is
// free or DEAD or has just changed, or if its holder is dead, which it reports.
func markWaiting(o Object, word *atomic.Uint32) (w uint32, died bool) {
	w = word.Load()
	holder := holderOf(w)
	if holder == format.NoID || holder == format.Dead {
		return 0, false
	}
	if !o.Alive(holder) {
		return 0, true
	}
	if w&waiters == 0 && !word.CompareAndSwap(w, w|waiters) {
		return 0, false
	}
	step.Reach(step.LockWaiters)
	return w | waiters, false
}

// Freed is Changed for a word that ReleaseOne frees: it waits until the word is free or DEAD or has
// lost the waiters bit, whichever attachment holds it. The caller may be the only one that was
// woken. So it takes the word with the waiters bit, or calls Freed again, or calls wait.WakeN.
//
// While a process sleeps the holder may change: the next one may be another waiter. The attachment
// that woke that one watches it, and makes all look when it dies, see wait.WakeN. This process
// watches the holder that it has seen last.
func Freed(ctx context.Context, o Object, word, armed *atomic.Uint32) (died bool, err error) {
	w, died := markWaiting(o, word)
	if w == 0 {
		return died, nil
	}
	ready := func() bool {
		w := word.Load()
		return w&waiters == 0 || holderOf(w) == format.NoID || holderOf(w) == format.Dead
	}
	return false, wait.Until(ctx, o.M, armed, ready, wait.Options{
		Probe: func() bool {
			id := holderOf(word.Load())
			return id == format.NoID || id == format.Dead || !o.Alive(id)
		},
		Owner:  word,
		Alike:  true,
		NoSpin: true,
	})
}

// Free reports whether a word of Mark mode is free or left to those that wait, for a caller that
// does not want to take it. It returns errs.OwnerDied if a dead attachment holds the word, which it
// marks. The object is pinned.
func Free(o Object, word, armed *atomic.Uint32) (bool, error) {
	w := word.Load()
	if w == free {
		return true, nil
	}
	holder := holderOf(w)
	switch {
	case holder == format.NoID: // it is reserved
		return true, nil
	case o.M == nil && holder.Gen() != 0:
		return false, errs.NotShared
	case holder == format.Dead:
		return false, errs.OwnerDied
	case o.Alive(holder):
		return false, nil
	}
	return false, markDead(o, word, armed, w)
}

// markDead makes a dead holder's word, whose value is w, DEAD. It returns nil if the word has
// changed meanwhile.
func markDead(o Object, word, armed *atomic.Uint32, w uint32) error {
	if !word.CompareAndSwap(w, dead) {
		return nil
	}
	step.Reach(step.LockDead)
	wait.Wake(o.M, armed)
	step.Reach(step.LockDeadWake)
	o.M.Note(notes.OwnerDied, "lock", 1, holderOf(w))
	return errs.OwnerDied
}

// Release frees a word that this attachment holds, and wakes all waiters. Otherwise it returns
// errs.NotHeld or errs.NotShared.
func Release(o Object, word, armed *atomic.Uint32) error {
	Releasing(o, word)
	if word.CompareAndSwap(uint32(o.Me), free) {
		step.Reach(step.UnlockFree)
		return nil
	}
	return giveUp(o, word, armed, free, all)
}

// ReleaseOne is Release for a word that is taken in a mode with One: it wakes one waiter.
func ReleaseOne(o Object, word, armed *atomic.Uint32) error {
	Releasing(o, word)
	if word.CompareAndSwap(uint32(o.Me), free) {
		step.Reach(step.UnlockFree)
		return nil
	}
	return giveUp(o, word, armed, free, one)
}

// HandOver is ReleaseOne that from time to time leaves the word to the waiter that it wakes.
func HandOver(o Object, word, armed *atomic.Uint32) error {
	Releasing(o, word)
	if word.CompareAndSwap(uint32(o.Me), free) {
		step.Reach(step.UnlockFree)
		return nil
	}
	return giveUp(o, word, armed, free, handOver)
}

// MarkDead makes a word that this attachment holds DEAD: the value that it protects is not
// consistent.
func MarkDead(o Object, word, armed *atomic.Uint32) error {
	Releasing(o, word)
	return giveUp(o, word, armed, dead, all)
}

// A waking is how giveUp wakes those that wait.
type waking uint8

const (
	all waking = iota
	one
	handOver // one, which has the word to itself if that is due
)

// giveUp changes a held word to free or DEAD:
//
//  1. Pin the mapping, since waiters must be woken after the word has changed.
//  2. Check that this attachment holds the word (step.UnlockBegin).
//  3. Change it (step.UnlockFreed, step.RecoverFail).
//  4. Wake the waiters, or one of them (step.UnlockWoken).
//
// A process that frees and takes the word again and again would be faster each time than the waiter
// that it wakes. So at most once in wait.HandOff it reserves the word for those that wait, instead
// of freeing it: then TryFast fails, and others stand back. If none was woken it frees the word.
func giveUp(o Object, word, armed *atomic.Uint32, to uint32, how waking) error {
	if err := o.PinNested(); err != nil {
		return err
	}
	defer o.Unpin()
	for {
		w := word.Load()
		if id := holderOf(w); id != o.Me {
			if o.M == nil && id.Gen() != 0 {
				return errs.NotShared
			}
			return errs.NotHeld
		}
		step.Reach(step.UnlockBegin)
		if how == handOver && w&waiters != 0 && wait.HandOffDue(o.M, armed) {
			to = reserved
		}
		if !word.CompareAndSwap(w, to) {
			continue
		}
		if to == dead {
			step.Reach(step.RecoverFail)
		} else {
			step.Reach(step.UnlockFreed)
		}
		switch {
		case to == dead:
			wait.Wake(o.M, armed)
		case w&waiters == 0:
		case how != all:
			if !wait.WakeAny(o.M, armed) && to == reserved {
				word.CompareAndSwap(reserved, free)
			}
		default:
			wait.Wake(o.M, armed)
		}
		step.Reach(step.UnlockWoken)
		return nil
	}
}

// Recover takes a word whose holder died, calls f, and frees the word. If f fails or panics the
// word becomes DEAD again. If no holder died, or a living attachment holds the word, Recover
// returns nil without calling f. It never waits.
func Recover(o Object, word, armed *atomic.Uint32, f func() error) (err error) {
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	var died format.ID
	for {
		w := word.Load()
		holder := holderOf(w)
		if o.M == nil && holder.Gen() != 0 {
			return errs.NotShared
		}
		if holder == format.NoID || holder != format.Dead && o.Alive(holder) {
			return nil
		}
		if word.CompareAndSwap(w, uint32(o.Me)|w&waiters) {
			died = holder
			break
		}
	}
	Acquired(o, word)
	step.Reach(step.RecoverTaken)
	if died.Gen() != 0 { // no other call has found the death
		o.M.Note(notes.OwnerDied, "lock", 1, died)
	}
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
	o.M.Note(notes.Recovered, "lock", 1, format.NoID)
	return Release(o, word, armed)
}
