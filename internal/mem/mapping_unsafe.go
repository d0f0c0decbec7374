// Package mem maps shared memory, gives typed views of it, finds the mapping of an address, and
// knows which other attachments are alive.
//
// It imports errs, sys and format, and holds the casts of the module. Its invariants: a view never
// leaves its mapping; memory is retired only when no call is in flight; and an address that a user
// may still have never belongs to another mapping. Other processes can change a mapping's memory at
// any time, so what is read from it is not trusted.
package mem

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/sys"
)

// ErrBounds is returned when a view would leave the mapping or be misaligned.
var ErrBounds = errors.New("outside the mapping")

// A Mapping is a part of a file in this process's memory. Its methods are safe for concurrent use.
// A caller that accesses the memory pins the mapping first, or knows that it cannot be retired yet.
type Mapping struct {
	base    unsafe.Pointer
	length  uintptr // mapped bytes, a multiple of the page size
	payload uintptr // bytes that typed views of the payload may reach, from delta on
	delta   uintptr // where the payload begins; not 0 if a foreign file's payload is not on a page
	write   bool    // the payload can be written
	name    string  // of the segment, for the texts of errors

	pins    atomic.Int64 // calls in flight; plus retiring while draining
	phase   atomic.Pointer[phase]
	exposed atomic.Bool // the user may have a pointer into the memory
	overlay *overlay    // race builds: the heap memory that the mapping lies over
	arena   bool        // the memory is part of the arena
	zeros   bool        // see Spec.Unpinned
	carved  uintptr     // bytes of the arena that it has

	// Peers.Self if locks can be taken: the payload can be written, and no Drain has begun
	lockID atomic.Uint32
	// HoldsLocks, if set, reports whether this attachment holds locks in the payload. It looks
	// until the deadline at most. DrainUnlocked calls it.
	HoldsLocks atomic.Pointer[func(deadline time.Time) bool]
	// Promised tells that this attachment has promised something that others wait for.
	Promised atomic.Bool
	// Peers is nil if there is no control block: in a foreign file.
	Peers *Peers
	// Waiters holds the waiters of this process at this mapping. Only internal/wait uses it.
	Waiters atomic.Pointer[any]
	// OnDrain, if set, is called when draining begins: it wakes threads that sleep in the kernel.
	OnDrain atomic.Pointer[func()]

	notes *notes.Notes
}

// A phase ends with Drain. A value that is dropped has a second phase, see Resume.
type phase struct {
	closing chan struct{} // closed when Drain begins
	idle    chan struct{} // closed when no call is in flight
	once    sync.Once
}

func newPhase() *phase { return &phase{closing: make(chan struct{}), idle: make(chan struct{})} }

// While the mapping drains, retiring is added to the pins, and Drain has a pin of its own until it
// returns: PinNested succeeds until then.
const (
	retiring = math.MinInt64 / 2
	drained  = retiring + 1 // no call is in flight, and Drain has its pin
)

// PinReads tells that memory must be pinned while it is read, whatever Spec.Unpinned says.
const PinReads = overlays || !sys.RetiresToZeros

// UnlockTime is how long DrainUnlocked waits for the holders of locks.
const UnlockTime = 100 * time.Millisecond

// A Spec says what to map.
type Spec struct {
	Name    string // of the segment, for the texts of errors
	File    sys.FD
	Offset  int64 // where the payload begins in the file
	Payload int   // its bytes
	Length  int   // bytes to map, with the control block; at least Payload
	Write   bool  // the payload can be written
	Control int   // where the control block begins; 0: there is none
	Slot    bool  // the control block can be written although the payload cannot
	Huge    bool  // lie so that huge pages are possible, see HugePages

	// Unpinned lets callers read the memory without a pin, unless PinReads: when it is retired it
	// reads as zero, and later only mappings that are as long and Unpinned too lie there. A caller
	// that has read asks Closed. If that is false it has read the memory of the mapping; else it
	// ignores what it has read.
	Unpinned bool

	Notes *notes.Notes // of what is done after deaths; nil: none
}

// Map maps a part of a file. The caller has checked that the file is long enough.
func Map(s Spec) (*Mapping, error) {
	page := uintptr(os.Getpagesize())
	delta := uintptr(s.Offset) & (page - 1)
	if s.Payload < 0 || s.Length < s.Payload || s.Length == 0 || s.Offset < 0 ||
		uintptr(s.Length) > math.MaxInt/2 {
		return nil, fmt.Errorf("%w: %d bytes at %d", ErrBounds, s.Length, s.Offset)
	}
	m := &Mapping{
		length:  roundUp(delta+uintptr(s.Length), page),
		payload: uintptr(s.Payload), delta: delta, write: s.Write,
		name: s.Name, notes: s.Notes, zeros: s.Unpinned && !PinReads,
	}
	m.phase.Store(newPhase())
	if err := m.place(s); err != nil {
		return nil, err
	}
	if s.Slot {
		if err := m.protect(s.Control); err != nil {
			m.unplace()
			return nil, err
		}
	}
	arena.register(m)
	return m, nil
}

// place maps the memory, over heap memory, in the arena or anywhere.
func (m *Mapping) place(s Spec) (err error) {
	write, off := s.Write || s.Slot, s.Offset-int64(m.delta)
	if overlays && m.length <= overlayMax && !(s.Slot && !s.Write) {
		if m.overlay, err = newOverlay(m.length, s.File, off, write); err == nil {
			m.base = m.overlay.base
			return nil
		}
	}
	align := uintptr(stepSize)
	if s.Huge && m.length >= hugeSize && off%hugeSize == 0 {
		align = hugeSize // a huge page is one in the file as well as in the address space
	}
	m.carved = roundUp(m.length, align)
	at := arena.carve(m.carved, align, m.zeros)
	m.arena = at != nil
	if at == nil && align == hugeSize {
		at, err = sys.Reserve(nil, m.carved+align, false)
		if err != nil {
			return err
		}
		at = unsafe.Add(at, roundUp(uintptr(at), align)-uintptr(at))
	}
	m.base, err = sys.Map(at, m.length, s.File, off, write)
	if err != nil && m.arena {
		arena.giveBack(at, m.carved, m.zeros)
	}
	return err
}

// protect makes the pages before the control block read-only, if the payload cannot be written.
func (m *Mapping) protect(control int) error {
	n := uintptr(control) &^ uintptr(os.Getpagesize()-1)
	if m.write || n == 0 {
		return nil
	}
	return sys.ProtectRead(m.base, n)
}

// unplace makes the memory fault, and frees its addresses unless they were exposed.
func (m *Mapping) unplace() {
	if m.overlay != nil {
		m.overlay.retire()
		return
	}
	// If Retire fails the pages stay mapped: a leak is better than other memory under an old
	// pointer.
	if err := sys.Retire(m.base, m.length, m.zeros); err != nil || !m.arena {
		return
	}
	switch {
	case !m.exposed.Load():
		arena.giveBack(m.base, m.carved, m.zeros)
	case !m.zeros:
		arena.keep(m.base, m.carved)
	}
}

// Pin keeps the memory in place until Unpin. It reports false once Drain has begun.
//
// A Pin that fails never changes the count: PinNested takes every count for a call in flight, and
// Drain waits for the last Unpin.
func (m *Mapping) Pin() bool {
	for {
		n := m.pins.Load()
		if n < 0 {
			return false
		}
		if m.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Unpin ends what Pin began.
func (m *Mapping) Unpin() {
	ph := m.phase.Load() // before the count is changed: after that the next phase may begin
	if m.pins.Add(-1) == drained {
		ph.once.Do(func() { close(ph.idle) })
	}
}

// Closing returns a channel that is closed when Drain begins. Calls that block must return then.
func (m *Mapping) Closing() <-chan struct{} { return m.phase.Load().closing }

// Closed reports whether Drain has begun.
func (m *Mapping) Closed() bool { return m.pins.Load() < 0 }

// Drain makes Pin fail, wakes calls that block, and waits until no call is in flight. Only one
// goroutine may call it at a time.
func (m *Mapping) Drain() {
	m.drain()
	m.endDrain()
}

// DrainUnlocked is Drain, and waits until this attachment holds no lock, at most for UnlockTime. A
// call that has locked may have returned the moment before, and its goroutine is about to unlock.
// Calls that unlock succeed until DrainUnlocked returns; calls that lock fail. It reports whether
// this attachment still holds a lock.
func (m *Mapping) DrainUnlocked() (holds bool) {
	m.drain()
	if f := m.HoldsLocks.Load(); f != nil && m.exposed.Load() {
		// In a truncated file it faults: then there is nothing to wait for.
		_ = m.Guard(func() { holds = waitUnlocked(*f) })
	}
	m.endDrain()
	return holds
}

// waitUnlocked reports whether locks are held at the end.
func waitUnlocked(holdsLocks func(deadline time.Time) bool) bool {
	nap, deadline := firstNap, time.Now().Add(UnlockTime)
	for holdsLocks(deadline) {
		if !time.Now().Before(deadline) {
			return true
		}
		time.Sleep(nap)
		nap = min(2*nap, lastNap)
	}
	return false
}

// Times between two looks of Drain at words that change without a ring.
const (
	firstNap = 10 * time.Microsecond
	lastNap  = 500 * time.Microsecond
)

// drain is Drain, except that PinNested still succeeds.
func (m *Mapping) drain() {
	ph := m.phase.Load()
	m.putLockID(format.NoID) // locks are not taken without a pin from now on
	if m.pins.Add(drained) == drained {
		ph.once.Do(func() { close(ph.idle) })
	}
	close(ph.closing)
	if f := m.OnDrain.Load(); f != nil {
		_ = m.Guard(*f) // in a truncated file it faults; sleepers wake by the backstop then
	}
	<-ph.idle
}

// endDrain makes PinNested fail, when the calls are over for which it has succeeded since drain.
func (m *Mapping) endDrain() {
	for nap := firstNap; !m.pins.CompareAndSwap(drained, retiring); nap = min(2*nap, lastNap) {
		time.Sleep(nap)
	}
}

// Resume makes Pin succeed again after Drain: the value's Drop may use the memory.
func (m *Mapping) Resume() {
	m.phase.Store(newPhase())
	m.pins.Add(-retiring)
	m.setLockID()
}

// Retire removes the memory, after Drain. An access to it faults from now on. After MarkExposed its
// addresses are never used again.
func (m *Mapping) Retire() {
	if m.Peers != nil {
		m.Peers.bells.close()
	}
	arena.unregister(m)
	m.unplace()
}

// Retired reports whether m stands for mappings that were retired, see Of.
func (m *Mapping) Retired() bool { return m.base == nil }

// Name returns the segment's name, for the texts of errors.
func (m *Mapping) Name() string { return m.name }

// Writable reports whether the payload can be written.
func (m *Mapping) Writable() bool { return m.write }

// Size returns the payload's size in bytes.
func (m *Mapping) Size() int { return int(m.payload) }

// Contains reports whether the address lies in the mapping.
func (m *Mapping) Contains(addr uintptr) bool {
	return addr-uintptr(m.base) < m.length
}

// MarkExposed records that the user may keep a pointer into the memory beyond Retire.
func (m *Mapping) MarkExposed() { m.exposed.Store(true) }

// Populate makes the payload's pages present, so that the first access costs no page fault.
func (m *Mapping) Populate() {
	page := uintptr(os.Getpagesize())
	n := roundUp(m.delta+m.payload, page)
	if sys.Populate(m.base, n, m.write) {
		return
	}
	// In a truncated file it faults: the first access finds that, too.
	_ = m.Guard(func() {
		for off := uintptr(0); off < n; off += page {
			loadWord(unsafe.Add(m.base, off))
		}
	})
}

// HugePages asks for huge pages, and makes the pages present. The kernel decides whether there are
// any.
func (m *Mapping) HugePages() { sys.HugePages(m.base, m.length) }

// Huge returns how many bytes of the mapping lie in huge pages in this process now. The mapping is
// pinned.
func (m *Mapping) Huge() (int64, error) { return sys.Huge(uintptr(m.base), m.length) }
