package ring

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// Extent says where the message of a slot lies. The holder of the gate writes it while the slot is
// free, so it is complete before the claim.
type Extent struct {
	Start atomic.Uint64 // only grows; the offset is Start modulo the number of bytes
	Size  atomic.Uint64 // bytes
}

// MPMCBytesHeader is the shared part of an MPMCBytes, without slots, extents and bytes. All zero is
// an empty ring.
type MPMCBytesHeader struct {
	MPMCHeader
	Gate atomic.Uint64 // id of the producer that is in measure; 0: none
	Low  atomic.Uint64 // no position before it is in use; used only under the gate
	_    [112]byte
}

// MPMCBytes is an MPMC whose messages have any length: each slot has an extent in a ring of bytes.
// The ring is full when slots or bytes run out.
//
// Claims pass a gate one at a time, for a few dozen instructions each. Under the gate a producer
// writes the extent, then claims the slot. If it dies before the claim nothing has happened. If it
// dies after the claim the slot names its holder, and the extent its length. The next producer
// computes all else again, so Repair only opens the gate of a dead producer. The bytes of a message
// are free when its slot is released or skipped.
type MPMCBytes struct {
	q       *MPMC
	h       *MPMCBytesHeader
	extents []Extent
	size    uint64
	passed  atomic.Uint64 // CanClaim has seen that no position before it is in use
}

// NewMPMCBytes returns a ring over the words, for size bytes, which the caller has. size is a
// multiple of 8, and there is one extent for each slot.
func NewMPMCBytes(h *MPMCBytesHeader, slots []atomic.Uint64, extents []Extent, size int) (
	*MPMCBytes, error,
) {
	if h == nil || len(extents) != len(slots) || size < 8 || size%8 != 0 {
		return nil, ErrShape
	}
	m, err := NewMPMC(&h.MPMCHeader, SideBySide(slots))
	if err != nil {
		return nil, err
	}
	return &MPMCBytes{q: m, h: h, extents: extents, size: uint64(size)}, nil
}

// Size returns the number of bytes, which is also the length of the largest message.
func (r *MPMCBytes) Size() int { return int(r.size) }

// round8 rounds n up to a multiple of 8.
func round8(n uint64) uint64 { return (n + 7) &^ 7 }

// extent loads and checks the extent of slot i.
func (r *MPMCBytes) extent(i uint64) (start, size uint64, err error) {
	start = access.Load("extent.start", &r.extents[i].Start)
	size = access.Load("extent.size", &r.extents[i].Size)
	if size > r.size || start%8 != 0 || start%r.size+size > r.size || start > 1<<63 {
		return 0, 0, ErrCorrupt
	}
	return start, size, nil
}

// Claim claims the next position, and n successive bytes at offset off, a multiple of 8. The caller
// goes on as with MPMC. Errors: ErrTooBig, when n bytes never fit; ErrFull, when they do not fit
// now; ErrBusy, when the gate is shut: try again, and call Repair if that lasts; ErrClosed;
// ErrCorrupt.
func (r *MPMCBytes) Claim(self uint32, n int) (pos uint64, off int, err error) {
	if n < 0 || uint64(n) > r.size {
		return 0, 0, ErrTooBig
	}
	if access.Load("claim.closed", &r.h.Closed) != 0 {
		return 0, 0, ErrClosed
	}
	if !r.shut(self) {
		return 0, 0, ErrBusy
	}
	pos, off, err = r.measure(self, uint64(n))
	access.CAS("gate.open", &r.h.Gate, uint64(self), 0)
	return pos, off, err
}

// shut takes the gate, and reports whether it did.
func (r *MPMCBytes) shut(self uint32) bool {
	for range 64 {
		if access.Load("gate.look", &r.h.Gate) == 0 &&
			access.CAS("gate.shut", &r.h.Gate, 0, uint64(self)) {
			return true
		}
	}
	return false
}

// measure claims a slot and size bytes, under the gate: no other caller claims slots meanwhile. All
// other changes go on.
func (r *MPMCBytes) measure(self uint32, size uint64) (pos uint64, off int, err error) {
	t, err := r.tail()
	if err != nil {
		return 0, 0, err
	}
	// Where the last message ends. A ring of one slot has no last message, and a producer that died
	// here may have overwritten half of its extent.
	stop := uint64(0)
	if t > 0 && r.q.n > 1 {
		i, _ := r.q.at(t - 1)
		start, size, err := r.extent(i)
		if err != nil {
			return 0, 0, err
		}
		stop = start + round8(size)
	}
	start := stop
	if off := stop % r.size; off+size > r.size {
		start += r.size - off
	}
	low := access.Load("low.load", &r.h.Low)
	if low > t || t-low > r.q.n {
		return 0, 0, ErrCorrupt
	}
	// Low is searched for again only if there is no room beyond the last one: the search takes
	// cache lines of slots from consumers. Until its slot is claimed again the extent of Low is
	// valid.
	fits := false
	if t-low < r.q.n {
		if fits, err = r.fits(low, t, stop, start+round8(size)); err != nil {
			return 0, 0, err
		}
	}
	if !fits {
		if fits, err = r.fits(r.low(low, t), t, stop, start+round8(size)); err != nil {
			return 0, 0, err
		}
	}
	if !fits {
		return 0, 0, ErrFull
	}
	i, lap := r.q.at(t)
	access.Store("extent.set.start", &r.extents[i].Start, start)
	access.Store("extent.set.size", &r.extents[i].Size, size)
	if !access.CAS("claim.slot", r.q.slot(i), uint64(plain(free, lap)),
		uint64(named(claimed, lap, self))) {
		return 0, 0, ErrBusy // closed meanwhile
	}
	if lap&cleanLaps == cleanLaps {
		r.q.cleanMarks(t, 1)
	}
	advance("claim.advance", &r.h.Tail, t, t+1)
	return t, int(start % r.size), nil
}

// tail returns the next free position. It is called under the gate.
func (r *MPMCBytes) tail() (uint64, error) {
	t := access.Load("claim.tail", &r.h.Tail)
	for range r.q.n + 1 {
		i, lap := r.q.at(t)
		w := word(access.Load("claim.look", r.q.slot(i)))
		switch d := w.ahead(lap); {
		case w == plain(free, lap):
			return t, nil
		case w == plain(end, lap):
			return 0, ErrClosed
		case d == 0 || d == 1: // the tail is behind
			advance("claim.help", &r.h.Tail, t, t+1)
			t++
		case d == -1 && w.state() != free && w.state() != end:
			return 0, ErrFull
		default:
			return 0, ErrCorrupt
		}
	}
	return 0, ErrCorrupt
}

// fits reports whether there is room up to end. low is the oldest position in use, and the last
// message before t ends at stop.
func (r *MPMCBytes) fits(low, t, stop, end uint64) (bool, error) {
	if low == t {
		return true, nil
	}
	i, _ := r.q.at(low)
	first, _, err := r.extent(i)
	if err != nil {
		return false, err
	}
	if first > stop || stop-first > r.size {
		return false, ErrCorrupt
	}
	return end-first <= r.size, nil
}

// low returns the oldest position in use, from was on, or t if there is none. It is called under
// the gate.
func (r *MPMCBytes) low(was, t uint64) uint64 {
	l := was
	for l < t {
		i, lap := r.q.at(l)
		if word(access.Load("low.look", r.q.slot(i))).ahead(lap) <= 0 {
			break
		}
		l++
	}
	if l != was {
		access.Store("low.store", &r.h.Low, l)
	}
	return l
}

// Publish is Publish of MPMC, and likewise the methods without a comment.
func (r *MPMCBytes) Publish(self uint32, pos uint64) error { return r.q.Publish(self, pos) }
func (r *MPMCBytes) PublishFence(self uint32, pos uint64) error {
	return r.q.PublishFence(self, pos)
}
func (r *MPMCBytes) ReleaseFence(self uint32, pos uint64) error {
	return r.q.ReleaseFence(self, pos)
}
func (r *MPMCBytes) Cancel(self uint32, pos uint64) error { return r.q.Cancel(self, pos) }
func (r *MPMCBytes) ReleaseAgain(self uint32, pos uint64) error {
	return r.q.ReleaseAgain(self, pos)
}
func (r *MPMCBytes) Return(self uint32, pos uint64, due int64) error {
	return r.q.Return(self, pos, due)
}
func (r *MPMCBytes) ReturnAgain(self uint32, pos uint64, due int64) error {
	return r.q.ReturnAgain(self, pos, due)
}
func (r *MPMCBytes) Retake(self uint32, now int64) (pos uint64, deliveries int, ok bool) {
	return r.q.Retake(self, now)
}
func (r *MPMCBytes) SetMarks(marks []atomic.Uint64) error     { return r.q.SetMarks(marks) }
func (r *MPMCBytes) Stamp(self uint32, pos uint64, now int64) { r.q.Stamp(self, pos, now) }
func (r *MPMCBytes) Index(pos uint64) int                     { return r.q.Index(pos) }
func (r *MPMCBytes) Close()                                   { r.q.Close() }
func (r *MPMCBytes) Closed() bool                             { return r.q.Closed() }
func (r *MPMCBytes) Len() int                                 { return r.q.Len() }
func (r *MPMCBytes) Cap() int                                 { return r.q.Cap() }
func (r *MPMCBytes) Stats() MPMCStats                         { return r.q.Stats() }
func (r *MPMCBytes) Oldest(stamps []atomic.Uint64) int64      { return r.q.Oldest(stamps) }
func (r *MPMCBytes) NoLease() bool                            { return r.q.NoLease() }
func (r *MPMCBytes) InTheWay(pos uint64) bool                 { return r.q.InTheWay(pos) }
func (r *MPMCBytes) Stuck() (producer, consumer uint32)       { return r.q.Stuck() }

// Take takes the oldest message, as Take of MPMC. Message returns where it is.
func (r *MPMCBytes) Take(self uint32) (pos uint64, err error) { return r.q.Take(self) }

// Message returns offset and length of the message at a position that the caller has taken. It
// returns ErrCorrupt if they are out of range; the caller releases the position in this case too.
func (r *MPMCBytes) Message(pos uint64) (off, size int, err error) {
	i, _ := r.q.at(pos)
	start, n, err := r.extent(i)
	if err != nil {
		return 0, 0, err
	}
	return int(start % r.size), int(n), nil
}

// Repair is Repair of MPMC, and also opens the gate of a dead producer.
func (r *MPMCBytes) Repair(alive func(id uint32) bool) (skips, returns int) {
	skips, returns, _ = r.Mend(Care{Alive: alive})
	return skips, returns
}

// Mend is Repair with times, as Mend of MPMC.
func (r *MPMCBytes) Mend(c Care) (skips, returns int, back bool) {
	if g := access.Load("gate.look", &r.h.Gate); g != 0 && (g > idMask || !c.Alive(uint32(g))) {
		access.CAS("gate.repair", &r.h.Gate, g, 0)
	}
	return r.q.Mend(c)
}
