package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/internal/wait"
)

// To detach from a segment:
//
//  1. invalidate the box's pointer, end calls that block, wait for calls in flight, and for a short
//     time for the goroutines that hold locks in the value
//  2. read the owner word and the first slots (DetachRead). A kept segment stays: step 3, then 8.
//     Of a dropped one the name may be left: step 3, and if it is there 5. If this is the owner,
//     if it leaks, or if the records say that no other is attached, keep the slot: 5. A passive
//     attachment looks at nothing: step 3, then 8
//  3. write the hint that the slot is free, and unlock it (DetachUnlock)
//  4. look whether another slot is locked (DetachLook). If so that attachment takes care: 8
//  5. take the gate (DetachGate, LeakGate) and read the owner word. If the cleanup is not this
//     attachment's (lifetime.go), free the gate and the slot by one call: 8, or, if the slot was
//     held until now because no other seemed to be attached, 4. It looks at the locks, and for
//     unread messages of a shared queue (DetachUnread). Leak writes Kept instead (LeakWord)
//  6. cleanup: write Dropped into the owner word (DetachDropped) and unlink the name
//     (DetachUnlink)
//  7. lock the slot again, if step 3 unlocked it (DetachRelock), or another one, if a passive
//     attachment has come into it: no other can come any more
//  8. leave the gate (DetachRelease). Where the name was unlinked tell the others (DetachTold;
//     see told.go); in all other cases ring what waits for events (DetachCounted)
//  9. cleanup: drop the value (DetachDrop). If this attachment holds locks of the value, or has
//     promised to set an event, unlock the slot and ring all that wait: the process lives, so the
//     kernel tells none of them
//  10. remove the mapping (DetachRetire)
//  11. close the file, which frees the slot (DetachSlot)
//
// Each attachment unlocks its slot first and looks afterwards. So of those that leave, the last one
// to unlock sees no other, and goes to the gate. Two may go there; the first writes Dropped.
//
// Step 6 comes before step 9: a death in between loses the value, but no value is dropped twice.
// After step 3 the slot's record may be another attachment's: nothing of it is written any more.

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
	owes := a.m.DrainUnlocked() || a.m.Promised.Load()
	cleanup, err := a.resign(leak)
	if a.unlinked {
		a.tell()
		step.Reach(step.DetachTold)
	} else {
		a.countAt(step.DetachCounted)
	}
	if cleanup && a.binding.Drop != nil && !a.ReadOnly() && !a.noCleanup {
		// The slot is locked until Drop returns; otherwise a lock taken in Drop would appear to be
		// held by a dead process.
		a.m.Resume()
		err = errors.Join(err, a.drop())
		a.m.Drain()
	}
	step.Reach(step.DetachDrop)
	if owes {
		a.renounce(cleanup)
	}
	a.m.Retire()
	step.Reach(step.DetachRetire)
	if e := a.file.Close(); e != nil && err == nil {
		err = e
	}
	step.Reach(step.DetachSlot)
	return err
}

// renounce makes those that wait look at what this attachment still holds: it is a dead holder now.
func (a *Attachment) renounce(hasSlot bool) {
	if a.id == format.NoID {
		return
	}
	if hasSlot {
		a.unlockSlot()
	}
	_ = a.m.Guard(func() { wait.RingAll(a.m) })
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

// A leaving is a Detach from step 2 on.
type leaving struct {
	*Attachment
	leak     bool
	hasSlot  bool // the slot is locked
	deadline time.Time
}

// resign does steps 2 to 8. cleanup says that the name is unlinked and the value is to be dropped;
// the slot is locked then.
func (a *Attachment) resign(leak bool) (cleanup bool, err error) {
	if a.id == format.NoID {
		return false, nil
	}
	l := &leaving{a, leak && !a.ReadOnly(), true, a.deadline()}
	if a.cfg.Passive { // it is no last one, so nothing is its to decide
		l.unlock()
		return false, nil
	}
	o, alone, err := l.first()
	if err != nil {
		return false, err
	}
	step.Reach(step.DetachRead)
	mine := o.State == format.Owned && o.ID == a.id
	switch {
	case o.State == format.Kept:
		l.unlock()
		return false, nil
	case o.State == format.Dropped:
		// an owner may have died between DetachDropped and DetachUnlink
		if l.unlock(); !a.Linked() {
			return false, nil
		}
		cleanup, _, err = l.atGate()
		return cleanup, err
	case !mine && !l.leak && !alone:
		l.unlock()
	}
	for again := true; again; {
		if !l.hasSlot {
			others, err := a.othersAttached()
			step.Reach(step.DetachLook)
			if others || err != nil {
				return false, err
			}
		}
		cleanup, again, err = l.atGate()
	}
	return cleanup, err
}

// first reads the owner word and the records of the first slots. alone says that by these records
// no other attachment exists, a hint that saves a call.
//
// They are read from the mapping, which is not retired yet: that saves a call.
func (l *leaving) first() (o format.Owner, alone bool, err error) {
	f := l.m.Guard(func() {
		p := l.m.Peers
		o = format.OwnerOf(p.Words.Owner.Load())
		if p.Words.SlotHigh.Load() > tailSlots {
			return
		}
		for i := range p.SlotBound() {
			if i != int(l.id.Slot()) && p.Slot(i).PID.Load() != 0 {
				return
			}
		}
		alone = true
	})
	if f != nil || !o.Valid() {
		return o, false, errNoOwner()
	}
	return o, alone, nil
}

// unlock does step 3.
func (l *leaving) unlock() {
	l.clearPID()
	l.unlockSlot()
	l.hasSlot = false
	step.Reach(step.DetachUnlock)
}

// atGate does steps 5 to 8. again says that the slot was held until now, so that another one that
// leaves may have seen it: look once more.
func (l *leaving) atGate() (cleanup, again bool, err error) {
	if err := l.enter(l.deadline); err != nil {
		if l.hasSlot {
			l.unlock()
		}
		return false, false, err
	}
	if l.leak {
		step.Reach(step.LeakGate)
	} else {
		step.Reach(step.DetachGate)
	}
	defer func() {
		if l.leaveGate(cleanup); err == errScan {
			l.scanRing()
			again, err = true, nil
		}
		step.Reach(step.DetachRelease)
	}()
	o, err := l.owner()
	if err != nil {
		return false, false, err
	}
	if l.hasSlot {
		l.clearPID()
	}
	return l.decide(o)
}

// decide does steps 5 to 7. The gate is held.
func (l *leaving) decide(o format.Owner) (cleanup, again bool, err error) {
	mine := o.State == format.Owned && o.ID == l.id
	switch {
	case o.State == format.Dropped:
		return false, false, l.unlinkName()
	case o.State == format.Kept:
		return false, false, nil
	case mine && !l.leak:
		cleanup, err = l.cleanUp()
		return cleanup, false, err
	}
	if l.leak {
		alive, err := l.ownerAlive(o)
		if err != nil {
			return false, false, err
		}
		if mine || !alive {
			err := l.setOwner(format.Owner{State: format.Kept})
			step.Reach(step.LeakWord)
			return false, false, err
		}
	}
	if others, err := l.othersAttached(); others || err != nil {
		step.Reach(step.DetachUnread)
		return false, l.hasSlot && err == nil, err
	}
	stays, err := l.staysAtGate(o)
	if err != nil {
		return false, false, err
	}
	step.Reach(step.DetachUnread)
	if stays {
		return false, false, nil
	}
	if o.State == format.Owned { // by an attachment that is not there: see ownerAlive
		_ = l.m.Guard(func() { l.m.Note(notes.OwnerDied, "segment", 1, o.ID) })
	}
	cleanup, err = l.cleanUp()
	return cleanup, false, err
}

// leaveGate does step 8. Without cleanup one call frees the slot with the gate.
func (l *leaving) leaveGate(cleanup bool) {
	if cleanup || !l.hasSlot {
		l.leave()
		return
	}
	l.leaveWith(sys.SlotByte + int64(l.id.Slot()) + 1)
	l.hasSlot = false
}

// ownerAlive reports whether another attachment is the owner, and lives.
func (a *Attachment) ownerAlive(o format.Owner) (bool, error) {
	if o.State != format.Owned || o.ID == a.id {
		return false, nil
	}
	return a.alive(o.ID)
}

// cleanUp does steps 6 and 7.
func (l *leaving) cleanUp() (cleanup bool, err error) {
	if err := l.setOwner(format.Owner{State: format.Dropped}); err != nil {
		return false, err
	}
	step.Reach(step.DetachDropped)
	err = l.unlinkName()
	step.Reach(step.DetachUnlink)
	if !l.hasSlot {
		if e := l.relock(); e != nil {
			return false, errors.Join(err, e)
		}
		step.Reach(step.DetachRelock)
	}
	return true, err
}

// relock does step 7. The generation may go back to that of this attachment: no other comes.
func (l *leaving) relock() error {
	err := l.file.Lock(sys.SlotByte+int64(l.id.Slot()), false)
	if err == sys.ErrHeld {
		return l.move()
	}
	if err != nil {
		return err
	}
	l.hasSlot = true
	return l.file.WriteAt(l.slotRecord(0), l.slotOff(int(l.id.Slot())))
}

// move does step 7 where another attachment shares the byte of the slot: a passive one that has
// come since step 3, or one that may only read the file. It takes another slot, for the locks of
// the mapping. l.id stays that of the former slot, which is the other's now: no later step uses it.
func (l *leaving) move() error {
	t := tails.Get().(*tail)
	defer tails.Put(t)
	err := t.read(l.file, l.stat)
	to := &Attachment{control: l.control, cfg: l.cfg, noCleanup: l.noCleanup}
	if err == nil {
		err = to.takeSlot(t)
	}
	if err != nil {
		return fmt.Errorf("%w; the value was not dropped", err)
	}
	l.m.ChangeSlot(to.id)
	l.hasSlot = true
	return nil
}

// unlinkName unlinks the name if it still leads to this segment. The gate is held.
func (a *Attachment) unlinkName() error {
	if a.path == "" {
		return nil
	}
	a.unlinked = true
	there, err := sys.Lstat(a.path)
	switch {
	case err != nil && !gone(err) && !errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("unlinking %s: %w", a.path, err)
	case err != nil || !there.Same(a.stat):
		return nil
	}
	// Without permission, in a sticky directory, the name stays as garbage for a process that may
	// unlink it.
	if err := sys.Unlink(a.path); err != nil && !gone(err) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("unlinking %s: %w", a.path, err)
	}
	return nil
}
