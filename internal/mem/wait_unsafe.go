package mem

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// This file has what waiting and locking need of a mapping.

// PinNested is Pin for a call that never blocks, such as Unlock, perhaps inside another call in
// flight. It succeeds until Drain returns.
func (m *Mapping) PinNested() bool {
	for {
		n := m.pins.Load()
		if n == retiring {
			return false
		}
		if m.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// UnpinOpen is Unpin that fails once Drain has begun: it reports false then, and the mapping stays
// pinned. It is for a call that has taken something which outlives it, such as a lock, and has to
// give it back if Close began during the call.
func (m *Mapping) UnpinOpen() bool {
	for {
		n := m.pins.Load()
		if n < 0 {
			return false
		}
		if m.pins.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// LockID returns the id by which this attachment takes locks in m. It returns format.NoID where it
// has no slot or cannot write, and once Drain has begun.
func (m *Mapping) LockID() format.ID { return format.ID(m.lockID.Load()) }

// Sleep sleeps while the slot's bell has the given value, at most for d. The slot is that of this
// attachment. It can return too early. It reports false where there is no doorbell to sleep on.
func (s *Slot) Sleep(bell uint32, d time.Duration) bool {
	if sys.HasFutex {
		sys.FutexWait((*uint32)(unsafe.Pointer(&s.Bell)), bell, d)
		return true
	}
	return bellsOf(s).wait(s, bell, d)
}

// Rouse wakes the thread or goroutine that sleeps on the slot's bell.
func (s *Slot) Rouse() {
	if sys.HasFutex {
		sys.FutexWake((*uint32)(unsafe.Pointer(&s.Bell)), 1)
		return
	}
	bellsOf(s).ring(s)
}

// SleepTakesThread tells that each goroutine in Sleep keeps a thread.
const SleepTakesThread = sys.HasFutex || sys.BellTakesThread

// MaxFutexes is the length of the longest Futexes.
const MaxFutexes = sys.MaxFutexes

// A Futexes is a list of words to sleep on, each with the value that it has. The words must not be
// on a stack.
type Futexes struct{ list []sys.Futex }

// Reset empties the list.
func (f *Futexes) Reset() { f.list = f.list[:0] }

// Add adds a word and its value.
func (f *Futexes) Add(w *atomic.Uint32, val uint32) {
	f.list = append(f.list, sys.NewFutex((*uint32)(unsafe.Pointer(w)), val))
}

// Sleep sleeps until one of the words is woken, or differs from its value. It can return too early.
// It returns the index of the word that was woken; -1: it is not known.
func (f *Futexes) Sleep() (int, error) { return sys.FutexWaitAny(f.list) }

// HaveFutexes reports whether the system can sleep on several words at once.
func HaveFutexes() bool { return sys.HaveFutexWaitAny() }

// FutexWait sleeps while w is val, at most for d.
func FutexWait(w *atomic.Uint32, val uint32, d time.Duration) {
	sys.FutexWait((*uint32)(unsafe.Pointer(w)), val, d)
}

// FutexWake wakes one sleeper on w.
func FutexWake(w *atomic.Uint32) { sys.FutexWake((*uint32)(unsafe.Pointer(w)), 1) }

// Address returns the address that p points to.
func Address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// A FileID identifies a file while it is mapped.
type FileID struct{ Dev, Ino uint64 }

// FileID identifies the file of a mapping that has peers. For others it identifies the mapping.
func (m *Mapping) FileID() FileID {
	if m.Peers == nil {
		return FileID{0, uint64(uintptr(m.base))}
	}
	p := m.Peers
	p.once.Do(func() {
		if s, err := p.file.Stat(); err == nil {
			p.id = FileID{s.Dev, s.Ino}
		} else {
			p.id = FileID{0, uint64(uintptr(m.base))}
		}
	})
	return p.id
}

// Others reports whether the slots' hints show another attachment.
func (p *Peers) Others() bool {
	for i := range p.SlotBound() {
		if s := p.Slot(i); s.PID.Load() != 0 && i != int(p.Self.Slot()) {
			return true
		}
	}
	return false
}

// LockID returns the id by which this attachment takes a lock at p, as a word: format.Local in
// ordinary memory. It returns 0 if the caller must look closer, see Of.
func LockID[T any](p *T) uint32 { return arena.lockID(uintptr(unsafe.Pointer(p))) }

// KnownLockID is LockID that returns 0 also where lockIDs has no id. It is inlined.
func KnownLockID[T any](p *T) uint32 {
	i := (uintptr(unsafe.Pointer(p)) - arena.base.Load()) >> stepBits
	if i < uintptr(len(lockIDs)) {
		return lockIDs[i].Load()
	}
	return 0
}

// lockIDs has the lockID of the mapping of each step in the first part of the arena. It is on the
// path of every lock, and saves three loads of which each needs the one before.
var lockIDs [1 << idBits]atomic.Uint32

// maxIDs is how many steps of a mapping have their ids there, from the first on.
const maxIDs = 64

// putLockID sets lockID, and lockIDs.
func (m *Mapping) putLockID(id format.ID) {
	m.lockID.Store(uint32(id))
	if !m.arena {
		return
	}
	i := (uintptr(m.base) - arena.base.Load()) >> stepBits
	for end := i + min(m.carved>>stepBits, maxIDs); i < min(end, uintptr(len(lockIDs))); i++ {
		lockIDs[i].Store(uint32(id))
	}
}

// lockID is find and the mapping's lockID in one.
func (a *space) lockID(p uintptr) uint32 {
	if off := p - a.base.Load(); off < maxArena {
		if l := a.top[off>>(stepBits+leafBits)].Load(); l != nil {
			if m := l[off>>stepBits&(1<<leafBits-1)].Load(); m != nil {
				return m.lockID.Load()
			}
		}
		return 0
	}
	if a.others.Load() != nil {
		if m := a.findOther(p); m != nil {
			return m.lockID.Load()
		}
	}
	return uint32(format.Local)
}
