package inspect

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

func (s *Observer) readAt(b []byte, off int64) (int, error) {
	if s.file == sys.NoFD {
		return 0, shmem.ErrClosed
	}
	if off >= s.info.File {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(b, off)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// A Status is everything there is to know of a segment but its value.
type Status struct {
	shmem.Info
	Linked bool // the name still leads to it
	Fate   string

	// Of the control block; zero where there is none.
	ID           string // random, in hex
	OwnerWord    string // none, owned, kept, dropped
	OwnerSlot    int    // -1 if not owned
	CreatorPID   int
	CreatorNS    uint64 // inode of its PID namespace
	PayloadCap   int64  // room for the value and its growth
	ControlOff   int64
	ImageOff     int64 // 0: a dying writer's change cannot be undone
	SlotsHigh    int   // one more than the highest slot ever taken
	PageSize     int
	WordSize     int
	Version      uint64 // of the value
	Changing     bool   // somebody is changing the value, or has died over it
	Lock         LockState
	Readers      []Holder // of the box's lock
	Slots        []Slot   // those that are held, and dead ones that have left traces
	Locks        []FieldLock
	Traffic      *Traffic // of a queue or topic
	ChangeWaiter bool     // somebody waits for a change of the value
}

// A Slot is the record of an attachment.
type Slot struct {
	Slot, Generation int
	Alive            bool
	PID              int
	PIDNamespace     uint64
	Since            time.Time
	ReadOnly         bool
	Owner            bool
	Waits            []string // what it waits for: "lock", "readers", "change", or the path of a psync field
}

// A FieldLock is a lock in the value.
type FieldLock struct {
	Path string
	LockState
}

// maxLocks bounds how many locks of a value Status looks at.
const maxLocks = 1000

// Status looks at the segment anew and says what it sees.
func (s *Observer) Status() (*Status, error) {
	if err := s.Refresh(); err != nil {
		return nil, err
	}
	st := &Status{Info: s.info, Linked: s.Linked(), OwnerSlot: -1}
	if h := s.head; h != nil && s.m != nil && s.m.Peers != nil {
		st.ID = fmt.Sprintf("%x", h.ID)
		st.CreatorPID, st.CreatorNS = int(h.CreatorPID), h.CreatorNS
		st.PayloadCap, st.ControlOff, st.ImageOff = int64(h.PayloadCap), int64(h.ControlOff), int64(h.ImageOff)
		st.PageSize, st.WordSize = int(h.PageSize), int(h.WordSize)
		if fault := s.m.Guard(func() { s.words(st) }); fault != nil {
			return nil, &shmem.Error{Op: "inspect", Name: s.info.Name, Err: &shmem.FaultError{Name: s.info.Path, Addr: fault.Addr, Err: fault.Err}}
		}
	}
	st.Fate = st.fate()
	return st, nil
}

func (s *Observer) words(st *Status) {
	p := s.m.Peers
	w := p.Words
	owner := format.OwnerOf(w.Owner.Load())
	st.Traffic = s.traffic()
	st.OwnerWord = owner.State.String()
	if owner.State == format.Owned {
		st.OwnerSlot = int(owner.ID.Slot())
	}
	st.SlotsHigh = p.High()
	seq := w.Seq.Load()
	st.Version, st.Changing = seq/2, seq&1 != 0
	st.ChangeWaiter = w.SeqArmed.Load()&1 != 0

	word := w.Lock.Load()
	st.Lock = LockState{Type: "box", State: "free", Waiters: word&format.WaitersBit != 0 || w.LockArmed.Load()&1 != 0}
	switch id := format.ID(word &^ format.WaitersBit); {
	case id == format.Dead:
		st.Lock.State, st.Lock.Dead = "dead: the next to take it recovers the value", true
	case id != format.Nobody:
		h := s.holder(id, "write")
		st.Lock.State, st.Lock.Dead, st.Lock.Holders = "locked", !h.Alive, []Holder{h}
	}

	type armed struct {
		off  int
		name string
	}
	objects := []armed{
		{mem.Offset(s.m, &w.LockArmed), "lock"}, {mem.Offset(s.m, &w.SeqArmed), "change"}, {mem.Offset(s.m, &w.ReadersArmed), "readers"},
	}
	if s.t != nil {
		v := Value{s.t, s.m.Payload(), 0, &Snapshot{s: s}}
		for path, l := range v.psync() {
			if len(st.Locks) == maxLocks {
				break
			}
			b := make([]byte, l.t.Size)
			s.m.LoadPart(b, l.off)
			state := Value{l.t, b, l.off, v.s}.lock()
			st.Locks = append(st.Locks, FieldLock{path, state})
			for _, o := range armedWords[l.t.Name] {
				objects = append(objects, armed{l.off + o, path})
			}
		}
	}
	var waited []armed
	for _, o := range objects {
		if a, err := mem.Control[atomic.Uint32](s.m, o.off&^3); err == nil && a.Load()&1 != 0 {
			waited = append(waited, o)
		}
	}
	for i := range p.Slots[:p.High()] {
		r := &p.Slots[i]
		id := format.MakeID(r.Gen.Load(), uint32(i))
		slot := Slot{
			Slot: i, Generation: int(id.Gen()), Alive: id.Gen() != 0 && p.Alive(id), PID: int(r.PID.Load()),
			PIDNamespace: r.PIDNS.Load(), Since: time.Unix(0, r.Started.Load()),
			ReadOnly: r.Flags.Load()&format.SlotReadOnly != 0, Owner: owner.State == format.Owned && owner.ID == id,
		}
		if format.ID(r.Reader.Load()) == id && id.Gen() != 0 {
			st.Readers = append(st.Readers, Holder{Slot: i, Generation: slot.Generation, PID: slot.PID, Count: 1, Alive: slot.Alive, What: "read"})
		}
		if slot.Alive {
			interest := r.Interest.Load()
			for _, o := range waited {
				if interest&(1<<bucketAt(o.off)) != 0 {
					slot.Waits = append(slot.Waits, o.name)
				}
			}
		}
		if slot.Alive || slot.PID != 0 {
			st.Slots = append(st.Slots, slot)
		}
	}
}

// bucketAt is the bucket of the object whose armed word is at an offset; see package internal/wait.
func bucketAt(off int) uint { return uint(uint32(off>>2) * 0x9E3779B1 >> 26) }

// armedWords is where the armed words of psync types stand.
var armedWords = map[string][]int{
	"psync.Mutex": {4}, "psync.RWMutex": {4, 8}, "psync.Cond": {4}, "psync.Event": {4}, "psync.Once": {4}, "psync.Semaphore": {4, 12},
}

// psync ranges over the locks in a value.
func (v Value) psync() func(func(string, Value) bool) {
	return func(yield func(string, Value) bool) { v.locks("", yield) }
}

func (v Value) locks(path string, yield func(string, Value) bool) bool {
	switch v.t.Kind {
	case format.Sync:
		return yield(path, v)
	case format.Struct:
		for _, f := range v.t.Fields {
			if !v.sub(f.Type, f.Offset).locks(join(path, f.Name), yield) {
				return false
			}
		}
	case format.Array:
		for range v.t.Elem.SyncSpans() { // an array without locks is passed over
			for i := range v.t.Len {
				if !v.sub(v.t.Elem, i*v.t.Elem.Size).locks(path+"["+itoa(i)+"]", yield) {
					return false
				}
			}
			break
		}
	}
	return true
}

// fate says what becomes of the segment.
func (st *Status) fate() string {
	n := len(st.Peers)
	undo := ""
	if st.Changing && st.ImageOff != 0 {
		undo = "; the change in hand is rolled back by the next who locks"
	}
	switch st.State {
	case shmem.Live:
		if !st.Linked {
			return "its name is gone: when the owner closes or dies, nobody can find it any more; the memory goes with the last process attached"
		}
		if n > 1 {
			return fmt.Sprintf("if the owner dies: the %s attached %s on, and the last one to leave drops the value and unlinks the name%s", others(n-1), goes(n-1), undo)
		}
		return "if the owner dies: it is garbage; the next Open starts afresh, and shmem gc takes it away" + undo
	case shmem.Orphaned:
		if n == 0 {
			return "its owner has died, and only readers without a slot are attached: it is garbage when they leave" + undo
		}
		if !st.Linked {
			return fmt.Sprintf("its owner has died and its name is gone; the last one of %d attached to leave drops the value, and the memory goes with it%s", n, undo)
		}
		return fmt.Sprintf("its owner has died; the last one of %d attached to leave drops the value and unlinks the name, unless somebody owns it%s", n, undo)
	case shmem.Kept:
		if !st.Linked {
			return "its name is gone and nobody owns it: the memory goes with the last process attached" + undo
		}
		return "nobody owns it: it stays until somebody owns it or removes it (shmem rm)" + undo
	case shmem.Garbage:
		if st.OwnerWord == "dropped" {
			return "its owner has dropped the value but was killed before the name was gone; the next Open starts afresh, shmem gc takes it away"
		}
		return "its owner has died and nobody is attached: the next Open starts afresh, shmem gc takes it away"
	case shmem.Foreign:
		return "another program's file: never unlinked by us, unless told to (shmem rm)"
	case shmem.Damaged:
		return "its bookkeeping cannot be trusted: nobody can attach, and only shmem rm takes it away"
	}
	return ""
}

func others(n int) string {
	if n == 1 {
		return "other one"
	}
	return fmt.Sprintf("%d others", n)
}

func goes(n int) string {
	if n == 1 {
		return "goes"
	}
	return "go"
}
