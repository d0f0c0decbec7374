package ring

import (
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

// A borrower takes messages in place. Another actor may end its leases: then it has seen nothing
// that counts.
type borrower struct {
	*bench
	count map[uint64]int // message: number of its last delivery
	// Leases that were ended, and lost ones: a consumer loses none otherwise.
	ended, lost int
	newest      map[uint64]int // position: number of the last delivery that began
	// A broken variant replaces these.
	retake func(r *MPMC, self uint32) (uint64, int, bool)
	end    func(id uint32) int
}

func newBorrower(b *bench) *borrower {
	return &borrower{
		bench: b, count: map[uint64]int{}, newest: map[uint64]int{},
		retake: func(r *MPMC, self uint32) (uint64, int, bool) { return r.Retake(self, 0) },
		end:    func(id uint32) int { return b.handle().End(only(id)) },
	}
}

// take takes a message, or one that was returned.
func (b *borrower) takeOne(r *MPMC, id uint32) (l loan, err error) {
	if l.pos, err = r.Take(id); err == nil {
		b.newest[l.pos] = max(b.newest[l.pos], 1) // its lease may have been ended before it returned
		return loan{l.pos, 1, taken}, nil
	}
	if err != ErrReturned {
		return l, err
	}
	pos, n, ok := b.retake(r, id)
	if !ok {
		return l, ErrBusy
	}
	b.newest[pos] = max(b.newest[pos], n)
	return loan{pos, n, again}, nil
}

type loan struct {
	pos        uint64
	deliveries int
	how        uint64
}

// ender ends the leases of a consumer that lives.
func (b *borrower) ender(id uint32) func() { return func() { b.ended += b.end(id) } }

func (b *borrower) check() error {
	if b.lost > b.ended && !b.AnyDead() { // an ender that was killed has counted none
		b.fail("%d leases lost, %d ended", b.lost, b.ended)
	}
	return b.bench.check()
}

// released says that a lease was held to its end.
func (b *borrower) released(l loan) {
	if n := b.newest[l.pos]; n != l.deliveries {
		b.fail("delivery %d released position %d during delivery %d", l.deliveries, l.pos, n)
	}
}

// peek reads the item, whole or torn.
func (b *borrower) peek(pos uint64) (v uint64, torn bool) {
	i := 2 * b.r.Index(pos)
	v = access.Load("item.read", &b.items[i])
	return v, access.Load("item.read", &b.items[i+1]) != v
}

// consumer takes so often, and returns every returns-th message.
func (b *borrower) consumer(id uint32, tries, returns int) func() {
	r := b.handle() // two actors may have the same id
	return func() {
		for n := range tries {
			l, err := b.takeOne(r, id)
			if err != nil {
				b.unexpected("take", err, ErrEmpty, ErrHeld, ErrBusy, ErrClosed)
				if b.AnyDead() {
					r.Repair(b.Alive)
				}
				continue
			}
			v, torn := b.peek(l.pos)
			if returns > 0 && n%returns == 0 {
				b.unexpected("return", b.r.giveBack(id, l.pos, l.how, 0), nil, ErrNotHeld)
				continue
			}
			switch err := b.r.release(id, l.pos, l.how); {
			case err == ErrNotHeld: // the lease was ended
				b.lost++
			case err != nil:
				b.fail("release: %v", err)
			case torn:
				b.fail("a lease that was held was torn at %d", l.pos)
			default:
				b.released(l)
				if last := b.count[v]; l.deliveries <= last {
					b.fail("%d: delivery %d after %d", v, l.deliveries, last)
				}
				b.count[v] = l.deliveries
				b.got = append(b.got, delivery{value: v, by: id, pos: l.pos, again: true, released: true})
			}
		}
	}
}

// TestLeaseEveryOrder: leases of consumers that live are ended at every step, and consumers are
// killed: each message is consumed once, whole.
func TestLeaseEveryOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		kills int
		slots int
		large bool
		start func(b *borrower)
	}{
		{"1 slot, 1 producer, 2 consumers, 1 end", 0, 1, true, func(b *borrower) {
			b.Spawn(1, b.producer(1, 2, 1, 2))
			b.Spawn(2, b.consumer(2, 1, 0))
			b.Spawn(3, b.consumer(3, 1, 0))
			b.Spawn(4, b.ender(2))
		}},
		{"1 slot, 1 message, 2 consumers of one id, 1 end", 0, 1, false, func(b *borrower) {
			b.Spawn(1, b.producer(1, 1, 1, 2))
			b.Spawn(2, b.consumer(2, 1, 0))
			b.Spawn(2, b.consumer(2, 1, 0))
			b.Spawn(4, b.ender(2))
		}},
		{"1 slot, 1 producer, 2 consumers of one id, 1 end", 0, 1, true, func(b *borrower) {
			b.Spawn(1, b.producer(1, 2, 1, 2))
			b.Spawn(2, b.consumer(2, 1, 0))
			b.Spawn(2, b.consumer(2, 1, 0))
			b.Spawn(4, b.ender(2))
		}},
		{"2 slots, 2 consumers, one returns, 1 end, 1 kill", 1, 2, true, func(b *borrower) {
			b.Spawn(1, b.producer(1, 2, 1, 2))
			b.Spawn(2, b.consumer(2, 2, 2))
			b.Spawn(3, b.consumer(3, 2, 0))
			b.Spawn(4, b.ender(2))
		}},
		{"1 slot, 1 consumer, 1 end, 2 kills", 2, 1, false, func(b *borrower) {
			b.Spawn(1, b.producer(1, 1, 1, 2))
			b.Spawn(2, b.consumer(2, 2, 0))
			b.Spawn(4, b.ender(2))
		}},
		{"1 slot, 2 consumers, 1 end, 1 kill", 1, 1, true, func(b *borrower) {
			b.Spawn(1, b.producer(1, 1, 1, 2))
			b.Spawn(2, b.consumer(2, 2, 0))
			b.Spawn(3, b.consumer(3, 1, 0))
			b.Spawn(4, b.ender(2))
		}},
	} {
		exhaust(t, c.name, c.kills, c.large, func(w *world) func() error {
			b := newBorrower(newBench(w, c.slots))
			c.start(b)
			return b.check
		})
	}
}

func TestLeaseBrokenVariants(t *testing.T) {
	accesstest.Caught(t, "taken again under the same name", 0, func(w *world) func() error {
		b := newBorrower(newBench(w, 1))
		b.retake = func(r *MPMC, self uint32) (uint64, int, bool) {
			pos, n, ok := r.Retake(self, 0)
			if ok {
				i, lap := b.r.at(pos)
				access.Store("broken.name", &b.slots[i], uint64(named(taken, lap, self)))
			}
			return pos, n, ok
		}
		broken := func(id uint32) func() {
			r := b.handle()
			return func() {
				l, err := b.takeOne(r, id)
				if err != nil {
					return
				}
				v, _ := b.peek(l.pos)
				if b.r.release(id, l.pos, taken) != nil {
					b.lost++
					return
				}
				b.released(l)
				b.got = append(b.got, delivery{value: v, by: id, again: true, released: true})
			}
		}
		b.Spawn(1, b.producer(1, 2, 1, 2))
		b.Spawn(2, broken(2))
		b.Spawn(2, broken(2))
		b.Spawn(4, b.ender(2))
		return b.check
	})
	accesstest.Caught(t, "a batch that is ended", 0, func(w *world) func() error {
		b := newBorrower(newBench(w, 2))
		b.end = func(id uint32) int {
			for i := range uint64(2) {
				if w := word(access.Load("broken.look", &b.slots[i])); w.state() == batch && w.id() == id {
					b.r.endLease(i, w, 0)
				}
			}
			b.r.suspect()
			return 0
		}
		b.Spawn(1, b.producer(1, 2, 2, 1))
		b.Spawn(2, func() {
			if pos, k, err := b.r.TakeN(2, 2); err == nil {
				for j := range k {
					v, _ := b.peek(pos + uint64(j))
					b.got = append(b.got, delivery{value: v, by: 2, again: true})
				}
				if b.r.ReleaseN(2, pos, k) == nil {
					for j := range b.got {
						b.got[j].released = true
					}
				}
			}
		})
		b.Spawn(3, b.consumer(3, 1, 0))
		b.Spawn(4, b.ender(2))
		return b.check
	})
	accesstest.Caught(t, "counted when the message is consumed", 1, func(w *world) func() error {
		b := newBorrower(newBench(w, 1))
		b.retake = func(r *MPMC, self uint32) (uint64, int, bool) {
			pos, n, ok := r.Retake(self, 0)
			if i, lap := b.r.at(pos); ok {
				access.Store("broken.mark", &b.r.marks[i], uint64(markSince(lap, n-1, 0)))
			}
			return pos, n, ok
		}
		b.Spawn(1, b.producer(1, 1, 1, 1))
		seen := map[int]bool{}
		look := func(id uint32) func() {
			r := b.handle()
			return func() {
				l, err := b.takeOne(r, id)
				if err != nil {
					if b.AnyDead() {
						r.Repair(b.Alive)
					}
					return
				}
				if b.peek(l.pos); seen[l.deliveries] {
					b.fail("delivery %d twice", l.deliveries)
				}
				seen[l.deliveries] = true
				_ = b.r.giveBack(id, l.pos, l.how, 0)
			}
		}
		b.Spawn(2, look(2))
		b.Spawn(3, look(3))
		b.Spawn(4, look(4))
		return func() error { return b.fault }
	})
}

// TestMarks: what a mark says, and of which lap.
func TestMarks(t *testing.T) {
	const now = 1_800_000_000_000
	for _, lap := range []uint64{0, 1, markLapMask, markLapMask + 1, 1 << 60} {
		for _, n := range []int{1, 2, markMost, 1000} {
			for _, ms := range []int64{now, now - 1e10, now + 1e10} {
				m := markSince(lap, n, ms)
				if d := markDue(lap, n, ms); !d.Due() || m.Due() || d&^markDueBit != m {
					t.Errorf("lap %d, delivery %d, %d ms: %x", lap, n, ms, d)
				}
				if !m.Known(lap) || m.Known(lap+1) || m.Deliveries(lap) != min(n, markMost) ||
					m.Deliveries(lap+1) != 1 || m.After(now) != ms-now {
					t.Errorf("lap %d, delivery %d, %d ms: %x", lap, n, ms, m)
				}
			}
		}
	}
	if Mark(0).Known(0) {
		t.Error("no mark is one")
	}
	if d := markDue(3, 1, 0).After(now); d != 0 {
		t.Errorf("no time is %d ms away", d)
	}
}

// TestDelay: a message that was returned with a delay comes when it is due, or when producers have
// come round to it.
func TestDelay(t *testing.T) {
	const now = 1_800_000_000_000
	r := withMarks(startAt(2, 5))
	alive := func(uint32) bool { return true }
	mend := func(at int64) { r.Mend(Care{Alive: alive, Now: at}) }
	send := func() {
		t.Helper()
		pos, err := r.Claim(1)
		if err == nil {
			err = r.Publish(1, pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send()
	pos, _ := r.Take(2)
	r.Stamp(2, pos, now)
	if err := r.Return(2, pos, now+1000); err != nil {
		t.Fatal(err)
	}
	mend(now + 999)
	if _, err := r.Take(3); err != ErrEmpty {
		t.Fatal("too early:", err)
	}
	mend(now + 1000)
	p, n, ok := r.Retake(3, now+1000)
	if p != pos || n != 2 || !ok {
		t.Fatal(p, n, ok)
	}
	if err := r.ReleaseFence(3, pos); err != ErrNotHeld {
		t.Error("a lease of Retake ends by ReleaseAgain only:", err)
	}
	if err := r.ReturnAgain(3, pos, now+5000); err != nil {
		t.Fatal(err)
	}
	mend(now + 2000)
	if _, _, ok := r.Retake(3, now+2000); ok {
		t.Fatal("too early")
	}
	send()
	if p, err := r.Take(3); p != pos+1 || err != nil {
		t.Fatal(p, err)
	}
	if _, err := r.Claim(1); err != ErrFull {
		t.Fatal(err)
	}
	mend(now + 2000) // producers have come round to it
	if p, n, ok := r.Retake(3, now+2000); p != pos || n != 3 || !ok {
		t.Fatal(p, n, ok)
	}
	if !r.InTheWay(pos) || r.InTheWay(pos+1) {
		t.Error("only the first message is in the way")
	}
	if err := r.ReturnAgain(3, pos, now+2000+FullDelay); err != nil {
		t.Fatal(err)
	}
	mend(now + 2001)
	if _, _, ok := r.Retake(3, now+2001); ok {
		t.Fatal("redelivered at once where the ring is full: its consumer would be busy")
	}
	mend(now + 2000 + FullDelay)
	if p, n, ok := r.Retake(3, now+2000+FullDelay); p != pos || n != 4 || !ok {
		t.Fatal(p, n, ok)
	}
}

// TestLimit: a lease of a living consumer ends after the limit, counted from the time that it was
// seen first.
func TestLimit(t *testing.T) {
	const now = 1_800_000_000_000
	r := withMarks(startAt(4, 5))
	c := Care{Alive: func(uint32) bool { return true }, Now: now, Limit: 100, Delay: 50}
	for range 3 {
		pos, _ := r.Claim(1)
		_ = r.Publish(1, pos)
	}
	pos, _ := r.Take(2)
	_, k, _ := r.TakeN(3, 2)
	r.Mend(c)
	c.Now += 100
	if _, n, _ := r.Mend(c); n != 0 {
		t.Error("too early")
	}
	if c.Now++; k != 2 {
		t.Fatal(k)
	}
	if _, n, _ := r.Mend(c); n != 1 {
		t.Errorf("%d leases ended, want that of no batch", n)
	}
	if err := r.ReleaseFence(2, pos); err != ErrNotHeld {
		t.Error(err)
	}
	if _, n, _ := r.Mend(c); n != 0 {
		t.Error(n)
	}
	if _, _, ok := r.Retake(4, c.Now); ok {
		t.Error("before the delay")
	}
	c.Now += 50
	r.Mend(c)
	if p, n, ok := r.Retake(4, c.Now); p != pos || n != 2 || !ok {
		t.Error(p, n, ok)
	}
	if n := r.End(only(4)); n != 1 {
		t.Error(n)
	}
	if err := r.ReleaseAgain(4, pos); err != ErrNotHeld {
		t.Error(err)
	}
	if n := r.End(only(3)); n != 0 {
		t.Error("a batch was ended")
	}
}

// A mender treats leases as a process with a limit of 100 ms, at two times.
func (b *borrower) mender(id uint32, times ...int64) func() {
	r := b.handle()
	return func() {
		for _, now := range times {
			_, n, _ := r.Mend(Care{Alive: b.Alive, Now: now, Limit: 100})
			b.ended += n
		}
	}
}

// returnedLongAgo sends a message, which a consumer returns with a delay that ended long ago.
func (b *borrower) returnedLongAgo() {
	pos, err := b.r.Claim(1)
	if err == nil {
		b.write(pos, 100)
		err = b.r.Publish(1, pos)
	}
	if err == nil {
		_, err = b.r.Take(1)
	}
	if err == nil {
		err = b.r.Return(1, pos, 1)
	}
	if err != nil {
		b.fail("%v", err)
	}
	b.r.suspect()
	b.sent, b.newest[pos], b.count[100] = append(b.sent, 100), 1, 1
}

// TestLateLeaseEveryOrder: no lease ends by the limit before its time, whatever was written to the
// mark before, and whichever process is slow. The times of the menders are less than a limit apart.
func TestLateLeaseEveryOrder(t *testing.T) {
	const now = 1_000_000
	states := boundedStates // the cases have more, in a random order
	if long {
		states = mostStates
	} else if raceEnabled || testing.Short() {
		return
	}
	for _, c := range []struct {
		name  string
		kills int
		slots int
		start func(b *borrower)
	}{
		{"due long ago", 1, 1, func(b *borrower) {
			b.Spawn(2, b.consumer(2, 1, 0))
			b.Spawn(3, b.mender(3, now, now+50))
		}},
		{"due long ago, returned", 0, 1, func(b *borrower) {
			b.Spawn(2, b.consumer(2, 1, 1))
			b.Spawn(4, b.consumer(4, 2, 0))
			b.Spawn(3, b.mender(3, now, now+50))
		}},
		{"a slow stamp", 0, 1, func(b *borrower) {
			b.Spawn(2, func() {
				r := b.handle()
				if pos, _, ok := r.Retake(2, now); ok {
					r.Stamp(2, pos, 1) // its clock was read long ago
					_ = r.ReturnAgain(2, pos, 0)
				}
			})
			b.Spawn(4, b.consumer(4, 1, 0))
			b.Spawn(3, b.mender(3, now, now+50))
		}},
	} {
		accesstest.Exhaust(t, c.name, c.kills, states, true, func(w *world) func() error {
			b := newBorrower(newBench(w, c.slots))
			b.retake = func(r *MPMC, self uint32) (uint64, int, bool) { return r.Retake(self, now) }
			b.returnedLongAgo()
			c.start(b)
			return func() error {
				if b.lost > 0 {
					b.fail("a lease was lost")
				}
				return b.check()
			}
		})
	}
}

// TestLateLeaseBrokenVariant: the checker sees a mender that takes any time of a mark for that since
// when there is a lease.
func TestLateLeaseBrokenVariant(t *testing.T) {
	const now = 1_000_000
	accesstest.Caught(t, "any time of a mark", 0, func(w *world) func() error {
		b := newBorrower(newBench(w, 1))
		b.retake = func(r *MPMC, self uint32) (uint64, int, bool) { return r.Retake(self, now) }
		b.returnedLongAgo()
		b.Spawn(2, b.consumer(2, 1, 0))
		b.Spawn(3, func() {
			w := b.r.lease(0)
			m := b.r.mark(0)
			if w != 0 && w.id() != 0 && m.After(now) < -100 {
				b.r.endLease(0, w, 0)
			}
		})
		return func() error {
			if b.lost > 0 {
				b.fail("a lease was lost")
			}
			return b.check()
		}
	})
}

// TestClaimsStay: nothing ends the claim of a producer that lives, however long it lasts: the
// producer may write to the slot at any time. One that was taken for dead finds that it was, and
// publishes nothing.
func TestClaimsStay(t *testing.T) {
	const now = 1_800_000_000_000
	r := withMarks(startAt(2, 5))
	pos, err := r.Claim(2)
	if err != nil {
		t.Fatal(err)
	}
	alive := true
	c := Care{Alive: func(uint32) bool { return alive }, Now: now, Limit: 1}
	for range 3 {
		c.Now += 1_000_000
		if skips, returns, _ := r.Mend(c); skips+returns > 0 || r.End(only(2)) > 0 {
			t.Fatal("the claim was ended")
		}
		if _, err := r.Take(3); err != ErrHeld {
			t.Fatal(err)
		}
	}
	alive = false
	if skips, _, _ := r.Mend(c); skips != 1 {
		t.Fatal("the claim of a dead producer stays")
	}
	if err := r.Publish(2, pos); err != ErrNotHeld {
		t.Error("a producer that was taken for dead publishes:", err)
	}
	if err := r.PublishFence(2, pos); err != ErrNotHeld {
		t.Error("a producer that was taken for dead publishes:", err)
	}
	if _, err := r.Take(3); err != ErrEmpty {
		t.Error(err)
	}
}
