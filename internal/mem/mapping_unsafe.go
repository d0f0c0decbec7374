// Package mem is a mapping of shared memory: how it is made and taken away, the typed views of it,
// the way from an address back to it, and who else is attached.
//
// It is the home of casts. A mapping's memory can change at any time; what is read from it is untrusted.
package mem

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
)

// ErrBounds is the error of a view that would leave the mapping or be misaligned.
var ErrBounds = errors.New("outside the mapping")

// A Mapping is a part of a file in this process's memory. Its methods are safe for concurrent use.
//
// Whoever touches its memory pins it first, or knows that it cannot be retired yet.
type Mapping struct {
	base    unsafe.Pointer
	length  uintptr // mapped bytes, a multiple of the page size
	payload uintptr // bytes that typed views of the payload may reach, from delta on
	delta   uintptr // where the payload begins: not 0 in a foreign file at an offset that is no page's
	write   bool
	name    string // of the segment, for the texts of errors

	pins    atomic.Int64 // calls in flight, and retiring
	phase   atomic.Pointer[phase]
	handed  atomic.Bool // a pointer into the memory was handed out
	overlay *overlay    // race builds: the heap memory underneath
	arena   bool

	lockID uint32 // of Peers, where the payload can be written, else 0
	// Peers is nil where there is no control block: a foreign file.
	Peers *Peers
	// Waiters holds the waiters of this process at this mapping. Only internal/wait uses it.
	Waiters atomic.Pointer[any]
	// OnDrain, if set, is called when draining begins: it wakes threads that sleep in the kernel.
	OnDrain atomic.Pointer[func()]
}

// A phase ends with Drain. There is a second one where the value is dropped.
type phase struct {
	closing chan struct{} // closed when draining begins
	idle    chan struct{} // closed when no call is in flight any more
	once    sync.Once
}

func newPhase() *phase { return &phase{closing: make(chan struct{}), idle: make(chan struct{})} }

const retiring = math.MinInt64 / 2

// Spec says what to map.
type Spec struct {
	Name    string // of the segment, for the texts of errors
	File    sys.FD
	Offset  int64 // where the payload begins in the file
	Payload int   // its bytes
	Length  int   // bytes to map from the payload's beginning, control block included; at least Payload
	Write   bool  // the payload can be written
	Control int   // where the control block begins, 0 if there is none; it can always be written with Write or Slot
	Slot    bool  // the control block is writable although the payload is not
	Huge    bool
}

// Map maps a file. The caller has checked that the file is that long.
func Map(s Spec) (*Mapping, error) {
	page := uintptr(os.Getpagesize())
	delta := uintptr(s.Offset) & (page - 1)
	if s.Payload < 0 || s.Length < s.Payload || s.Length == 0 || s.Offset < 0 || uintptr(s.Length) > math.MaxInt/2 {
		return nil, fmt.Errorf("%w: %d bytes at %d", ErrBounds, s.Length, s.Offset)
	}
	m := &Mapping{
		length:  roundUp(delta+uintptr(s.Length), page),
		payload: uintptr(s.Payload), delta: delta, write: s.Write,
		name: s.Name,
	}
	m.phase.Store(newPhase())
	if err := m.place(s); err != nil {
		return nil, err
	}
	if s.Slot && !s.Write {
		if n := uintptr(s.Control) &^ (page - 1); n > 0 {
			if err := sys.ProtectRead(m.base, n); err != nil {
				m.unplace()
				return nil, err
			}
		}
	}
	if s.Huge {
		sys.HugePages(m.base, m.length)
	}
	arena.register(m)
	return m, nil
}

func (m *Mapping) place(s Spec) (err error) {
	write, off := s.Write || s.Slot, s.Offset-int64(m.delta)
	if overlays && m.length <= overlayMax && !(s.Slot && !s.Write) {
		if m.overlay, err = newOverlay(m.length, s.File, off, write); err == nil {
			m.base = m.overlay.base
			return nil
		}
	}
	at := arena.carve(m.length)
	m.arena = at != nil
	m.base, err = sys.Map(at, m.length, s.File, off, write)
	if err != nil && m.arena {
		arena.giveBack(at, m.length)
	}
	return err
}

func (m *Mapping) unplace() {
	if m.overlay != nil {
		m.overlay.retire()
		return
	}
	// Where even that fails the pages stay mapped: a leak, never a stranger's memory under an old pointer.
	if err := sys.Retire(m.base, m.length); err == nil && m.arena && !m.handed.Load() {
		arena.giveBack(m.base, m.length)
	}
}

// Pin keeps the mapping in place until Unpin. It reports false once retiring has begun.
//
// A refused one does not count, not even for a moment: Join takes any count for a call in flight,
// and the last Unpin of a phase must be one that Drain waits for.
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
	ph := m.phase.Load() // before the count: the next phase may begin after it
	if m.pins.Add(-1) == retiring {
		ph.once.Do(func() { close(ph.idle) })
	}
}

// Closing is closed when draining begins: calls that block must return.
func (m *Mapping) Closing() <-chan struct{} { return m.phase.Load().closing }

// Closed reports whether draining has begun.
func (m *Mapping) Closed() bool { return m.pins.Load() < 0 }

// Drain refuses further calls, wakes those that block and waits until none is in flight.
// One caller at a time.
func (m *Mapping) Drain() {
	ph := m.phase.Load()
	if n := m.pins.Add(retiring) - retiring; n == 0 {
		ph.once.Do(func() { close(ph.idle) })
	}
	close(ph.closing)
	if f := m.OnDrain.Load(); f != nil {
		_ = m.Guard(*f) // where somebody truncated the file, sleepers see for themselves
	}
	<-ph.idle
}

// Resume admits calls again after Drain: the value's Drop may use what lives in the memory.
func (m *Mapping) Resume() {
	m.phase.Store(newPhase())
	m.pins.Add(-retiring)
}

// Retire takes the memory away for good, after Drain. A pointer into it faults from now on; where
// one was handed out the address space is never used again.
func (m *Mapping) Retire() {
	arena.unregister(m)
	m.unplace()
}

// Retired reports whether m stands for mappings that were retired, see Of.
func (m *Mapping) Retired() bool { return m.base == nil }

// Name returns the segment's name, for the texts of errors.
func (m *Mapping) Name() string { return m.name }

// Writable reports whether the payload can be written.
func (m *Mapping) Writable() bool { return m.write }

// Size is the payload's size in bytes.
func (m *Mapping) Size() int { return int(m.payload) }

// Contains reports whether the address lies in the mapping.
func (m *Mapping) Contains(addr uintptr) bool {
	return addr-uintptr(m.base) < m.length
}

// HandOut says that a pointer into the mapping may outlive it.
func (m *Mapping) HandOut() { m.handed.Store(true) }

// Populate makes the payload's pages present.
func (m *Mapping) Populate() {
	sys.Populate(m.base, roundUp(m.delta+m.payload, uintptr(os.Getpagesize())), m.write)
}
