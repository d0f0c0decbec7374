package mem

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// A Slot is one attachment's record in the control block.
type Slot struct {
	Gen      atomic.Uint32 // goes up with every attachment that takes the slot
	Bell     atomic.Uint32 // futex word: another process rings it
	Sleeping atomic.Uint32 // somebody sleeps on Bell
	Reader   atomic.Uint32 // id of the attachment while it reads under the box's lock
	Interest atomic.Uint64 // buckets of waited-on offsets
	Pending  atomic.Uint64 // buckets that were rung
	PID      atomic.Uint32 // for people; 0: nobody, which is a hint only
	Flags    atomic.Uint32
	PIDNS    atomic.Uint64
	Started  atomic.Int64 // Unix nanoseconds
	_        atomic.Uint64
}

// Words are the words of the header page, from format.OffOwner on, that change while the segment lives.
type Words struct {
	Owner        atomic.Uint64 // written under the gate only
	SlotHigh     atomic.Uint32 // one more than the highest slot ever taken; written under the gate only
	_            [52]byte
	Lock         atomic.Uint32 // the box's own lock
	LockArmed    atomic.Uint32
	_            [56]byte
	Seq          atomic.Uint64 // even: the payload counts; odd: the image counts
	SeqArmed     atomic.Uint32
	_            [52]byte
	Readers      atomic.Uint32
	ReadersArmed atomic.Uint32
	_            [512]byte
	Fingerprint  atomic.Uint64 // of the schema record; written under the gate only
}

// Peers is what an attachment knows of the others at its segment, by the control block and by
// the kernel's locks.
type Peers struct {
	Self  format.ID // this attachment; format.Nobody where it has no slot
	Words *Words
	Slots []Slot
	file  sys.FD

	once sync.Once
	id   FileID
}

// JoinPeers gives m its control block. The file's locks are those of this attachment; it stays the caller's.
func (m *Mapping) JoinPeers(file sys.FD, self format.ID, h *format.Header) error {
	words, err := Control[Words](m, int(h.TotalSize)-format.HeaderSize+format.OffOwner)
	if err != nil {
		return err
	}
	slots, err := ControlSlice[Slot](m, int(h.SlotsOff), int(h.SlotCount))
	if err != nil {
		return err
	}
	m.Peers = &Peers{Self: self, Words: words, Slots: slots, file: file}
	if m.write {
		m.lockID = uint32(self)
	}
	return nil
}

// Alive reports whether the attachment that id names still holds its slot. The caller has pinned the mapping.
//
// It is the kernel that knows: the slot's lock vanishes with the process. A stopped process is alive.
func (p *Peers) Alive(id format.ID) bool {
	if id == p.Self {
		return true // one's own locks cannot be seen
	}
	slot := int(id.Slot())
	if id.Gen() == 0 || slot >= len(p.Slots) || p.Slots[slot].Gen.Load() != id.Gen() {
		return false
	}
	held, err := p.file.Held(sys.SlotByte+int64(slot), 1)
	return held || err != nil && !errors.Is(err, errors.ErrUnsupported)
}

// High bounds the slots that were ever taken.
func (p *Peers) High() int { return int(min(p.Words.SlotHigh.Load(), uint32(len(p.Slots)))) }
