package inspect

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// A LockState is the state of a lock of package psync, or of a box's own lock, at one moment.
type LockState struct {
	Type    string   // such as "psync.Mutex"; "box" for the box's own lock
	State   string   // in a few words: "free", "locked", "read", "set", "3 of 5 free"
	Holders []Holder // for an Event: the attachment that promised to set it
	Dead    bool     // a holder died without unlocking
	Waiters bool     // at least one goroutine waits
}

// A Holder is an attachment that holds a lock, a topic's publishers, or an end of a queue.
type Holder struct {
	Slot       int
	Generation int    // tells attachments apart that had the same slot one after the other
	PID        int    // in the holder's own PID namespace; 0 if unknown
	Count      int    // goroutines that read, or permits; 0 where there is nothing to count
	Alive      bool   // true also where it cannot be checked: without a segment
	What       string // "write", "read", "permits", "promise", "hold", "send", "receive"
}

// String returns the state with its holders, as "locked by pid 42 (slot 3), others wait".
func (l LockState) String() string {
	var b strings.Builder
	b.WriteString(l.State)
	for i, h := range l.Holders {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" by " + h.String())
	}
	if l.Waiters {
		b.WriteString(", others wait")
	}
	return b.String()
}

// String names the attachment by its process, or by its slot if the process is unknown.
func (h Holder) String() string {
	s := fmt.Sprintf("slot %d", h.Slot)
	if h.PID != 0 {
		s = fmt.Sprintf("pid %d (slot %d)", h.PID, h.Slot)
	}
	if h.Count > 1 {
		s += fmt.Sprintf(" ×%d", h.Count)
	}
	if !h.Alive {
		s += ", dead"
	}
	return s
}

// Lock returns the state of a lock of package psync. ok is false if v is not a lock.
func (v Value) Lock() (l LockState, ok bool) {
	if v.Kind() != Lock {
		return l, false
	}
	return v.lock(), true
}

// lock decodes the bytes of a psync type. A type that this version does not know is shown by its
// name and size.
func (v Value) lock() LockState {
	d := lockDecoder{b: v.b, LockState: LockState{Type: v.t.Name, State: "free"}}
	if v.s != nil {
		d.seg = v.s.o
	}
	for _, off := range layout.Armed(v.t.Name) {
		d.Waiters = d.Waiters || d.word(off)&1 != 0
	}
	switch v.t.Name {
	case "psync.Mutex":
		d.lockWord(layout.MutexWord, "locked")
	case "psync.RWMutex":
		d.rwmutex()
	case "psync.Once":
		d.once()
	case "psync.Event":
		d.event()
	case "psync.Cond":
		d.State = fmt.Sprintf("signalled %d times", d.word(layout.CondCount))
	case "psync.Semaphore":
		d.semaphore()
	default:
		d.State = fmt.Sprintf("%s, %d bytes", v.t.Name, len(v.b))
	}
	return d.LockState
}

// A lockDecoder turns the bytes of a lock into its LockState. The bytes are a copy of memory that
// other processes write, and may hold anything.
type lockDecoder struct {
	b   []byte
	seg *Observer // where the ids of holders mean something; nil if there is no segment
	LockState
}

// word returns the 4 bytes at off, or 0 behind the end of a value that is too short.
func (d *lockDecoder) word(off int) uint32 {
	if off+4 > len(d.b) {
		return 0
	}
	return binary.NativeEndian.Uint32(d.b[off:])
}

// long is word for 8 bytes.
func (d *lockDecoder) long(off int) uint64 {
	if off+8 > len(d.b) {
		return 0
	}
	return binary.NativeEndian.Uint64(d.b[off:])
}

// lockWord decodes a lock word; state is what a held lock is called.
func (d *lockDecoder) lockWord(off int, state string) {
	word := d.word(off)
	d.Waiters = d.Waiters || word&format.WaitersBit != 0
	switch id := format.ID(word &^ format.WaitersBit); id {
	case format.NoID:
	case format.Dead:
		d.State, d.Dead = "DEAD: its holder died; Recover repairs it", true
	default:
		d.State = state
		h := d.seg.holder(id, "write")
		d.Dead = d.Dead || !h.Alive
		d.Holders = append(d.Holders, h)
	}
}

// entries decodes a table of holders from offset off to the end, and returns the sum of their
// counts. The entry of a dead process does not count: the next caller that needs it clears it.
func (d *lockDecoder) entries(off int, what string) (sum int) {
	for ; off+layout.EntrySize <= len(d.b); off += layout.EntrySize {
		entry := binary.NativeEndian.Uint64(d.b[off:])
		if entry == 0 {
			continue
		}
		h := d.seg.holder(format.ID(entry>>32), what)
		if !h.Alive {
			continue
		}
		h.Count = int(uint32(entry) &^ layout.EntryFlag)
		sum += h.Count
		d.Holders = append(d.Holders, h)
	}
	return sum
}

func (d *lockDecoder) rwmutex() {
	d.lockWord(layout.RWMutexWord, "locked")
	if d.entries(layout.RWMutexMarks, "read") > 0 && d.State == "free" {
		d.State = "read"
	}
}

func (d *lockDecoder) once() {
	d.lockWord(layout.OnceWord, "running")
	if d.word(layout.OnceDone) != 0 {
		d.State = "done"
	} else if d.State == "free" {
		d.State = "not done"
	}
}

func (d *lockDecoder) event() {
	d.State = "not set"
	state := d.long(layout.EventState)
	if state>>32&1 != 0 {
		d.State = "set"
	}
	if id := format.ID(uint32(state)); id.Gen() != 0 {
		d.Holders = append(d.Holders, d.seg.holder(id, "promise"))
		d.State += ", promised"
	}
}

func (d *lockDecoder) semaphore() {
	limit := int(d.word(layout.SemaphoreLimit))
	held := d.entries(layout.SemaphoreHolds, "permits")
	d.State = fmt.Sprintf("%d of %d free", max(limit-held, 0), limit)
	if n := uint32(d.long(layout.SemaphoreReserved)); n != 0 {
		d.State += fmt.Sprintf(", %d reserved", n)
	}
	if len(d.Holders) > 0 {
		d.State += ", held"
	}
}

// holder returns what is known of an attachment. It may be called on a nil Observer, of which
// nothing is known.
func (o *Observer) holder(id format.ID, what string) Holder {
	h := Holder{Slot: int(id.Slot()), Generation: int(id.Gen()), Alive: true, What: what}
	if o == nil || o.m == nil || o.m.Peers == nil || !o.m.Pin() {
		return h
	}
	defer o.m.Unpin()
	_ = o.m.Guard(func() {
		h.Alive = o.m.Peers.Alive(id)
		if h.Slot < o.m.Peers.Len() {
			h.PID = int(o.m.Peers.Slot(h.Slot).PID.Load())
		}
	})
	return h
}
