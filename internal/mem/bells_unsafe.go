package mem

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// bells are the doorbells of the attachments to a segment, where a doorbell is no futex word. Each
// generation of a slot has a bell of its own. All methods work on nil: then there is none.
type bells struct {
	names []atomic.Pointer[bellName]
	rings atomic.Pointer[sys.Ringer] // nil until the first ring

	mu     sync.Mutex
	own    *sys.Bell // of this attachment; guarded by mu
	closed bool      // guarded by mu
}

// A bellName is the name of the bell of a generation.
type bellName struct {
	gen  uint32
	name string
}

func newBells(slots int) *bells {
	return &bells{names: make([]atomic.Pointer[bellName], slots)}
}

// bellsOf returns the bells of the segment that the slot belongs to, nil if there are none.
func bellsOf(s *Slot) *bells {
	m := Of(s)
	if m == nil || m.Peers == nil {
		return nil
	}
	return m.Peers.bells
}

// name returns the name of the slot's bell.
func (b *bells) name(s *Slot) string {
	m := Of(s)
	p := m.Peers
	first := uintptr(unsafe.Pointer(unsafe.SliceData(p.slots)))
	i := p.Len() - 1 - int((uintptr(unsafe.Pointer(s))-first)/unsafe.Sizeof(*s))
	gen := s.Gen.Load() & format.GenMask
	if n := b.names[i].Load(); n != nil && n.gen == gen {
		return n.name
	}
	file := m.FileID()
	name := sys.BellName(sys.Stat{Dev: file.Dev, Ino: file.Ino}, i, gen)
	b.names[i].Store(&bellName{gen, name})
	return name
}

// wait waits for a ring of this attachment's bell, which it makes at the first call, while the
// word of the bell has the given value.
func (b *bells) wait(s *Slot, bell uint32, d time.Duration) bool {
	if b == nil {
		return false
	}
	own := b.open(s)
	if own == nil {
		return false
	}
	// A ring that came before the bell was made is lost: it has changed the word.
	return s.Bell.Load() != bell || own.Wait(d)
}

// open returns this attachment's bell, nil if there can be none.
func (b *bells) open(s *Slot) *sys.Bell {
	name := b.name(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.own == nil && !b.closed {
		b.own, _ = sys.OpenBell(name)
	}
	return b.own
}

// ring rings the bell of an attachment.
func (b *bells) ring(s *Slot) {
	if b == nil {
		return
	}
	if r := b.ringer(); r != nil {
		r.Ring(b.name(s))
	}
}

// ringer returns what rings the bells, nil if there can be none.
func (b *bells) ringer() *sys.Ringer {
	if r := b.rings.Load(); r != nil {
		return r
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rings.Load(); r != nil || b.closed {
		return r
	}
	r, err := sys.OpenRinger()
	if err != nil {
		return nil
	}
	b.rings.Store(r)
	return r
}

// close removes this attachment's bell for good. No call is in flight.
func (b *bells) close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.own != nil {
		b.own.Close()
		b.own = nil
	}
	if r := b.rings.Swap(nil); r != nil {
		r.Close()
	}
}
