package ring

import "sync/atomic"

// BroadcastHeader is the shared part of a Broadcast besides slots and holds.
// Zero is an empty ring. The waiting words are the caller's.
type BroadcastHeader struct {
	Tail atomic.Uint64 // next position to claim; may be behind
	_    [120]byte

	// Seldom written.
	Closed   atomic.Uint64
	Skipped  atomic.Uint64 // claims whose publisher died
	Released atomic.Uint64 // the caller's: holds whose reader died
	_        [104]byte

	SendWait, SendArmed atomic.Uint32 // a hold moved on
	Lost                atomic.Uint64 // the caller's: messages overwritten before a reader had them, over all readers
	_                   [112]byte
	RecvWait, RecvArmed atomic.Uint32 // messages
	_                   [120]byte
}

// Hold is the record of a reader that holds publishers back.
type Hold struct {
	ID     atomic.Uint64 // 0: free; with the bit coming: the cursor is not written yet
	Cursor atomic.Uint64 // the position it reads next
	_      [112]byte
}

// coming is in the ID of a hold whose cursor is still that of the one before.
const coming = 1 << 32

// Broadcast is a ring of slots in which publishers overwrite the oldest, and
// which any number of readers follow, each with a cursor of its own that is
// not in the ring. A publisher claims a position, writes the item at its
// Index, and publishes it. A reader that was overtaken is told how many it
// lost.
//
//	free or ready(lap-1) or skipped(lap-1) -Claim-> claimed(lap, id) -Publish-> ready(lap)
//	claimed(lap, dead) -Repair-> skipped(lap)
//
// Items are read while they may be overwritten: reader and writer copy them
// with atomic loads and stores of words, and what was read counts only if
// Done, or Valid, says so after it.
//
// A publisher killed in a slot: readers wait there (ErrHeld) until somebody
// calls Repair, or pass it by themselves with PassDead, which writes nothing
// shared; other publishers are held back one lap later only.
type Broadcast struct {
	h     *BroadcastHeader
	slots []atomic.Uint64
	holds []Hold
	circle
}

// NewBroadcast lays a ring over h and slots. holds has room for the readers
// that hold publishers back; it may be empty.
func NewBroadcast(h *BroadcastHeader, slots []atomic.Uint64, holds []Hold) (*Broadcast, error) {
	if h == nil || len(slots) < 1 || uint64(len(slots)) > 1<<31 {
		return nil, ErrShape
	}
	return &Broadcast{h, slots, holds, newCircle(len(slots))}, nil
}

// Cap is the number of messages kept.
func (r *Broadcast) Cap() int { return int(r.n) }

// Index is the slot of a position.
func (r *Broadcast) Index(pos uint64) int {
	i, _ := r.at(pos)
	return int(i)
}

// Close ends the stream: publishers get ErrClosed, readers too, after the last
// message. Another publisher's that is being claimed at this moment may come
// too late for a reader that has seen ErrClosed.
func (r *Broadcast) Close() { store("close", &r.h.Closed, 1) }

// Closed tells whether Close was called.
func (r *Broadcast) Closed() bool { return r.h.Closed.Load() != 0 }

// Skipped is the number of claims whose publisher died.
func (r *Broadcast) Skipped() uint64 { return r.h.Skipped.Load() }

// Now is the position that the next message will have.
func (r *Broadcast) Now() uint64 {
	t := load("now.tail", &r.h.Tail)
	for range r.n { // the tail may be behind
		i, lap := r.at(t)
		if word(load("now.look", &r.slots[i])).ahead(lap) != 0 || r.unused(i, lap) {
			break
		}
		t++
	}
	return t
}

// unused tells whether slot i was never claimed: only in lap 0.
func (r *Broadcast) unused(i, lap uint64) bool {
	return lap == 0 && load("now.unused", &r.slots[i]) == 0
}

// Oldest is the oldest position that may still be there.
func (r *Broadcast) Oldest() uint64 { return before(r.Now(), r.n) }

// Publisher is a publisher's end. It belongs to one goroutine at a time; there
// may be many.
type Publisher struct {
	r     *Broadcast
	self  uint32
	limit uint64 // positions before it overwrite nothing that is held
}

// Publisher makes a publisher's end.
func (r *Broadcast) Publisher(self uint32) *Publisher { return &Publisher{r: r, self: self} }

// Claim takes the next position. ErrFull: a reader holds it back; ErrHeld:
// another publisher has not finished what he began a lap ago; ErrClosed,
// ErrBusy, ErrCorrupt.
//
// Its cost does not grow with readers: the holds are looked at when the limit
// found the last time is reached, at most once a lap unless one is far behind.
func (p *Publisher) Claim() (pos uint64, err error) {
	r := p.r
	if load("pub.closed", &r.h.Closed) != 0 {
		return 0, ErrClosed
	}
	for range r.n + 1<<12 {
		t := load("pub.tail", &r.h.Tail)
		if len(r.holds) > 0 && t >= p.limit {
			if p.limit = r.limit(t); t >= p.limit {
				return 0, ErrFull
			}
		}
		i, lap := r.at(t)
		w := word(load("pub.look", &r.slots[i]))
		d, s := w.ahead(lap), w.state()
		switch {
		case w == 0 && lap == 0, d == -1 && (s == ready || s == skipped):
			if !cas("pub.slot", &r.slots[i], uint64(w), uint64(named(claimed, lap, p.self))) {
				continue
			}
			// On arm64 the writes to the item could pass the store above,
			// not a load of the same word after it.
			load("pub.fence", &r.slots[i])
			advance("pub.advance", &r.h.Tail, t, t+1)
			return t, nil
		case d == 0 && (s == ready || s == skipped || s == claimed): // the tail is behind
			advance("pub.help", &r.h.Tail, t, t+1)
		case d == -1 && s == claimed:
			return 0, ErrHeld
		case load("pub.check", &r.h.Tail) == t:
			return 0, ErrCorrupt
		}
	}
	return 0, ErrBusy
}

// limit is the first position that may not be claimed because of a hold, when
// the tail is at t.
func (r *Broadcast) limit(t uint64) uint64 {
	low := t
	for i := range r.holds {
		if id := load("limit.id", &r.holds[i].ID); id != 0 && id&coming == 0 {
			low = min(low, load("limit.cursor", &r.holds[i].Cursor))
		}
	}
	return low + r.n
}

// Publish hands a claimed and written position to the readers. ErrNotHeld.
func (p *Publisher) Publish(pos uint64) error {
	i, lap := p.r.at(pos)
	if !cas("pub.publish", &p.r.slots[i], uint64(named(claimed, lap, p.self)), uint64(plain(ready, lap))) {
		return ErrNotHeld
	}
	return nil
}

// Cancel gives a claimed position up; readers pass over it.
func (p *Publisher) Cancel(pos uint64) error {
	i, lap := p.r.at(pos)
	if !cas("pub.cancel", &p.r.slots[i], uint64(named(claimed, lap, p.self)), uint64(named(skipped, lap, p.self))) {
		return ErrNotHeld
	}
	return nil
}

// Repair ends the claims of dead publishers and the holds of dead readers. It
// looks at every slot and every hold.
func (r *Broadcast) Repair(alive func(id uint32) bool) (skips, holds int) {
	live := known{alive: alive}
	for i := range r.slots {
		w := word(load("repair.look", &r.slots[i]))
		if w.state() == claimed && !live.is(w.id()) &&
			cas("repair.skip", &r.slots[i], uint64(w), uint64(w.rename(skipped, w.id()))) {
			add("repair.count", &r.h.Skipped, 1)
			skips++
		}
	}
	for i := range r.holds {
		id := load("repair.hold", &r.holds[i].ID)
		if id != 0 && (id&^coming > idMask || !live.is(uint32(id))) && cas("repair.free", &r.holds[i].ID, id, 0) {
			holds++
		}
	}
	return skips, holds
}

// Slowest is the hold with the lowest cursor; id 0: there is none.
func (r *Broadcast) Slowest() (id uint32, cursor uint64) {
	for i := range r.holds {
		h := &r.holds[i]
		if n := h.ID.Load(); n != 0 && n&coming == 0 {
			if c := h.Cursor.Load(); id == 0 || c < cursor {
				id, cursor = uint32(n&idMask), c
			}
		}
	}
	return id, cursor
}

// Valid tells whether pos is published and not overwritten: what was read of
// its item before is whole.
func (r *Broadcast) Valid(pos uint64) bool {
	i, lap := r.at(pos)
	return word(load("read.check", &r.slots[i])) == plain(ready, lap)
}

// Latest is the newest published position; check with Valid after reading.
// ErrEmpty: there is none.
func (r *Broadcast) Latest() (pos uint64, err error) {
	t := r.Now()
	for p := t; p > before(t, r.n); {
		p--
		if r.Valid(p) {
			return p, nil
		}
	}
	return 0, ErrEmpty
}

// Cursor is a reader's end. It belongs to one goroutine at a time.
type Cursor struct {
	r       *Broadcast
	pos     uint64
	tail    uint64 // as Ahead saw it last
	skipped uint64
	hold    *Hold
	self    uint32
}

// From makes a cursor at pos, or at the oldest kept if pos is older (the first
// Next tells how many are lost), or at the next message if pos is newer.
func (r *Broadcast) From(pos uint64) *Cursor {
	return &Cursor{r: r, pos: min(pos, r.Now())}
}

// Hold makes a cursor at the next message that holds publishers back.
// ErrFull: all holds are taken.
func (r *Broadcast) Hold(self uint32) (*Cursor, error) {
	for i := range r.holds {
		h := &r.holds[i]
		if load("hold.look", &h.ID) != 0 || !cas("hold.take", &h.ID, 0, uint64(self)|coming) {
			continue
		}
		// A publisher that saw no hold may go on until one lap after the tail
		// it saw; so hold from a tail that is loaded after the cursor can be
		// seen. One that sees the cursor is bound by it, so it never goes
		// back: Now may be older than the Now before.
		seen := r.Now()
		store("hold.cursor", &h.Cursor, seen)
		if !cas("hold.there", &h.ID, uint64(self)|coming, uint64(self)) {
			continue // somebody scribbles: nobody frees what the living hold
		}
		c := &Cursor{r: r, pos: max(seen, r.Now()), hold: h, self: self}
		store("hold.cursor", &h.Cursor, c.pos)
		return c, nil
	}
	return nil, ErrFull
}

// Leave ends a hold.
func (c *Cursor) Leave() {
	if c.hold != nil {
		cas("hold.leave", &c.hold.ID, uint64(c.self), 0)
		c.hold = nil
	}
}

// Pos is the position that is read next.
func (c *Cursor) Pos() uint64 { return c.pos }

// Skipped is the number of positions passed that had no message.
func (c *Cursor) Skipped() uint64 { return c.skipped }

// Next finds the next message. lost is the number of positions overwritten
// before they were read. The caller copies the item, or reads it in place, and
// calls Done. ErrEmpty, ErrClosed; ErrHeld: a publisher has not finished;
// ErrBusy: publishers are faster than this loop; ErrCorrupt. lost counts also
// when err is not nil.
func (c *Cursor) Next() (pos, lost uint64, err error) {
	r := c.r
	closed := false
	for try := range r.n + 64 {
		i, lap := r.at(c.pos)
		w := word(load("read.look", &r.slots[i]))
		d, s := w.ahead(lap), w.state()
		switch {
		case w == plain(ready, lap):
			return c.pos, lost, nil
		case d == 0 && s == skipped:
			c.pos++
			c.skipped++
			c.tell()
		case d == 0 && s == claimed:
			return 0, lost, ErrHeld
		case w == 0 && lap == 0, d == -1 && (s == ready || s == skipped || s == claimed):
			if closed {
				return 0, lost, ErrClosed
			}
			if closed = load("read.closed", &r.h.Closed) != 0; !closed {
				return 0, lost, ErrEmpty
			}
		case d > 0 && (s == ready || s == skipped || s == claimed):
			// Overtaken. The more often, the more room.
			now := r.Now()
			next := max(min(before(now, r.n)+try*r.n/8, now), c.pos+1)
			if next > now {
				return 0, lost, ErrCorrupt
			}
			lost += next - c.pos
			c.pos = next
			c.tell()
		default:
			return 0, lost, ErrCorrupt
		}
	}
	return 0, lost, ErrBusy
}

// Done ends the reading of the message that Next found. ErrLapped: it was
// overwritten meanwhile; Next goes on with the loss counted.
func (c *Cursor) Done() error {
	if !c.r.Valid(c.pos) {
		return ErrLapped
	}
	c.pos++
	c.tell()
	return nil
}

// tell lets publishers on, if held back.
func (c *Cursor) tell() {
	if c.hold != nil {
		store("read.tell", &c.hold.Cursor, c.pos)
	}
}

// PassDead passes the position at which Next returned ErrHeld, if its
// publisher is dead. It changes nothing shared.
func (c *Cursor) PassDead(alive func(id uint32) bool) bool {
	i, lap := c.r.at(c.pos)
	w := word(load("read.look", &c.r.slots[i]))
	if w.state() != claimed || w.ahead(lap) != 0 || w.id() != 0 && alive(w.id()) {
		return false
	}
	c.pos++
	c.skipped++
	c.tell()
	return true
}
