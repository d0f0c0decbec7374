package ring

import (
	"math"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// BroadcastBytesHeader is the shared part of a Broadcast whose messages have any length, without
// slots, extents, holds and bytes. All zero is an empty ring.
type BroadcastBytesHeader struct {
	BroadcastHeader
	Gate atomic.Uint64 // id of the publisher that is in measure; 0: none
	Low  atomic.Uint64 // no message before it is being written; used only under the gate
	_    [112]byte

	Reserved atomic.Uint64 // where the next message begins at the earliest; only grows
	_        [120]byte
}

// A data is what a Broadcast has whose messages have any length: each slot has an extent in a ring
// of bytes, which the caller has. A message is lost when its slot or its bytes are used again.
//
// Claims pass a gate one at a time, for a few dozen instructions each. Under the gate a publisher
//
//  1. finds the slot, and checks that the new bytes overwrite no message that a hold protects, and
//     none that another publisher is writing;
//  2. sets Reserved to the end of the new bytes: older messages that have some of them are lost
//     from now on;
//  3. claims the slot;
//  4. writes the extent, and opens the gate.
//
// If it dies before step 3, some bytes stay unused until publishers come round to them. If it dies
// after step 3, Repair makes the slot skipped before it opens the gate. So all extents of claimed
// slots are complete where the gate is open. That of a skipped slot may be an old one, or half.
//
// A reader copies the bytes of a ready slot. Then it checks that the slot is still the same, so the
// extent was right, and that Reserved is at most one round ahead of the extent, so the bytes were
// not overwritten.
type data struct {
	r       *Broadcast
	h       *BroadcastBytesHeader
	extents []Extent
	size    uint64
}

// NewBroadcastBytes returns a ring over the words, for size bytes. size is a multiple of 8, and
// there is one extent for each slot. Publishers call ClaimBytes in place of Claim, and readers
// NextBytes, NewestBytes and DoneBytes in place of Next, Newest and Done.
func NewBroadcastBytes(
	h *BroadcastBytesHeader, slots []atomic.Uint64, extents []Extent, holds []Hold, size int,
) (*Broadcast, error) {
	if h == nil || len(extents) != len(slots) || size < 8 || size%8 != 0 {
		return nil, ErrShape
	}
	r, err := NewBroadcast(&h.BroadcastHeader, slots, holds)
	if err != nil {
		return nil, err
	}
	r.data = &data{r: r, h: h, extents: extents, size: uint64(size)}
	return r, nil
}

// Size returns the number of bytes, which is also the length of the largest message; 0 in a ring
// whose messages have one size.
func (r *Broadcast) Size() int {
	if r.data == nil {
		return 0
	}
	return int(r.data.size)
}

// Writing returns the publisher that may keep others from its bytes, 0 if there is none.
func (r *Broadcast) Writing() uint32 { return r.Holder(r.data.h.Low.Load()) }

// intact reports whether the bytes from start on have not been reserved again.
func (d *data) intact(start uint64) bool {
	return access.Load("read.reserved", &d.h.Reserved)-start <= d.size
}

// start returns where the message of a position begins.
func (d *data) start(pos uint64) uint64 {
	return access.Load("extent.start", &d.extents[d.r.Index(pos)].Start)
}

// extent returns where the message of a position is, which was ready. It returns ErrLapped if it
// was overwritten since then, and ErrCorrupt for a message that cannot be.
func (d *data) extent(pos uint64) (start, size uint64, err error) {
	e := &d.extents[d.r.Index(pos)]
	start = access.Load("extent.start", &e.Start)
	size = access.Load("extent.size", &e.Size)
	whole := start%8 == 0 && size <= d.size && start%d.size+size <= d.size
	switch {
	case whole && d.intact(start):
		return start, size, nil
	case whole || !d.r.Valid(pos):
		return 0, 0, ErrLapped
	}
	return 0, 0, ErrCorrupt
}

// kept reports whether the message of a position, which was ready, still has its bytes.
func (d *data) kept(pos uint64) bool { return d.intact(d.start(pos)) }

// oldest returns the lowest position from low on from which every message up to now still has its
// bytes.
func (d *data) oldest(low, now uint64) uint64 {
	for p := now; p > low; p-- {
		i, lap := d.r.at(p - 1)
		w := word(access.Load("oldest.look", &d.r.slots[i]))
		if w.ahead(lap) != 0 || w.state() == ready && !d.kept(p-1) {
			return p
		}
	}
	return low
}

// ClaimBytes claims the next position, and n successive bytes at offset off, a multiple of 8. The
// caller goes on as with Claim. Errors: ErrTooBig, when n bytes never fit; ErrFull, when a hold is
// in the way; ErrHeld, when another publisher has not finished a message that is in the way;
// ErrBusy, when the gate is shut: try again, and call Repair if that lasts; ErrClosed; ErrCorrupt.
func (p *Publisher) ClaimBytes(n int) (pos uint64, off int, err error) {
	d := p.r.data
	if n < 0 || uint64(n) > d.size {
		return 0, 0, ErrTooBig
	}
	if access.Load("pub.closed", &d.h.Closed) != 0 {
		return 0, 0, ErrClosed
	}
	if !d.shut(p.self) {
		return 0, 0, ErrBusy
	}
	pos, off, err = p.measure(uint64(n))
	access.CAS("gate.open", &d.h.Gate, uint64(p.self), 0)
	return pos, off, err
}

// shut takes the gate, and reports whether it did.
func (d *data) shut(self uint32) bool {
	for range 64 {
		if access.Load("gate.look", &d.h.Gate) == 0 &&
			access.CAS("gate.shut", &d.h.Gate, 0, uint64(self)) {
			return true
		}
	}
	return false
}

// measure claims a slot and size bytes, under the gate: no other caller claims meanwhile.
func (p *Publisher) measure(size uint64) (pos uint64, off int, err error) {
	r, d := p.r, p.r.data
	t, was, err := d.tail()
	if err != nil {
		return 0, 0, err
	}
	start, end, err := d.next(size)
	if err != nil {
		return 0, 0, err
	}
	if t >= p.limit && !p.room(t) || end > p.limitBytes && !p.roomBytes(t, start, end) {
		return 0, 0, ErrFull
	}
	if !d.written(t, end) {
		return 0, 0, ErrHeld
	}
	access.Release("measure.reserve", &d.h.Reserved, end)
	i, lap := r.at(t)
	if !access.CAS("pub.slot", &r.slots[i], uint64(was), uint64(named(claimed, lap, p.self))) {
		return 0, 0, ErrBusy // only a process that writes nonsense changes it
	}
	access.Load("pub.fence", &r.slots[i]) // see Claim
	access.Release("extent.set.start", &d.extents[i].Start, start)
	access.Release("extent.set.size", &d.extents[i].Size, size)
	advance("pub.advance", &r.h.Tail, t, t+1)
	return t, int(start % d.size), nil
}

// tail returns the next position and the word of its slot.
func (d *data) tail() (t uint64, w word, err error) {
	r := d.r
	t = access.Load("pub.tail", &r.h.Tail)
	for range r.n + 1 {
		i, lap := r.at(t)
		w = word(access.Load("pub.look", &r.slots[i]))
		behind, s := w.ahead(lap), w.state()
		switch {
		case w == 0 && lap == 0, behind == -1 && (s == ready || s == skipped):
			return t, w, nil
		case behind == 0 && (s == ready || s == skipped || s == claimed): // the tail is behind
			advance("pub.help", &r.h.Tail, t, t+1)
			t++
		case behind == -1 && s == claimed:
			return 0, 0, ErrHeld
		default:
			return 0, 0, ErrCorrupt
		}
	}
	return 0, 0, ErrCorrupt
}

// next returns where a message of size bytes begins and ends. A message lies in one piece.
func (d *data) next(size uint64) (start, end uint64, err error) {
	start = access.Load("measure.reserved", &d.h.Reserved)
	if start%8 != 0 || start > 1<<62 {
		return 0, 0, ErrCorrupt
	}
	if off := start % d.size; off+size > d.size {
		start += d.size - off
	}
	return start, start + round8(size), nil
}

// roomBytes finds limitBytes anew, and reports whether the bytes up to end are within it. t is the
// next position, for which there is room, and start is where its message begins. It is to bytes
// what room is to slots.
func (p *Publisher) roomBytes(t, start, end uint64) bool {
	r, d := p.r, p.r.data
	least := before(p.limit, r.n) // no hold is at a position before it
	low := max(p.rest, least)
	if c, ok := r.cursor(p.slow); ok && c < low {
		low = max(c, least)
		if d.from(low, t, start)+d.size < end {
			return false // it is still in the way
		}
	}
	if d.from(low, t, start)+d.size < end {
		low = max(p.lookAtHolds(t), least)
	}
	p.limitBytes = d.from(low, t, start) + d.size
	return end <= p.limitBytes
}

// from returns where the first message begins from position p up to t, or next if there is none.
func (d *data) from(p, t, next uint64) uint64 {
	for ; p < t; p++ {
		i, _ := d.r.at(p)
		if word(access.Load("from.look", &d.r.slots[i])).state() != skipped {
			return d.start(p)
		}
	}
	return next
}

// written reports whether no message is being written in the bytes that the ones up to end
// overwrite. t is the next position.
func (d *data) written(t, end uint64) bool {
	was := access.Load("low.load", &d.h.Low)
	low := min(max(was, before(t, d.r.n)), t)
	if low < t && end-d.start(low) > d.size {
		low = d.unfinished(low, t)
	}
	if low != was {
		access.Store("low.store", &d.h.Low, low)
	}
	return low == t || end-d.start(low) <= d.size
}

// unfinished returns the lowest position from p on whose message is being written, t if there is
// none.
func (d *data) unfinished(p, t uint64) uint64 {
	for ; p < t; p++ {
		i, lap := d.r.at(p)
		w := word(access.Load("low.look", &d.r.slots[i]))
		if w.state() == claimed && w.ahead(lap) == 0 {
			break
		}
	}
	return p
}

// CanClaimBytes reports whether ClaimBytes of n bytes would return neither ErrFull nor ErrHeld. It
// is for waiters, as CanClaim.
func (r *Broadcast) CanClaimBytes(n int) bool {
	d := r.data
	if !r.CanClaim() {
		return false
	}
	t := r.h.Tail.Load()
	start, end, err := d.next(uint64(n))
	if err != nil {
		return true
	}
	for i := range r.used() {
		c, ok := r.cursor(i)
		if ok && c < t && t-c <= r.n && d.from(c, t, start)+d.size < end {
			return false
		}
	}
	low := min(max(d.h.Low.Load(), before(t, r.n)), t)
	if low < t && end-d.start(low) > d.size {
		low = d.unfinished(low, t)
	}
	return low == t || end-d.start(low) <= d.size
}

// repair ends the claims of dead publishers that hold others back from their bytes, and opens the
// gate of a dead publisher.
func (d *data) repair(live *known) (skips int) {
	g := access.Load("gate.look", &d.h.Gate)
	if g != 0 && (g > idMask || !live.is(uint32(g))) {
		// Its last claim may have no extent yet. So it is skipped before the gate opens.
		skips = d.r.skipDead(live, before(d.r.Now(), 1), 1)
		access.CAS("gate.repair", &d.h.Gate, g, 0)
	}
	low := access.Load("low.repair", &d.h.Low)
	if low > math.MaxUint64-d.r.n {
		return skips
	}
	return skips + d.r.skipDead(live, low, 1)
}

// mostFails bounds how far readers keep from the publishers that have overtaken them.
const mostFails = 6

// NextBytes is Next in a ring whose messages have any length. Extent returns where the message is.
func (c *Cursor) NextBytes() (pos, lost uint64, err error) {
	for range c.r.n + 64 {
		pos, n, err := c.Next()
		lost += n
		if err != nil {
			return 0, lost, err
		}
		switch err := c.find(pos); {
		case err == ErrCorrupt:
			return 0, lost, err
		case err == nil && !c.tooClose():
			return pos, lost, nil
		case err == nil || c.r.Valid(pos): // its bytes are gone, or soon
			c.pos++
			lost++
			c.tell()
		}
	}
	return 0, lost, ErrBusy
}

// find finds the bytes of the message at a position.
func (c *Cursor) find(pos uint64) (err error) {
	c.start, c.size, err = c.r.data.extent(pos)
	return err
}

// tooClose reports whether publishers overwrote the last messages while they were read, and are
// near this one too, and a newer one is there.
func (c *Cursor) tooClose() bool {
	if c.fails == 0 || c.hold != nil {
		return false
	}
	d := c.r.data
	return !d.intact(c.start-uint64(c.fails)*(d.size/8)) && c.r.Valid(c.pos+1)
}

// NewestBytes is Newest in a ring whose messages have any length.
func (c *Cursor) NewestBytes() (pos uint64, err error) {
	for range newestTries {
		if pos, err = c.Newest(); err != nil {
			return 0, err
		}
		if err = c.find(pos); err != ErrLapped {
			return pos, err
		}
	}
	return 0, ErrBusy
}

// Extent returns offset and length of the message that NextBytes or NewestBytes found.
func (c *Cursor) Extent() (off, size int) {
	return int(c.start % c.r.data.size), int(c.size)
}

// DoneBytes is Done in a ring whose messages have any length.
func (c *Cursor) DoneBytes() error {
	if !c.r.Valid(c.pos) || !c.r.data.intact(c.start) {
		c.fails = min(c.fails+1, mostFails)
		return ErrLapped
	}
	c.fails = 0
	c.pos++
	c.tell()
	return nil
}

// Message returns where the message of a position is. The caller copies it, and then Kept says
// whether the copy counts. ok is false if there is no message at that position.
func (r *Broadcast) Message(pos uint64) (off, size int, ok bool) {
	if !r.Valid(pos) {
		return 0, 0, false
	}
	start, n, err := r.data.extent(pos)
	return int(start % r.data.size), int(n), err == nil
}

// Kept reports whether the message of a position, which Message has found, is still there.
func (r *Broadcast) Kept(pos uint64) bool { return r.data.kept(pos) && r.Valid(pos) }
