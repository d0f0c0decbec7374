package segment

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// takeSlot locks a free slot and writes its record. The gate is held.
func (a *Attachment) takeSlot(t *tail) error {
	// A record without pid is a hint that the slot is free: only its lock decides.
	for _, hinted := range []bool{true, false} {
		if taken, err := a.scanSlots(t, hinted); taken || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: there are %d attachments; close one, "+
		"or create it with more Options.Slots (at most %d)", errs.NoSlot, a.head.SlotCount,
		format.MaxSlots)
}

// scanSlots takes the first free slot among those with the hint, or among those without. The first
// slots were read with the header.
func (a *Attachment) scanSlots(t *tail, hinted bool) (taken bool, err error) {
	var buf [tailSlots * format.SlotSize]byte
	n := int(a.head.SlotCount)
	for first := 0; first < n; first += tailSlots {
		b := buf[:min(tailSlots, n-first)*format.SlotSize]
		if first > 0 {
			if err := a.readSlots(b, first); err != nil {
				return false, err
			}
		}
		for i := 0; i < len(b)/format.SlotSize; i++ {
			rec := b[i*format.SlotSize:][:format.SlotSize]
			if first == 0 {
				rec = t.slot(uint32(i))
			}
			if hinted != (binary.NativeEndian.Uint32(rec[format.SlotPID:]) == 0) {
				continue
			}
			if locked, err := a.lockSlot(first + i); err != nil {
				return false, err
			} else if !locked {
				continue
			}
			step.Reach(step.AttachSlot)
			err := a.writeSlot(t.header(), uint32(first+i), rec)
			step.Reach(step.AttachRecord)
			return true, err
		}
	}
	return false, nil
}

// lockSlot locks a slot, and reports whether it was free. A passive attachment shares the byte of
// the slot: so no other takes the slot, and none that looks for attachments finds this one. A byte
// of its own says that it lives. Never is the first one locked alone, not for a moment: another
// attachment that leaves would rely on this one.
func (a *Attachment) lockSlot(i int) (locked bool, err error) {
	slot := sys.SlotByte + int64(i)
	if !a.cfg.Passive {
		return free(a.file.Lock(slot, false))
	}
	own := sys.PassiveByte + int64(i)
	if locked, err = free(a.file.Lock(own, false)); !locked {
		return false, err
	}
	if locked, err = free(a.file.Lock(slot, true)); !locked {
		_ = a.file.Unlock(own, 1)
	}
	return locked, err
}

// free makes of the result of a lock that it was free.
func free(err error) (bool, error) {
	if err == sys.ErrHeld {
		return false, nil
	}
	return err == nil, err
}

// unlockSlot frees the slot.
func (a *Attachment) unlockSlot() {
	slot := int64(a.id.Slot())
	_ = a.file.Unlock(sys.SlotByte+slot, 1)
	if a.cfg.Passive {
		_ = a.file.Unlock(sys.PassiveByte+slot, 1)
	}
}

// writeSlot makes the locked slot this attachment's; old is its present record. The new generation
// makes ids of former attachments in the slot dead.
func (a *Attachment) writeSlot(page []byte, slot uint32, old []byte) error {
	gen := format.NextGen(binary.NativeEndian.Uint32(old[format.SlotGen:]) & format.GenMask)
	a.id = format.MakeID(gen, slot)
	before := uint32(0)
	if binary.NativeEndian.Uint32(old[format.SlotPID:]) != 0 {
		before = format.SlotUnclean
		a.succeeds = true
	}
	if err := a.file.WriteAt(a.slotRecord(before), a.slotOff(int(slot))); err != nil {
		return err
	}
	if high := binary.NativeEndian.Uint32(page[format.OffSlotHigh:]); high <= slot {
		var b [4]byte
		putUint32(b[:], slot+1)
		return a.file.WriteAt(b[:], int64(a.head.HeaderOff())+format.OffSlotHigh)
	}
	return nil
}

// slotRecord returns the record of this attachment. before is what the former record adds to the
// flags.
func (a *Attachment) slotRecord(before uint32) []byte {
	b := make([]byte, format.SlotSize)
	putUint32(b[format.SlotGen:], a.id.Gen())
	putUint32(b[format.SlotPID:], pid())
	flags := before | format.SlotCarries
	if a.cfg.ReadOnly {
		flags |= format.SlotReadOnly
	}
	if a.noCleanup {
		flags |= format.SlotNoDrop
	}
	if a.cfg.Passive {
		flags |= format.SlotNoDrop | format.SlotPassive
	}
	putUint32(b[format.SlotFlags:], flags)
	putUint64(b[format.SlotPIDNS:], pidNamespace())
	putUint64(b[format.SlotStarted:], uint64(time.Now().UnixNano()))
	return b
}

// clearPID writes the hint that the slot is free. The mapping is not retired yet.
func (a *Attachment) clearPID() {
	_ = a.m.Guard(func() { a.m.Peers.Slot(int(a.id.Slot())).PID.Store(0) })
}

// alive reports whether the attachment id still exists.
func (a *Attachment) alive(id format.ID) (bool, error) {
	if id == a.id {
		return true, nil // one's own locks cannot be seen
	}
	if id.Slot() >= a.head.SlotCount {
		return false, nil
	}
	var b [4]byte
	if _, err := a.file.ReadAt(b[:], a.slotOff(int(id.Slot()))+format.SlotGen); err != nil {
		return false, err
	}
	if binary.NativeEndian.Uint32(b[:])&format.GenMask != id.Gen() {
		return false, nil
	}
	return a.file.HeldSlot(int(id.Slot()))
}
