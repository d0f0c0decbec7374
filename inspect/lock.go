package inspect

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/shmembox/shmem/internal/format"
)

// A LockState is what can be seen of a lock of package psync.
type LockState struct {
	Type    string   // as "psync.Mutex"
	State   string   // in a word or two: free, locked, read, set, 3 of 5 free
	Holders []Holder // who has it; for an Event who has promised to set it
	Dead    bool     // a holder has died with it
	Waiters bool     // somebody waits
}

// A Holder is an attachment that holds a lock.
type Holder struct {
	Slot       int
	Generation int
	PID        int    // 0 if unknown
	Count      int    // how often, or how many permits
	Alive      bool   // as far as is known
	What       string // "write", "read", "permits", "promise"
}

// String is the state in words.
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

// String names the attachment: its process, or its slot where that is not known.
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

// Lock is the state of a lock of package psync; ok is false for other values.
func (v Value) Lock() (l LockState, ok bool) {
	if v.Kind() != Lock {
		return l, false
	}
	return v.lock(), true
}

func (v Value) word(off int) uint32 {
	if off+4 > len(v.b) {
		return 0
	}
	return binary.NativeEndian.Uint32(v.b[off:])
}

func (v Value) lock() LockState {
	l := LockState{Type: v.t.Name, State: "free"}
	var seg *Observer
	if v.s != nil {
		seg = v.s.s
	}
	held := func(word uint32, state, what string) {
		id := format.ID(word &^ format.WaitersBit)
		l.Waiters = l.Waiters || word&format.WaitersBit != 0
		switch {
		case id == format.Nobody:
		case id == format.Dead:
			l.State, l.Dead = "DEAD: its holder died; Recover repairs it", true
		default:
			l.State = state
			h := seg.holder(id, what)
			l.Dead = l.Dead || !h.Alive
			l.Holders = append(l.Holders, h)
		}
	}
	marks := func(from int, what string) (n int) {
		for off := from; off+8 <= len(v.b); off += 8 {
			w := binary.NativeEndian.Uint64(v.b[off:])
			if w == 0 {
				continue
			}
			h := seg.holder(format.ID(w>>32), what)
			h.Count = int(w &^ format.WaitersBit & (1<<32 - 1))
			if !h.Alive {
				continue // a dead one's mark does not count
			}
			n += h.Count
			l.Holders = append(l.Holders, h)
		}
		return n
	}
	switch v.t.Name {
	case "psync.Mutex":
		held(v.word(0), "locked", "write")
		l.Waiters = l.Waiters || v.word(4)&1 != 0
	case "psync.RWMutex":
		held(v.word(0), "locked", "write")
		if marks(16, "read") > 0 && l.State == "free" {
			l.State = "read"
		}
		l.Waiters = l.Waiters || v.word(4)&1 != 0 || v.word(8)&1 != 0
	case "psync.Once":
		held(v.word(0), "running", "write")
		if v.word(8) != 0 {
			l.State = "done"
		} else if l.State == "free" {
			l.State = "not done"
		}
	case "psync.Event":
		l.State = "not set"
		if v.word(0)&1 != 0 {
			l.State = "set"
		}
		l.Waiters = v.word(4)&1 != 0
		if id := format.ID(v.word(8)); id.Gen() != 0 {
			h := seg.holder(id, "promise")
			l.Holders = append(l.Holders, h)
			l.State += ", promised"
		}
	case "psync.Cond":
		l.State = fmt.Sprintf("signalled %d times", v.word(0))
		l.Waiters = v.word(4)&1 != 0
	case "psync.Semaphore":
		limit := int(v.word(8))
		l.State = fmt.Sprintf("%d of %d free", max(limit-marks(16, "permits"), 0), limit)
		for range l.Holders {
			l.State = strings.TrimSuffix(l.State, ", held") + ", held"
		}
		l.Waiters = v.word(12)&1 != 0
	default:
		l.State = fmt.Sprintf("%s, %d bytes", v.t.Name, len(v.b))
	}
	return l
}

// holder says what is known of an attachment. Without a segment nothing is.
func (s *Observer) holder(id format.ID, what string) Holder {
	h := Holder{Slot: int(id.Slot()), Generation: int(id.Gen()), Alive: true, What: what}
	if s == nil || s.m == nil || s.m.Peers == nil || !s.m.Pin() {
		return h
	}
	defer s.m.Unpin()
	_ = s.m.Guard(func() {
		h.Alive = s.m.Peers.Alive(id)
		if h.Slot < len(s.m.Peers.Slots) {
			h.PID = int(s.m.Peers.Slots[h.Slot].PID.Load())
		}
	})
	return h
}
