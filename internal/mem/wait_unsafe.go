package mem

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// This file is what waiting and locking need of a mapping.

// Join is Pin for a call that ends what another call in flight began: an Unlock inside Do. It
// succeeds also while Drain waits for that call.
func (m *Mapping) Join() bool {
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

// Sleep waits for the slot's bell to ring, at most for d, if bell is still what it says.
func (s *Slot) Sleep(bell uint32, d time.Duration) {
	sys.FutexWait((*uint32)(unsafe.Pointer(&s.Bell)), bell, d)
}

// Rouse wakes who sleeps on the slot's bell.
func (s *Slot) Rouse() { sys.FutexWake((*uint32)(unsafe.Pointer(&s.Bell)), 1) }

// FutexWait and FutexWake are the bare system calls on a word, for comparison in benchmarks.
func FutexWait(w *atomic.Uint32, val uint32, d time.Duration) {
	sys.FutexWait((*uint32)(unsafe.Pointer(w)), val, d)
}

// FutexWake wakes one sleeper of FutexWait.
func FutexWake(w *atomic.Uint32) { sys.FutexWake((*uint32)(unsafe.Pointer(w)), 1) }

// Address is where p points, as a number.
func Address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// A FileID names a file for as long as it is mapped.
type FileID struct{ Dev, Ino uint64 }

// FileID is the file of a mapping that has peers, else the mapping itself.
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

// Others reports whether somebody else is attached, by the slots' hints.
func (p *Peers) Others() bool {
	for i := range p.Slots[:p.High()] {
		if s := &p.Slots[i]; s.PID.Load() != 0 && i != int(p.Self.Slot()) {
			return true
		}
	}
	return false
}

// LockID is the id by which the attachment that p lies in takes locks at p, as a word: format.Local
// in ordinary memory, and 0 where there is more to be looked at, see Of.
func LockID[T any](p *T) uint32 { return arena.lockID(uintptr(unsafe.Pointer(p))) }

func (a *space) lockID(p uintptr) uint32 {
	if off := p - a.base.Load(); off < maxArena {
		if l := a.top[off>>(stepBits+leafBits)].Load(); l != nil {
			if m := l[off>>stepBits&(1<<leafBits-1)].Load(); m != nil {
				return m.lockID
			}
		}
		return 0
	}
	if a.others.Load() != nil {
		if m := a.findOther(p); m != nil {
			return m.lockID
		}
	}
	return uint32(format.Local)
}
