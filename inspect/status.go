package inspect

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// A Status is everything there is to know about a segment except its value.
//
// It is read word by word while other processes go on: two fields may come from slightly different
// moments.
type Status struct {
	shmem.Info
	Linked bool   // the name still leads to this segment
	Fate   string // in a sentence: what becomes of the segment when its owner or its users end

	// The rest describes the control block, and is zero where there is none.
	ID         string // random, in hex
	OwnerWord  string // "none", "owned", "kept", "dropped"
	OwnerSlot  int    // -1 if the segment is not owned
	CreatorPID int    // in the PID namespace CreatorNS
	CreatorNS  uint64 // inode of that namespace
	PayloadCap int64  // bytes for the value and its growth
	ControlOff int64  // offset of the control block in the file
	ImageOff   int64  // offset of the undo image; 0: a change cannot be undone when its writer dies
	SlotsHigh  int    // one more than the highest slot ever taken
	PageSize   int    // of the creator
	WordSize   int    // 4 or 8, of the creator
	Version    uint64 // of the value, as Box.Version
	Changing   bool   // a process is changing the value, or died while changing it

	Lock         LockState   // the box's own lock
	Readers      []Holder    // of the box's own lock
	ChangeWaiter bool        // a process waits for the value to change
	Locks        []FieldLock // the locks in the value: all that are not idle, at most 1000
	MoreLocks    int         // how many locks there are beside these
	// those in use, and those of dead processes that are not cleaned up yet
	Slots []Slot
	Stats *Stats // of a queue or topic; nil for other types
}

// A Slot is the record of an attachment.
type Slot struct {
	Slot, Generation int
	Alive            bool
	PID              int
	PIDNamespace     uint64 // inode of the namespace in which PID means something
	Since            time.Time
	ReadOnly         bool
	Passive          bool // see shmem.Options
	Owner            bool
	// what it may wait for: "lock", "readers", "change", the path of a psync field; at a queue or
	// topic "room" or "a message"
	Waits []string
}

// A FieldLock is a lock in the value.
type FieldLock struct {
	Path string
	LockState
}

// maxLocks bounds how many locks of a value Status lists, maxIdle how many of these may be idle,
// and maxSeen how many it reads.
const maxLocks, maxIdle, maxSeen = 1000, 500, 1 << 18

// Idle reports that no process holds the lock or waits for it, and that none died with it.
func (l LockState) Idle() bool { return len(l.Holders) == 0 && !l.Dead && !l.Waiters }

// Status refreshes the observer and returns what it sees. It takes no lock and does not wait. A
// file that another process truncated gives shmem.ErrFault.
func (o *Observer) Status() (*Status, error) {
	if err := o.Refresh(); err != nil {
		return nil, err
	}
	return o.status()
}

// Glance is Status without Refresh, for programs that look again and again: it costs a fifth of
// that. The part that is Info is as it was at the last Refresh or Status. Where Slots, OwnerWord or
// OwnerSlot have changed, State, Owner and Peers may have changed too.
func (o *Observer) Glance() (*Status, error) {
	if o.file == sys.NoFD {
		return nil, o.error("inspect glance", shmem.ErrClosed)
	}
	return o.status()
}

// status is Status with the info that there is.
func (o *Observer) status() (*Status, error) {
	st := &Status{Info: o.info, Linked: o.Linked(), OwnerSlot: -1}
	if o.head != nil && o.m != nil && o.m.Peers != nil {
		st.header(o.head)
		err := o.guarded("inspect status", func() error { o.controlBlock(st); return nil })
		if err != nil {
			return nil, err
		}
	}
	st.Fate = st.fate()
	return st, nil
}

// header fills in what never changes.
func (st *Status) header(h *format.Header) {
	st.ID = fmt.Sprintf("%x", h.ID)
	st.CreatorPID, st.CreatorNS = int(h.CreatorPID), h.CreatorNS
	st.PayloadCap, st.ControlOff, st.ImageOff = int64(h.PayloadCap), int64(h.ControlOff),
		int64(h.ImageOff)
	st.PageSize, st.WordSize = int(h.PageSize), int(h.WordSize)
}

// An armedWord is a word that waiters arm. It stands for what they wait for.
type armedWord struct {
	off  int    // in the file
	name string // as in Slot.Waits
}

// controlBlock fills in the words of the control block and the locks of the value.
func (o *Observer) controlBlock(st *Status) {
	w := o.m.Peers.Words
	owner := format.OwnerOf(w.Owner.Load())
	st.OwnerWord = owner.State.String()
	if owner.State == format.Owned {
		st.OwnerSlot = int(owner.ID.Slot())
	}
	st.SlotsHigh = o.m.Peers.SlotBound()
	seq := w.Seq.Load()
	st.Version, st.Changing = seq/2, seq&1 != 0
	st.ChangeWaiter = w.SeqArmed.Load()&1 != 0
	st.Lock = o.boxLock(w.Lock.Load(), w.LockArmed.Load())
	st.Stats = o.stats()

	waits := []armedWord{
		{mem.Offset(o.m, &w.LockArmed), "lock"},
		{mem.Offset(o.m, &w.SeqArmed), "change"},
		{mem.Offset(o.m, &w.ReadersArmed), "readers"},
	}
	if st.Stats != nil {
		waits = append(waits, o.streamWaits()...)
	}
	o.slots(st, owner, append(o.nowArmed(waits), o.fieldLocks(st)...))
}

// boxLock decodes the box's own lock. It differs from a psync.Mutex in what a death means: the next
// process that takes the lock recovers the value by itself.
func (o *Observer) boxLock(word, armed uint32) LockState {
	l := LockState{Type: "box", State: "free", Waiters: word&format.WaitersBit != 0 || armed&1 != 0}
	switch id := format.ID(word &^ format.WaitersBit); id {
	case format.NoID:
	case format.Dead:
		l.State, l.Dead = "dead: the next process that takes it recovers the value", true
	default:
		h := o.holder(id, "write")
		l.State, l.Dead, l.Holders = "locked", !h.Alive, []Holder{h}
	}
	return l
}

// fieldLocks reads the locks in the value into st.Locks, and returns those of their words that are
// armed.
func (o *Observer) fieldLocks(st *Status) (armed []armedWord) {
	if o.t == nil {
		return nil
	}
	live := Value{o.t, o.m.Payload(), 0, &Snapshot{o: o}}
	seen, idle := 0, 0
	for path, l := range live.psync() {
		if seen++; seen > maxSeen {
			break
		}
		b := make([]byte, l.t.Size)
		o.m.LoadPart(b, l.off)
		state := Value{l.t, b, l.off, l.s}.lock()
		for _, off := range layout.Armed(l.t.Name) {
			if off+4 <= len(b) && binary.NativeEndian.Uint32(b[off:])&1 != 0 {
				armed = append(armed, armedWord{l.off + off, path})
			}
		}
		if state.Idle() {
			idle++
		}
		if len(st.Locks) >= maxLocks || state.Idle() && idle > maxIdle {
			st.MoreLocks++
			continue
		}
		st.Locks = append(st.Locks, FieldLock{path, state})
	}
	return armed
}

// nowArmed returns the words of all that are armed at the moment.
func (o *Observer) nowArmed(all []armedWord) (armed []armedWord) {
	for _, a := range all {
		w, err := mem.Control[atomic.Uint32](o.m, a.off&^3)
		if err == nil && w.Load()&1 != 0 {
			armed = append(armed, a)
		}
	}
	return armed
}

// slots reads the records of all attachments into st.Slots and st.Readers.
func (o *Observer) slots(st *Status, owner format.Owner, armed []armedWord) {
	p := o.m.Peers
	for i := range p.SlotBound() {
		r := p.Slot(i)
		id := format.MakeID(r.Gen.Load(), uint32(i))
		slot := Slot{
			Slot: i, Generation: int(id.Gen()), Alive: id.Gen() != 0 && p.Alive(id),
			PID:          int(r.PID.Load()),
			PIDNamespace: r.PIDNS.Load(), Since: time.Unix(0, r.Started.Load()),
			ReadOnly: r.Flags.Load()&format.SlotReadOnly != 0,
			Passive:  r.Flags.Load()&format.SlotPassive != 0,
			Owner:    owner.State == format.Owned && owner.ID == id,
		}
		if format.ID(r.Reader.Load()) == id && id.Gen() != 0 {
			st.Readers = append(st.Readers, Holder{
				Slot: i, Generation: slot.Generation, PID: slot.PID, Count: 1, Alive: slot.Alive,
				What: "read",
			})
		}
		if slot.Alive {
			slot.Waits = waitsFor(r.Interest.Load(), armed)
		}
		if slot.Alive || slot.PID != 0 {
			st.Slots = append(st.Slots, slot)
		}
	}
}

// waitsFor returns the names of the armed words that a slot with these bits of interest may wait
// for. Objects share buckets: with many of them a name may be there by chance.
func waitsFor(interest uint64, armed []armedWord) (names []string) {
	for _, a := range armed {
		if interest&(1<<layout.Bucket(uintptr(a.off))) != 0 {
			names = append(names, a.name)
		}
	}
	return names
}

// psync ranges over the locks in a value, with their paths.
func (v Value) psync() iter.Seq2[string, Value] {
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
		if !hasLocks(v.t.Elem) { // a large array of numbers costs nothing
			return true
		}
		for i := range v.t.Len {
			if !v.sub(v.t.Elem, i*v.t.Elem.Size).locks(path+"["+strconv.Itoa(i)+"]", yield) {
				return false
			}
		}
	}
	return true
}

func hasLocks(t *format.Type) bool {
	for range t.SyncSpans() {
		return true
	}
	return false
}
