package ring

import (
	"math"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// BroadcastHeader is the shared part of a Broadcast, without slots and holds. All zero is an empty
// ring. The waiting words belong to the caller.
type BroadcastHeader struct {
	Tail atomic.Uint64 // next position to claim; may be behind
	_    [120]byte

	// Seldom written.
	Closed   atomic.Uint64
	Skipped  atomic.Uint64 // claims whose publisher died
	Released atomic.Uint64 // holds whose reader died; counted by the caller
	Used     atomic.Uint64 // holds from it on were never taken
	_        [96]byte

	SendWait, SendArmed atomic.Uint32 // for waiters for holds
	Lost                atomic.Uint64 // messages that readers lost; counted by the caller
	_                   [112]byte
	RecvWait, RecvArmed atomic.Uint32 // for waiters for messages
	_                   [120]byte
}

// A Hold is the record of a reader that holds publishers back.
type Hold struct {
	ID     atomic.Uint64 // 0: free; with cursorUnset: the cursor is not written yet
	Cursor atomic.Uint64 // the position that the reader reads next
	_      [112]byte
}

// cursorUnset is set in the ID of a hold whose cursor is still that of an earlier reader.
const cursorUnset = 1 << 32

// Broadcast is a ring of slots in which publishers overwrite the oldest message. Any number of
// readers follow it, each with its own cursor outside the ring. A publisher claims a position,
// writes the item at its Index, and publishes it. A reader that was overtaken gets the number of
// lost messages.
//
//	free or ready(lap-1) or skipped(lap-1) -Claim-> claimed(lap, id) -Publish-> ready(lap)
//	claimed(lap, dead) -Repair-> skipped(lap)
//
// A publisher can overwrite an item while it is read. So both copy items with atomic loads and
// stores of words, and a copy is valid only if Done or Valid confirms it afterwards.
//
// A publisher that died after its claim holds readers back there (ErrHeld), until Repair ends the
// claim. A reader can also skip the position with PassDead, which writes nothing shared. Other
// publishers are held back only one lap later.
type Broadcast struct {
	h     *BroadcastHeader
	slots []atomic.Uint64
	holds []Hold
	circle
	slow atomic.Int64 // the hold that was in the way of CanClaim last
	data *data        // nil: messages have one size

	fewHolds int // so many are looked at without Used; 0 in tests
}

// NewBroadcast returns a ring over h and slots. holds has one record for each reader that can hold
// publishers back; it may be empty.
func NewBroadcast(h *BroadcastHeader, slots []atomic.Uint64, holds []Hold) (*Broadcast, error) {
	if h == nil || len(slots) < 1 || uint64(len(slots)) > 1<<31 {
		return nil, ErrShape
	}
	return &Broadcast{
		h: h, slots: slots, holds: holds, circle: newCircle(len(slots)), fewHolds: 4,
	}, nil
}

// Cap returns the number of slots, which is how many messages are kept.
func (r *Broadcast) Cap() int { return int(r.n) }

// Index returns the slot of a position.
func (r *Broadcast) Index(pos uint64) int {
	i, _ := r.at(pos)
	return int(i)
}

// Close ends the stream: publishers get ErrClosed, and readers get it after the last message. A
// reader that has got ErrClosed can miss a message that another publisher claims at this moment.
func (r *Broadcast) Close() { access.CAS("close", &r.h.Closed, 0, Ended) }

// Ended reports whether Close was called.
func (r *Broadcast) Ended() bool { return HasEnded(&r.h.Closed) }

// Skipped returns the number of claims whose publisher died.
func (r *Broadcast) Skipped() uint64 { return r.h.Skipped.Load() }

// Now returns the position of the next message.
func (r *Broadcast) Now() uint64 {
	t := access.Load("now.tail", &r.h.Tail)
	for range r.n { // the tail may be behind
		i, lap := r.at(t)
		if word(access.Load("now.look", &r.slots[i])).ahead(lap) != 0 || r.unused(i, lap) {
			break
		}
		t++
	}
	return t
}

// unused reports whether slot i was never claimed, which is possible only in lap 0.
func (r *Broadcast) unused(i, lap uint64) bool {
	return lap == 0 && access.Load("now.unused", &r.slots[i]) == 0
}

// Oldest returns the oldest position that may still have its message.
func (r *Broadcast) Oldest() uint64 { return r.oldest(r.Now()) }

func (r *Broadcast) oldest(now uint64) uint64 {
	low := before(now, r.n)
	if r.data != nil {
		return r.data.oldest(low, now)
	}
	return low
}

// A Publisher is one publisher's end. One goroutine at a time may use it. There may be many.
type Publisher struct {
	r     *Broadcast
	self  uint32
	limit uint64 // positions before it overwrite no message that a hold protects; see limits
	slow  int    // the hold that is furthest behind
	rest  uint64 // no other hold is at a position before it

	limitBytes uint64 // bytes before it overwrite no message that a hold protects; see roomBytes
}

// Publisher returns a new publisher's end.
func (r *Broadcast) Publisher(self uint32) *Publisher {
	p := &Publisher{r: r, self: self}
	if len(r.holds) == 0 {
		p.limit, p.limitBytes = math.MaxUint64, math.MaxUint64
	}
	return p
}

// Claim claims the next position. Errors: ErrFull, when a hold is in the way; ErrHeld, when another
// publisher has not finished a claim of one lap ago; ErrClosed; ErrBusy; ErrCorrupt.
//
// Its cost does not grow with the readers: it looks at holds only when it reaches the limit that it
// found the last time, and then at the one that is furthest behind. It looks at all of them when
// that one is no longer the last, at most once a lap unless several readers are far behind.
func (p *Publisher) Claim() (pos uint64, err error) {
	r := p.r
	if access.Load("pub.closed", &r.h.Closed) != 0 {
		return 0, ErrClosed
	}
	for range r.n + 1<<12 {
		t := access.Load("pub.tail", &r.h.Tail)
		if t >= p.limit && !p.room(t) {
			return 0, ErrFull
		}
		i, lap := r.at(t)
		w := word(access.Load("pub.look", &r.slots[i]))
		d, s := w.ahead(lap), w.state()
		switch {
		case w == 0 && lap == 0, d == -1 && (s == ready || s == skipped):
			mine := named(claimed, lap, p.self)
			if !access.CAS("pub.slot", &r.slots[i], uint64(w), uint64(mine)) {
				continue
			}
			// On arm64 the writes to the item can pass the store above, but not a later load of the
			// same word.
			access.Load("pub.fence", &r.slots[i])
			advance("pub.advance", &r.h.Tail, t, t+1)
			return t, nil
		case d == 0 && (s == ready || s == skipped || s == claimed): // the tail is behind
			advance("pub.help", &r.h.Tail, t, t+1)
		case d == -1 && s == claimed:
			return 0, ErrHeld
		case access.Load("pub.check", &r.h.Tail) == t:
			return 0, ErrCorrupt
		}
	}
	return 0, ErrBusy
}

// room finds the limit anew, and reports whether it is beyond the tail t.
//
// Cursors only go forward, and a hold that a look has missed gets a cursor that is at least the
// tail from before the look. So what a look has found stays a lower bound.
func (p *Publisher) room(t uint64) bool {
	r := p.r
	if len(r.holds) == 0 {
		return true
	}
	low := p.rest
	if c, ok := r.cursor(p.slow); ok {
		low = min(low, c)
		if c <= t && t-c >= r.n {
			return false // it is still in the way
		}
	}
	if low > t || t-low >= r.n {
		low = p.lookAtHolds(t)
	}
	p.limit = low + r.n
	return t < p.limit
}

// lookAtHolds returns the lowest cursor, at most t.
func (p *Publisher) lookAtHolds(t uint64) uint64 {
	low, rest := t, t
	for i := range p.r.used() {
		c, ok := p.r.cursor(i)
		if !ok || c >= rest {
			continue
		}
		if rest = c; c < low {
			low, rest, p.slow = c, low, i
		}
	}
	p.rest = rest
	return low
}

// used returns how many holds were ever taken; where there are few, how many there are.
func (r *Broadcast) used() int {
	if len(r.holds) <= r.fewHolds {
		return len(r.holds)
	}
	return int(min(access.Load("holds.used", &r.h.Used), uint64(len(r.holds))))
}

// cursor returns the cursor of a hold. ok is false if no reader has that hold, or has not written
// its cursor yet.
func (r *Broadcast) cursor(i int) (c uint64, ok bool) {
	id := access.Load("limit.id", &r.holds[i].ID)
	if id == 0 || id&cursorUnset != 0 {
		return 0, false
	}
	return access.Load("limit.cursor", &r.holds[i].Cursor), true
}

// full reports whether a hold keeps position t from being claimed. It looks first at the one that
// was in the way the last time.
func (r *Broadcast) full(t uint64) bool {
	_, full := r.inTheWay(t)
	return full
}

// inTheWay is full, and returns the hold.
func (r *Broadcast) inTheWay(t uint64) (hold int, ok bool) {
	n := r.used()
	if n == 0 {
		return 0, false
	}
	first := int(uint64(r.slow.Load()) % uint64(n))
	for k := range n {
		i := first + k
		if i >= n {
			i -= n
		}
		if c, ok := r.cursor(i); ok && c <= t && t-c >= r.n {
			if k > 0 {
				r.slow.Store(int64(i))
			}
			return i, true
		}
	}
	return 0, false
}

// Blocker returns the id of a reader whose hold keeps the next position from being claimed, 0 if
// there is none. It looks first at the one that was in the way the last time.
func (r *Broadcast) Blocker() uint32 {
	if i, ok := r.inTheWay(r.h.Tail.Load()); ok {
		return uint32(r.holds[i].ID.Load() & idMask)
	}
	return 0
}

// Publish makes a claimed and written position a message. It returns ErrNotHeld if the caller has
// not claimed it.
func (p *Publisher) Publish(pos uint64) error {
	i, lap := p.r.at(pos)
	if !access.CAS("pub.publish", &p.r.slots[i], uint64(named(claimed, lap, p.self)),
		uint64(plain(ready, lap))) {
		return ErrNotHeld
	}
	return nil
}

// Cancel gives up a claimed position. Readers skip it.
func (p *Publisher) Cancel(pos uint64) error {
	i, lap := p.r.at(pos)
	if !access.CAS("pub.cancel", &p.r.slots[i], uint64(named(claimed, lap, p.self)),
		uint64(named(skipped, lap, p.self))) {
		return ErrNotHeld
	}
	return nil
}

// Repair ends the claim of a dead publisher that holds publishers back, those soon behind it, and
// the holds of dead readers. It returns how many. Its cost does not depend on the number of slots:
// other claims do no harm until the tail or a cursor comes to them; see RepairAt.
func (r *Broadcast) Repair(alive func(id uint32) bool) (skips, holds int) {
	live := known{alive: alive}
	if r.data != nil {
		skips = r.data.repair(&live)
	}
	skips += r.skipDead(&live, before(access.Load("repair.tail", &r.h.Tail), r.n), 1)
	for i := range r.used() {
		id := access.Load("repair.hold", &r.holds[i].ID)
		if id != 0 && (id&^cursorUnset > idMask || !live.is(uint32(id))) &&
			access.CAS("repair.free", &r.holds[i].ID, id, 0) {
			holds++
		}
	}
	return skips, holds
}

// RepairAt ends the claims of dead publishers at the position where the caller reads, and soon
// behind it. It returns how many.
func (r *Broadcast) RepairAt(alive func(id uint32) bool, pos uint64) (skips int) {
	return r.skipDead(&known{alive: alive}, pos, few)
}

// few is how many messages behind the caller's position Repair looks past to find dead publishers.
const few = 64

// skipDead ends the claims of dead publishers from position p on. It looks past less than more
// messages, and past soon of them after a claim of a dead publisher.
func (r *Broadcast) skipDead(live *known, p uint64, more int) (skips int) {
	for end := p + r.n; p < end && more > 0; p++ {
		i, lap := r.at(p)
		w := word(access.Load("repair.look", &r.slots[i]))
		s := w.state()
		if w.ahead(lap) != 0 || w == 0 && lap == 0 { // not claimed yet, or overwritten
			return skips
		}
		if s != claimed {
			more--
			continue
		}
		if live.is(w.id()) {
			continue
		}
		more = max(more, soon)
		if access.CAS("repair.skip", &r.slots[i], uint64(w), uint64(w.rename(skipped, w.id()))) {
			access.Add("repair.count", &r.h.Skipped, 1)
			skips++
		}
	}
	return skips
}

// Slowest returns the hold with the lowest cursor. id is 0 if there is no hold.
func (r *Broadcast) Slowest() (id uint32, cursor uint64) {
	for i := range r.used() {
		h := &r.holds[i]
		if n := h.ID.Load(); n != 0 && n&cursorUnset == 0 {
			if c := h.Cursor.Load(); id == 0 || c < cursor {
				id, cursor = uint32(n&idMask), c
			}
		}
	}
	return id, cursor
}

// Valid reports whether pos is published and not overwritten. If so, what was read of its item
// before is consistent.
func (r *Broadcast) Valid(pos uint64) bool {
	i, lap := r.at(pos)
	return word(access.Load("read.check", &r.slots[i])) == plain(ready, lap)
}

// Latest returns the newest published position; the caller reads its item and checks with Valid. It
// returns ErrEmpty if there is none.
func (r *Broadcast) Latest() (pos uint64, err error) {
	t := r.Now()
	for p := t; p > before(t, r.n); {
		p--
		if r.Valid(p) && (r.data == nil || r.data.kept(p)) {
			return p, nil
		}
	}
	return 0, ErrEmpty
}

// A Cursor is one reader's end. One goroutine at a time may use it.
type Cursor struct {
	r       *Broadcast
	pos     uint64
	tail    uint64 // Tail when Ahead loaded it last
	skipped uint64
	hold    *Hold
	self    uint32

	start, size uint64 // of the message that NextBytes or NewestBytes found
	fails       int    // messages that were overwritten while they were read, since one was not
}

// From returns a cursor at pos. If pos is older than the oldest kept message the first Next reports
// the loss. If pos is newer than the next message the cursor begins at the next message.
func (r *Broadcast) From(pos uint64) *Cursor {
	return &Cursor{r: r, pos: min(pos, r.Now())}
}

// Hold returns a cursor at the next message, which holds publishers back. It returns ErrFull if all
// holds are taken.
func (r *Broadcast) Hold(self uint32) (*Cursor, error) {
	for i := range r.holds {
		h := &r.holds[i]
		if access.Load("hold.look", &h.ID) != 0 {
			continue
		}
		// Before the hold is taken: Repair finds it only then, should this process be killed.
		if n := access.Load("hold.used", &r.h.Used); n <= uint64(i) {
			advance("hold.use", &r.h.Used, n, uint64(i+1))
		}
		if !access.CAS("hold.take", &h.ID, 0, uint64(self)|cursorUnset) {
			continue
		}
		// A publisher that saw no hold may go on until one lap after the tail it saw. So the hold
		// begins at a tail that is loaded after the cursor is visible. A publisher that sees the
		// cursor is bound by it, so the cursor never goes back: a later Now can be older.
		seen := r.Now()
		access.Store("hold.cursor", &h.Cursor, seen)
		if !access.CAS("hold.there", &h.ID, uint64(self)|cursorUnset, uint64(self)) {
			continue // only a process that writes nonsense frees the hold of a living one
		}
		c := &Cursor{r: r, pos: max(seen, r.Now()), hold: h, self: self}
		access.Store("hold.cursor", &h.Cursor, c.pos)
		return c, nil
	}
	return nil, ErrFull
}

// Leave ends a hold.
func (c *Cursor) Leave() {
	if c.hold != nil {
		access.CAS("hold.leave", &c.hold.ID, uint64(c.self), 0)
		c.hold = nil
	}
}

// Pos returns the position that is read next.
func (c *Cursor) Pos() uint64 { return c.pos }

// Skipped returns how many positions without a message the cursor has skipped.
func (c *Cursor) Skipped() uint64 { return c.skipped }

// Next finds the next message. The caller copies the item or reads it in place, then calls Done.
// lost is the number of positions that were overwritten before they were read, also with an error.
// Errors: ErrEmpty; ErrClosed; ErrHeld, when a publisher has not finished; ErrBusy, when publishers
// are faster than this loop; ErrCorrupt.
func (c *Cursor) Next() (pos, lost uint64, err error) {
	r := c.r
	closed := false
	for try := range r.n + 64 {
		i, lap := r.at(c.pos)
		w := word(access.Load("read.look", &r.slots[i]))
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
			if closed = access.Load("read.closed", &r.h.Closed) != 0; !closed {
				return 0, lost, ErrEmpty
			}
		case d > 0 && (s == ready || s == skipped || s == claimed):
			// Overtaken. Every time the cursor goes further ahead.
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

// Done ends the reading of the message that Next found. It returns ErrLapped if the message was
// overwritten meanwhile. The following Next counts the loss.
func (c *Cursor) Done() error {
	if !c.r.Valid(c.pos) {
		return ErrLapped
	}
	c.pos++
	c.tell()
	return nil
}

// tell writes the position of a hold, so that publishers can go on.
func (c *Cursor) tell() {
	if c.hold != nil {
		access.Store("read.tell", &c.hold.Cursor, c.pos)
	}
}

// PassDead skips the position at which Next returned ErrHeld if its publisher is dead, and reports
// whether it did. It changes nothing shared except the cursor of a hold.
func (c *Cursor) PassDead(alive func(id uint32) bool) bool {
	i, lap := c.r.at(c.pos)
	w := word(access.Load("read.look", &c.r.slots[i]))
	if w.state() != claimed || w.ahead(lap) != 0 || w.id() != 0 && alive(w.id()) {
		return false
	}
	c.pos++
	c.skipped++
	c.tell()
	return true
}
