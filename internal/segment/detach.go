package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// To detach from a segment:
//
//  1. invalidate the box's pointer, end calls that block, wait for calls in flight, and for a short
//     time for the goroutines that hold locks in the value
//  2. take the gate (DetachGate, LeakGate)
//  3. read the owner word, and decide whether the cleanup is this attachment's: it is the owner, or
//     the last one of a segment that does not stay (lifetime.go)
//  4. cleanup: write Dropped into the owner word (DetachDropped) and unlink the name
//     (DetachUnlink); Leak writes Kept instead (LeakWord)
//  5. leave the gate (DetachRelease); without cleanup the slot is freed by the same call
//     cleanup: tell those who stay (DetachTold); see told.go; otherwise tell those who wait for
//     events (DetachCounted)
//  6. cleanup: drop the value (DetachDrop)
//  7. remove the mapping (DetachRetire)
//  8. close the file, which frees the slot (DetachSlot)
//
// Step 4 comes before step 6: a death in between loses the value, but no value is dropped twice.

// Detach ends the attachment; with leak the segment is kept. A second call returns nil.
func (a *Attachment) Detach(leak bool) error {
	if !a.closed.CompareAndSwap(false, true) {
		return nil
	}
	// A lifecycle step that has begun is finished, and no other begins. mu is not held any longer:
	// Drop, and calls in flight, which are waited for, may call methods that lock it.
	a.mu.Lock()
	if a.binding.Invalidate != nil {
		a.binding.Invalidate()
	}
	a.mu.Unlock()
	a.m.DrainUnlocked()
	cleanup, err := a.resign(leak)
	if a.unlinked {
		a.tell()
		step.Reach(step.DetachTold)
	} else {
		a.countAt(step.DetachCounted)
	}
	if cleanup && a.binding.Drop != nil && !a.ReadOnly() && !a.noCleanup {
		// Keep the slot until Drop returns; otherwise a lock taken in Drop would appear to be held
		// by a dead process.
		a.m.Resume()
		err = errors.Join(err, a.drop())
		a.m.Drain()
	}
	step.Reach(step.DetachDrop)
	a.m.Retire()
	step.Reach(step.DetachRetire)
	if e := a.file.Close(); e != nil && err == nil {
		err = e
	}
	step.Reach(step.DetachSlot)
	return err
}

// Abandon ends the attachment as the kernel does when a process dies: without cleanup. It is for
// tests.
func (a *Attachment) Abandon() {
	a.closed.Store(true)
	if a.binding.Invalidate != nil {
		a.binding.Invalidate()
	}
	a.m.Drain()
	a.m.Retire()
	_ = a.file.Close()
}

// drop drops the value. A panic or a Goexit of the user's Drop passes, and the attachment ends.
func (a *Attachment) drop() error {
	returned := false
	defer func() {
		if !returned {
			a.m.Drain()
			a.m.Retire()
			_ = a.file.Close()
		}
	}()
	f := a.m.Guard(a.binding.Drop)
	returned = true
	if f != nil {
		return a.Fault(f)
	}
	return nil
}

// resign does steps 2 to 5. cleanup says that the name is unlinked and the value is to be dropped.
func (a *Attachment) resign(leak bool) (cleanup bool, err error) {
	if a.id == format.NoID {
		return false, nil
	}
	if err := a.enter(a.deadline()); err != nil {
		return false, err
	}
	if leak {
		step.Reach(step.LeakGate)
	} else {
		step.Reach(step.DetachGate)
	}
	defer func() {
		a.leaveGate(cleanup)
		step.Reach(step.DetachRelease)
	}()
	o, err := a.owner()
	if err != nil {
		return false, err
	}
	a.clearPID()
	mine, alive, err := a.standing(o)
	switch {
	case err != nil:
		return false, err
	case o.State == format.Dropped:
		// an owner may have died between DetachDropped and DetachUnlink
		return false, a.unlinkName()
	case leak && (mine || !alive && !a.ReadOnly()):
		err := a.setOwner(format.Owner{State: format.Kept})
		step.Reach(step.LeakWord)
		return false, err
	case mine:
		return a.cleanUp()
	case alive:
		return false, nil
	}
	if others, err := a.othersAttached(); err != nil || others {
		return false, err
	}
	if stays, err := a.stays(o); err != nil || stays {
		return false, err
	}
	return a.cleanUp()
}

// leaveGate does step 5. Without cleanup the memory is not used any more, and one call frees the
// slot with the gate: of two attachments that leave an orphaned segment one after the other, the
// second must not see the first.
func (a *Attachment) leaveGate(cleanup bool) {
	if cleanup {
		a.leave()
		return
	}
	a.leaveWith(sys.SlotByte + int64(a.id.Slot()) + 1)
}

// standing reports whether this attachment is the owner, and whether another one is, which lives.
func (a *Attachment) standing(o format.Owner) (mine, alive bool, err error) {
	if o.State != format.Owned {
		return false, false, nil
	}
	if o.ID == a.id {
		return true, false, nil
	}
	alive, err = a.alive(o.ID)
	return false, alive, err
}

// cleanUp does step 4.
func (a *Attachment) cleanUp() (cleanup bool, err error) {
	if err := a.setOwner(format.Owner{State: format.Dropped}); err != nil {
		return false, err
	}
	step.Reach(step.DetachDropped)
	err = a.unlinkName()
	step.Reach(step.DetachUnlink)
	return true, err
}

// unlinkName unlinks the name if it still leads to this segment. The gate is held.
func (a *Attachment) unlinkName() error {
	if a.path == "" {
		return nil
	}
	a.unlinked = true
	there, err := sys.Lstat(a.path)
	if err != nil || !there.Same(a.stat) {
		return nil
	}
	// Without permission, in a sticky directory, the name stays as garbage for a process that may
	// unlink it.
	if err := sys.Unlink(a.path); err != nil && !errors.Is(err, fs.ErrNotExist) &&
		!errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("unlinking %s: %w", a.path, err)
	}
	return nil
}
