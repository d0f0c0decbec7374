// Package value reads and changes the value of a segment: snapshots without a lock, changes that
// happen as a whole or not at all, and recovery of what a dead process left half changed. A value
// is bytes with a schema; package shmem puts the Go type on top.
//
// Two copies make that possible: the payload, and the undo image behind it. The sequence counter
// says which one counts: even, the payload; odd, the image. To change a value under the box's
// lock:
//
//  1. take the lock; where the counter is odd, its holder has died: restore the payload
//     (RestoreWord, RestoreCopy, RestoreEven)
//  2. write the image: Update copies the payload (UpdateWord, UpdateImage), Store writes the new
//     value (StoreImage)
//  3. make the counter odd (UpdateOdd, StoreOdd)
//  4. change the payload (UpdateRan; StoreWord, StoreCopy)
//  5. make the counter even (UpdateEven), wake waiters (UpdateWoken) and unlock
//
// A death before step 3 leaves the old value, a death after it what is in the image. Fields of
// sync/atomic and psync types are changed without the box's lock, so no copy touches them: see
// plan. tests/models/snapshot.pml checks the order of writes exhaustively.
package value

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// A Value is the value of a segment, seen as one type. Its methods are safe for concurrent use.
// Unless a method says otherwise, the caller has pinned the mapping, and a fault in its memory is
// the caller's to recover from.
type Value struct {
	a        *segment.Attachment
	m        *mem.Mapping
	words    *mem.Words     // nil: foreign
	lock     *robust.Shared // nil: no slot
	writable bool           // the lock can be taken, for reading too
	image    int            // offset of the undo image; 0: none

	plan *plan // of the type here
	// The segment's type may have more fields: see refreshSchema. Guarded by the box's lock.
	stored      *plan
	fingerprint uint64 // of the type of stored
}

// Of returns the value of type t in a segment. The type must fit the segment's. What is computed
// for t is kept for the life of the process: it is for types of the program.
func Of(a *segment.Attachment, t *format.Type) Value { return of(a, planOf(t)) }

// OfStored is Of for a type that is known at run time only.
func OfStored(a *segment.Attachment, t *format.Type) Value { return of(a, newPlan(t)) }

func of(a *segment.Attachment, p *plan) Value {
	v := Value{a: a, m: a.Mapping(), lock: a.Lock(), plan: p}
	if h := a.Header(); h != nil {
		v.words, v.image = v.m.Peers.Words, int(h.ImageOff)
	}
	v.writable = v.lock != nil && v.m.Writable()
	return v
}

// Lockable returns nil, or why the lock cannot be taken through this attachment. The mapping need
// not be pinned.
func (v *Value) Lockable() error {
	if v.writable {
		return nil
	}
	return v.notLockable()
}

func (v *Value) notLockable() error {
	if v.words == nil {
		return errForeignLock
	}
	return errReadOnlyLock
}

var (
	errForeignLock  = fmt.Errorf("%w: it has no lock; use Value or Do", errs.Foreign)
	errForeignLoad  = fmt.Errorf("%w: it has no snapshots; use Do", errs.Foreign)
	errForeignWait  = fmt.Errorf("%w: changes of it cannot be waited for", errs.Foreign)
	errReadOnlyLock = fmt.Errorf("%w; use Load, Wait and Watch", errs.ReadOnly)
)

// A Phase says how far an Update has come.
type Phase uint8

// Phases of an Update.
const (
	Locked Phase = iota // the lock is held, the value is unchanged
	Begun               // the value is being changed
	Ran                 // the caller's function has returned
)

// Begin does steps 2 and 3 of an Update, after Lock. phase becomes Begun.
func (v *Value) Begin(phase *Phase) {
	step.Reach(step.UpdateLocked)
	if v.image != 0 {
		v.copyShared(v.image, 0, step.UpdateWord)
		step.Reach(step.UpdateImage)
	}
	*phase = Begun
	v.setOdd()
	step.Reach(step.UpdateOdd)
}

// End does step 5 of an Update, or undoes step 4 if the caller's function has failed. It is
// deferred: a panic or a Goexit of the function, or a fault, ends the Update too.
func (v *Value) End(phase *Phase, err *error) {
	defer v.Unlock()
	switch {
	case *phase == Locked:
		// A fault: nothing has been changed.
	case *phase == Ran && (*err == nil || v.image == 0):
		step.Reach(step.UpdateRan)
		v.setEven()
		step.Reach(step.UpdateEven)
		wait.Wake(v.m, &v.words.SeqArmed)
		step.Reach(step.UpdateWoken)
	case v.image == 0:
		// A panic, and nothing to undo it with: the value stays broken, as after a death.
	default:
		v.copyShared(0, v.image, "")
		step.Reach(step.UpdateUndone)
		v.setEven()
		wait.Wake(v.m, &v.words.SeqArmed)
	}
}

// Update calls f under the lock. What f changes in the mapping counts as a whole, or, after an
// error, not at all. It is for values whose type is known at run time only; Box.Update does the
// same. The mapping need not be pinned, and a fault is returned as an error.
func (v *Value) Update(ctx context.Context, f func() error) (err error) {
	if err := v.Lockable(); err != nil {
		return err
	}
	if !v.m.Pin() {
		return errs.Closed
	}
	defer v.unpin(debug.SetPanicOnFault(true), &err)
	if err := v.Lock(ctx); err != nil {
		return err
	}
	var phase Phase
	defer v.End(&phase, &err)
	v.Begin(&phase)
	err = f()
	phase = Ran
	return err
}

// unpin is deferred by a call that has pinned the mapping. old is what debug.SetPanicOnFault
// returned.
func (v *Value) unpin(old bool, err *error) {
	debug.SetPanicOnFault(old)
	v.m.Unpin()
	if r := recover(); r != nil {
		f := v.m.FaultOf(r)
		if f == nil {
			panic(r)
		}
		*err = v.a.Fault(f)
	}
}

// Repair takes the lock, and reports whether a process has died over the value with nothing to
// undo its change. If so, the caller repairs the value and calls Repaired. Without an error the
// caller unlocks.
func (v *Value) Repair(ctx context.Context) (broken bool, err error) {
	if v.image != 0 {
		return false, v.Lock(ctx)
	}
	if _, err := v.lock.Lock(ctx); err != nil {
		return false, err
	}
	looked := false
	defer func() {
		if !looked { // a fault: a living process must not keep the lock
			v.Unlock()
		}
	}()
	broken = !v.consistent()
	looked = true
	return broken, nil
}

// Repaired says that the value is repaired. The lock is held.
func (v *Value) Repaired() {
	v.setEven()
	wait.Wake(v.m, &v.words.SeqArmed)
}

// How often Load copies a value that changes meanwhile, before it takes the lock, and where there
// is no lock to take.
const (
	loadTries         = 64
	loadTriesReadOnly = 1 << 14
)

var errLoad = fmt.Errorf("%w: no consistent copy could be taken; "+
	"try again, or attach for writing so that Load can take the lock", errs.Contended)

// Snapshots returns nil, or why there are no snapshots of the value. The mapping need not be
// pinned.
func (v *Value) Snapshots() error {
	if v.words == nil {
		return errForeignLoad
	}
	return nil
}

// Load copies the value to dst as it was at one moment between two changes. Atomic fields may be
// newer than the rest; locks are zero. If the value changes faster than it can be copied, Load
// takes the lock for reading; where it cannot, it returns errs.Contended. Without an undo image
// Load waits for a change that is under way, and returns errs.OwnerDied if a process has died over
// the value.
func (v *Value) Load(ctx context.Context, dst []byte) error {
	if v.a.Closed() {
		return errs.Closed // the value's Drop runs
	}
	if robust.RaceEnabled && v.writable {
		// Update writes plainly, and the race detector knows nothing of sequence counters.
		return v.loadLocked(ctx, dst)
	}
	seq := &v.words.Seq
	if before := seq.Load(); before&1 == 0 {
		v.loadLocal(dst, 0)
		if seq.Load() == before {
			return nil
		}
	}
	return v.loadBeside(ctx, dst)
}

// loadBeside is Load beside changes of the value.
func (v *Value) loadBeside(ctx context.Context, dst []byte) error {
	tries := loadTries
	if !v.writable {
		tries = loadTriesReadOnly
	}
	seq := &v.words.Seq
	for try := range tries {
		before := seq.Load()
		src := 0
		if before&1 != 0 {
			if src = v.image; src == 0 { // half changed, and no image
				if v.writable {
					break
				}
				if err := v.awaitChange(ctx); err != nil {
					return err
				}
				continue
			}
		}
		v.loadLocal(dst, src)
		if seq.Load() == before {
			return nil
		}
		if try >= loadTries/2 {
			runtime.Gosched()
		}
	}
	if !v.writable {
		return errLoad
	}
	return v.loadLocked(ctx, dst)
}

func (v *Value) loadLocked(ctx context.Context, dst []byte) error {
	if err := v.RLock(ctx); err != nil {
		return err
	}
	defer v.RUnlock()
	v.loadLocal(dst, 0)
	return nil
}

// Store replaces the value by src. Atomic fields and locks stay as they are.
func (v *Value) Store(ctx context.Context, src []byte) error {
	if v.a.Closed() {
		return errs.Closed // the value's Drop runs
	}
	if err := v.Lock(ctx); err != nil {
		return err
	}
	defer v.Unlock()
	if v.image != 0 {
		if v.stored.size > v.plan.size {
			v.copyShared(v.image, 0, "") // fields that the type here does not have
		}
		v.storeLocal(v.image, src)
		step.Reach(step.StoreImage)
		v.setOdd()
		step.Reach(step.StoreOdd)
		v.copyShared(0, v.image, step.StoreWord)
	} else {
		v.setOdd()
		v.storeLocal(0, src)
	}
	step.Reach(step.StoreCopy)
	v.setEven()
	wait.Wake(v.m, &v.words.SeqArmed)
	return nil
}

// Version returns the number of changes, 0 if it cannot be read. The mapping need not be pinned.
func (v *Value) Version() (n uint64) {
	if v.words == nil || !v.m.Pin() {
		return 0
	}
	defer v.m.Unpin()
	if v.m.Guard(func() { n = v.words.Seq.Load() / 2 }) != nil {
		return 0
	}
	return n
}

// Wait blocks until Version is not seen. It returns errs.OwnerDied if a process has died over the
// value and there is no undo image.
func (v *Value) Wait(ctx context.Context, seen uint64) error {
	seq := &v.words.Seq
	if seq.Load()/2 != seen {
		return nil // before the closure, which is allocated
	}
	changed := func() bool { return seq.Load()/2 != seen }
	var o wait.Options
	if v.image == 0 {
		o.Probe = v.broken
	}
	if g := wait.GroupOf(ctx); g != nil {
		if v.image == 0 && v.broken() {
			return errNoImage
		}
		return g.Enter(v.m, &v.words.SeqArmed, changed, o)
	}
	err := wait.Until(ctx, v.m, &v.words.SeqArmed, changed, o)
	if err == nil && !changed() {
		return errNoImage
	}
	return err
}

// Waitable returns nil, or why there is no waiting for changes. The mapping need not be pinned.
func (v *Value) Waitable() error {
	if v.words == nil {
		return errForeignWait
	}
	return nil
}
