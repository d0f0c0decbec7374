package shmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// owner reads the owner word. It goes by the file, not by the mapping: a truncated file is an
// error then, not a fault.
func (s *Segment) owner() (format.Owner, error) {
	var b [8]byte
	n, err := s.file.ReadAt(b[:], int64(s.head.HeaderOff())+format.OffOwner)
	if err != nil {
		return format.Owner{}, err
	}
	o := format.OwnerOf(binary.NativeEndian.Uint64(b[:]))
	if n < len(b) || !o.Valid() {
		return format.Owner{}, fmt.Errorf("%w: no valid owner word; was the file truncated?", ErrCorrupt)
	}
	return o, nil
}

// setOwner writes the owner word, under the gate.
func (s *Segment) setOwner(o format.Owner) error {
	var b [8]byte
	putUint64(b[:], o.Word())
	return s.file.WriteAt(b[:], int64(s.head.HeaderOff())+format.OffOwner)
}

// alive reports whether the attachment id still is. Like owner it goes by the file.
func (s *Segment) alive(id format.ID) (bool, error) {
	if id == s.id {
		return true, nil // one's own locks cannot be seen
	}
	if id.Slot() >= s.head.SlotCount {
		return false, nil
	}
	var b [4]byte
	if _, err := s.file.ReadAt(b[:], int64(s.head.SlotsOff)+int64(id.Slot())*format.SlotSize+format.SlotGen); err != nil {
		return false, err
	}
	if binary.NativeEndian.Uint32(b[:])&format.GenMask != id.Gen() {
		return false, nil
	}
	return s.file.Held(sys.SlotByte+int64(id.Slot()), 1)
}

// Own makes this attachment the owner: its Close will do the duty. The former owner, if alive,
// stops being it, and its Close only detaches. An orphaned or kept segment gets an owner again.
//
// ErrReadOnly: it is attached read-only. ErrDropped: the former owner has dropped it already.
// fs.ErrPermission: the directory would not let this process unlink the name.
func (s *Segment) Own() error { return wrap("own", s.name, s.own()) }

func (s *Segment) own() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return ErrClosed
	case s.head == nil:
		return fmt.Errorf("%w: a foreign segment has no owner", ErrForeign)
	case s.ReadOnly():
		return ErrReadOnly
	}
	if err := s.mayUnlink(); err != nil {
		return err
	}
	if err := enter(s.file, false, s.deadline()); err != nil {
		return err
	}
	step.Reach(step.OwnGate)
	defer func() {
		leave(s.file)
		step.Reach(step.OwnRelease)
	}()
	o, err := s.owner()
	if err != nil {
		return err
	}
	if o.State == format.Dropped && !step.Flawed(step.OwnDropped) {
		return ErrDropped
	}
	err = s.setOwner(format.Owner{State: format.Owned, ID: s.id})
	step.Reach(step.OwnWord)
	return err
}

func (s *Segment) mayUnlink() error {
	if s.path == "" {
		return nil
	}
	if err := sys.MayUnlink(s.dir(), s.stat.UID); err != nil {
		return fmt.Errorf("%w: uid %d may not unlink files of uid %d in %s, as an owner must", err, os.Geteuid(), s.stat.UID, s.dir())
	}
	return nil
}

// detach ends the attachment: what Close and Leak do.
func (s *Segment) detach(leak bool) error {
	if !s.closed.CompareAndSwap(false, true) {
		return nil
	}
	// A step that has begun is finished, and no other begins. The lock is not kept: calls in flight,
	// which are waited for, and Drop may ask the segment something.
	s.mu.Lock()
	if s.hidden != nil {
		s.hidden()
	}
	s.mu.Unlock()
	s.m.Drain()
	duty, err := s.resign(leak)
	if duty && s.drop != nil && !s.ReadOnly() {
		// What lives in the value can be used once more. The slot is still ours, or a lock taken
		// in Drop would look like a dead man's.
		s.m.Resume()
		err = errors.Join(err, s.dropGuarded())
		s.m.Drain()
	}
	step.Reach(step.DetachDrop)
	s.m.Retire()
	step.Reach(step.DetachRetire)
	if e := s.file.Close(); e != nil && err == nil {
		err = e
	}
	step.Reach(step.DetachSlot)
	return err
}

func (s *Segment) dropGuarded() (err error) {
	returned := false
	defer func() {
		if !returned {
			// The panic, or the Goexit, is the user's; the attachment ends all the same.
			s.m.Drain()
			s.m.Retire()
			_ = s.file.Close()
		}
	}()
	f := s.m.Guard(s.drop)
	returned = true
	if f != nil {
		return s.fault(f)
	}
	return nil
}

// resign gives up ownership or, if the owner has died and we are the last, does its duty: the name
// is gone then, and duty says that the value is to be dropped.
func (s *Segment) resign(leak bool) (duty bool, err error) {
	if s.id == format.Nobody {
		return false, nil
	}
	if err := enter(s.file, false, s.deadline()); err != nil {
		return false, err
	}
	if step.Flawed(step.NoGate) {
		leave(s.file)
	}
	if leak {
		step.Reach(step.LeakGate)
	} else {
		step.Reach(step.DetachGate)
	}
	defer func() {
		if duty {
			leave(s.file)
		} else {
			// From here on nobody uses the memory. Two who leave an orphan one after the other must not
			// both take the other for one who stays: the slot goes with the gate, in one call.
			_ = s.file.Unlock(sys.GateByte, sys.SlotByte-sys.GateByte+int64(s.id.Slot())+1)
		}
		step.Reach(step.DetachRelease)
	}()
	o, err := s.owner()
	if err != nil {
		return false, err
	}
	s.clearPID()
	mine := o.State == format.Owned && (o.ID == s.id || step.Flawed(step.TwoDuties))
	orphaned := o.State == format.NoOwner
	if o.State == format.Owned && !mine {
		alive, err := s.alive(o.ID)
		if err != nil {
			return false, err
		}
		orphaned = !alive
	}
	switch {
	case leak && (mine || orphaned):
		err := s.setOwner(format.Owner{State: format.Kept})
		step.Reach(step.LeakWord)
		return false, err
	case o.State == format.Dropped:
		return false, s.unlinkOwn() // finishes what an owner began that was killed
	case orphaned && s.visitor:
		return false, nil
	case orphaned:
		others, err := s.othersAttached()
		if err != nil || others || s.mayUnlink() != nil {
			return false, err // of those who may not unlink, nobody has the duty
		}
	case !mine:
		return false, nil
	}
	dropped := format.Owner{State: format.Dropped}
	if step.Flawed(step.NoDropped) {
		dropped = o
	}
	if step.Flawed(step.NoGate) {
		step.Reach(step.DetachGate) // a gate that is not held is no use here
	}
	if err := s.setOwner(dropped); err != nil {
		return false, err
	}
	step.Reach(step.DetachDropped)
	err = s.unlinkOwn()
	step.Reach(step.DetachUnlink)
	return true, err
}

// clearPID is a hint to the next one who looks for a slot, and to those who look on. It goes by the
// file: a first touch of the page here would cost more than the call.
func (s *Segment) clearPID() {
	var none [4]byte
	_ = s.file.WriteAt(none[:], int64(s.head.SlotsOff)+int64(s.id.Slot())*format.SlotSize+format.SlotPID)
}

// unlinkOwn takes the name away if it still leads to this segment, under the gate.
func (s *Segment) unlinkOwn() error {
	if s.path == "" {
		return nil
	}
	there, err := sys.Lstat(s.path)
	if err != nil || !there.Same(s.stat) && !step.Flawed(step.BlindUnlink) {
		return nil
	}
	if err := sys.Unlink(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unlinking %s: %w", s.path, err)
	}
	return nil
}
