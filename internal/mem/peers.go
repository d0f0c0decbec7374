package mem

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/sys"
)

// A Slot is the record of one attachment in the control block.
type Slot struct {
	Gen      atomic.Uint32 // goes up with every attachment that takes the slot
	Bell     atomic.Uint32 // futex word: another process rings it
	Sleeping atomic.Uint32 // not 0: a thread sleeps on Bell
	Reader   atomic.Uint32 // id of the attachment while it reads under the box's lock
	Interest atomic.Uint64 // buckets of the objects that are waited for
	Pending  atomic.Uint64 // buckets that were rung and not looked at
	PID      atomic.Uint32 // 0: the slot is free; only a hint
	Flags    atomic.Uint32
	PIDNS    atomic.Uint64
	Started  atomic.Int64  // Unix nanoseconds
	Baton    atomic.Uint64 // a wait.baton, in which n waiters at an object go on; 0: none
}

// Words are the words of the header page that change while the segment exists, from format.OffOwner
// on.
type Words struct {
	Owner        atomic.Uint64 // written only under the gate
	SlotHigh     atomic.Uint32 // slots ever taken are below it; written only under the gate
	_            [52]byte
	Lock         atomic.Uint32 // lock word of the box
	LockArmed    atomic.Uint32
	_            [56]byte
	Seq          atomic.Uint64 // even: the payload counts; odd: the image counts
	SeqArmed     atomic.Uint32
	_            [52]byte
	Readers      atomic.Uint32
	ReadersArmed atomic.Uint32
	_            [56]byte
	Events       atomic.Uint64 // counts changes of the segment's life
	EventsArmed  atomic.Uint32
	Gone         atomic.Uint32 // bit 0: the name was taken from the segment
	_            [440]byte
	Fingerprint  atomic.Uint64 // of the schema record; written only under the gate
}

// Peers is what an attachment knows of all attachments to its segment, from the control block and
// from the kernel's locks.
type Peers struct {
	Self  format.ID // this attachment; format.NoID where it has no slot
	Words *Words
	slots []Slot // slot 0 is the last
	file  sys.FD

	lately [16]atomic.Uint64 // id << 32 | when it was found alive, in ms; by slot

	once sync.Once
	id   FileID

	bells *bells // nil: the doorbells are futex words
}

// JoinPeers sets m.Peers. file has the locks of this attachment; the caller keeps and closes it.
func (m *Mapping) JoinPeers(file sys.FD, self format.ID, h *format.Header) error {
	words, err := Control[Words](m, int(h.TotalSize)-format.HeaderSize+format.OffOwner)
	if err != nil {
		return err
	}
	slots, err := ControlSlice[Slot](m, int(h.SlotsOff), int(h.SlotCount))
	if err != nil {
		return err
	}
	m.Peers = &Peers{Self: self, Words: words, slots: slots, file: file}
	if !sys.HasFutex {
		m.Peers.bells = newBells(len(slots))
	}
	m.setLockID()
	return nil
}

// Fit sets how many bytes typed views of the payload may reach, and where the control block begins,
// for a mapping that was made when only the file's size was known. A payload that cannot be written
// is protected. No other goroutine uses m yet.
func (m *Mapping) Fit(payload, control int) error {
	if payload < 0 || uintptr(payload) > m.length || control < 0 || uintptr(control) > m.length {
		return ErrBounds
	}
	m.payload = uintptr(payload)
	return m.protect(control)
}

// Identify says which attachment m is, after JoinPeers and before another goroutine uses m.
func (m *Mapping) Identify(self format.ID) {
	m.Peers.Self = self
	m.setLockID()
}

// ChangeSlot says that the attachment has another slot from the next Resume on. The mapping is
// drained.
func (m *Mapping) ChangeSlot(self format.ID) {
	m.Peers.Self = self
	m.Waiters.Store(nil) // they are rung by the slot
}

// setLockID allows locks to be taken, where the payload can be written.
func (m *Mapping) setLockID() {
	if m.write && m.Peers != nil {
		m.putLockID(m.Peers.Self)
	}
}

// Alive reports whether the attachment that id names still holds its slot. The mapping is pinned.
// The kernel knows: it frees the slot's lock byte when the process ends. A stopped process is
// alive.
func (p *Peers) Alive(id format.ID) bool {
	if id == p.Self {
		return true // Held does not see the locks of this file
	}
	slot := int(id.Slot())
	if id.Gen() == 0 || slot >= p.Len() || p.Slot(slot).Gen.Load() != id.Gen() {
		return false
	}
	held, err := p.file.HeldSlot(slot)
	if held {
		// Another attachment may have taken the slot since the generation was loaded.
		return p.Slot(slot).Gen.Load() == id.Gen()
	}
	return err != nil && !errors.Is(err, errors.ErrUnsupported)
}

// AliveLately is Alive whose answer may be 1 ms old, without a system call then.
func (p *Peers) AliveLately(id format.ID) bool {
	if id == p.Self || id.Gen() == 0 {
		return id == p.Self
	}
	now := uint64(uint32(time.Since(processStart) / time.Millisecond))
	known, entry := &p.lately[id.Slot()%uint32(len(p.lately))], uint64(id)<<32|now
	if known.Load() == entry {
		return true
	}
	if !p.Alive(id) {
		return false
	}
	known.Store(entry)
	return true
}

// processStart is the origin of the times in Peers.lately.
var processStart = time.Now()

// SlotBound returns how many slots to look at: all others were never taken.
func (p *Peers) SlotBound() int { return int(min(p.Words.SlotHigh.Load(), uint32(p.Len()))) }

// Len returns the number of slots.
func (p *Peers) Len() int { return len(p.slots) }

// Slot returns the record of slot i. In the file the slots stand in reverse order, before the
// header.
func (p *Peers) Slot(i int) *Slot { return &p.slots[len(p.slots)-1-i] }

// Note notes what was done about the death of an attachment, or NoID. The mapping is pinned. It may
// be nil. The caller may hold a lock: nothing waits for the logger.
func (m *Mapping) Note(kind notes.Kind, what string, count uint64, died format.ID) {
	if m == nil || m.notes == nil || count == 0 {
		return
	}
	n := notes.Note{Kind: kind, What: what, Segment: m.name, Count: count}
	if i := int(died.Slot()); died.Gen() != 0 && m.Peers != nil && i < m.Peers.Len() {
		n.PID = int(m.Peers.Slot(i).PID.Load())
	}
	m.notes.Add(n)
}

// Noted returns a function that does as alive, and keeps in *died the last attachment that is dead.
// Where nothing is noted that is alive itself, and *died stays NoID.
func (m *Mapping) Noted(alive func(uint32) bool) (noted func(uint32) bool, died *format.ID) {
	if m.notes == nil {
		return alive, &unknown
	}
	died = new(format.ID)
	noted = func(id uint32) bool {
		lives := alive(id)
		if !lives {
			*died = format.ID(id)
		}
		return lives
	}
	return noted, died
}

var unknown format.ID // NoID, never written
