package robust

import (
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// WatchHeld lets the end of the mapping wait for the goroutines that hold locks of package psync in
// the payload, see [mem.Mapping.DrainUnlocked]. t is the type of the payload as this process sees
// it: fields that a longer type appends behind it are out of the process's reach. Where the payload
// has no type the mapping ends without waiting.
//
// Permits of a Semaphore do not count, since its holders may keep them until the end: permits of an
// attachment that is gone are free.
func WatchHeld(m *mem.Mapping, t *format.Type) {
	if m.LockID() == format.NoID {
		return // it takes no locks
	}
	f := func(deadline time.Time) bool {
		s := scan{m: m, me: m.Peers.Self, deadline: deadline}
		return hasLocks(t) && s.held(t, 0)
	}
	m.HoldsLocks.Store(&f)
}

// hasLocks reports whether there are locks in a value of type t that an attachment can hold while
// no call is in flight.
func hasLocks(t *format.Type) bool {
	switch t.Kind {
	case format.Array:
		return hasLocks(t.Elem)
	case format.Struct:
		for _, f := range t.Fields {
			if hasLocks(f.Type) {
				return true
			}
		}
	case format.Sync:
		return t.Name == "psync.Mutex" || t.Name == "psync.RWMutex"
	}
	return false
}

// A scan looks for locks that an attachment holds. The mapping is pinned.
type scan struct {
	m        *mem.Mapping
	me       format.ID
	deadline time.Time
	looked   int  // at so many locks
	late     bool // the deadline has passed
}

// held reports whether the attachment holds a lock in the value of type t at off. Arrays of locks
// can be long, so it gives up at the deadline.
func (s *scan) held(t *format.Type, off int) bool {
	switch t.Kind {
	case format.Array:
		if !hasLocks(t.Elem) {
			return false
		}
		for i := range t.Len {
			if s.late {
				return false
			}
			if s.held(t.Elem, off+i*t.Elem.Size) {
				return true
			}
		}
	case format.Struct:
		for _, f := range t.Fields {
			if s.held(f.Type, off+f.Offset) {
				return true
			}
		}
	case format.Sync:
		return s.lock(t.Name, off)
	}
	return false
}

// lock is held for a type of package psync.
func (s *scan) lock(name string, off int) bool {
	if s.looked++; s.looked%1024 == 0 && time.Now().After(s.deadline) {
		s.late = true
	}
	switch name {
	case "psync.Mutex":
		return s.word(off + layout.MutexWord)
	case "psync.RWMutex":
		return s.word(off+layout.RWMutexWord) ||
			s.entry(off+layout.RWMutexMarks, layout.RWMutexReaders)
	}
	return false
}

// word reports whether the attachment holds the lock word at off.
func (s *scan) word(off int) bool {
	w, err := mem.At[atomic.Uint32](s.m, off)
	return err == nil && holderOf(w.Load()) == s.me
}

// entry reports whether one of the n entries at off is the attachment's.
func (s *scan) entry(off, n int) bool {
	for i := range n {
		e, err := mem.At[atomic.Uint64](s.m, off+i*layout.EntrySize)
		if err == nil && format.ID(e.Load()>>32) == s.me {
			return true
		}
	}
	return false
}
