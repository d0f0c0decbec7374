package ring

import (
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
)

// accesses returns how many accesses to shared words f makes.
func accesses(f func()) (n int) {
	access.Hook = func(string, *atomic.Uint64) { n++ }
	defer func() { access.Hook = nil }()
	f()
	return n
}

// places are the sizes of rings that costs are compared for.
var places = []int{1 << 10, 1 << 16}

// sameCost fails if a call costs more in a large ring than in a small one. start returns the call,
// for a ring of n places.
func sameCost(t *testing.T, name string, start func(n int) func()) {
	t.Helper()
	var counts []int
	for _, n := range places {
		counts = append(counts, accesses(start(n)))
	}
	t.Logf("%s: %d accesses to shared words", name, counts)
	if counts[1] > counts[0] {
		t.Errorf("%s: %d accesses with %d places", name, counts, places)
	}
}

// A ring of n places that so many messages have passed, seen by a handle that has looked at it.
func passed(n, messages int) *MPMC {
	r, _ := NewMPMC(new(MPMCHeader), SideBySide(make([]atomic.Uint64, n)))
	for range messages {
		pos, _ := r.Claim(1)
		_ = r.Publish(1, pos)
		pos, _ = r.Take(2)
		_ = r.ReleaseFence(2, pos)
	}
	r.Repair(allAlive)
	return r
}

// TestCostOfPlaces: looking for dead processes, for the end of the stream and for messages that
// were returned costs no more in a large ring.
func TestCostOfPlaces(t *testing.T) {
	sameCost(t, "repair of an idle ring", func(n int) func() {
		r := passed(n, n+5)
		return func() { r.Repair(allAlive) }
	})
	sameCost(t, "first repair by another handle", func(n int) func() {
		r := passed(n, n+5)
		return func() {
			other, _ := NewMPMC(r.h, r.slots)
			other.Repair(allAlive)
		}
	})
	sameCost(t, "repair with a lease that stays out", func(n int) func() {
		r := passed(n, 5)
		lease(t, r, 2)
		for range n / 2 {
			_ = r.ReleaseFence(3, lease(t, r, 3))
		}
		r.Repair(allAlive)
		return func() { r.Repair(allAlive) }
	})
	sameCost(t, "repair with claims", func(n int) func() {
		r := passed(n, 5)
		for range n / 2 {
			_, _ = r.Claim(4)
		}
		return func() { r.Repair(allAlive) }
	})
	sameCost(t, "repair of a full ring", func(n int) func() {
		r := passed(n, 5)
		for range n {
			pos, _ := r.Claim(4)
			_ = r.Publish(4, pos)
		}
		return func() { r.Repair(allAlive) }
	})
	sameCost(t, "returning and taking again, 9 times", func(n int) func() {
		r := passed(n, n+5)
		return func() {
			pos := lease(t, r, 2)
			for range 9 {
				_ = r.returnAny(2, pos)
				if p, again, err := take(r, 2); p != pos || !again || err != nil {
					t.Error(p, again, err)
				}
			}
		}
	})
	sameCost(t, "the end", func(n int) func() {
		r := passed(n, n+5)
		r.Close()
		return func() {
			if _, err := r.Take(2); err != ErrClosed {
				t.Error(err)
			}
		}
	})
}

// lease sends a message and takes it.
func lease(t *testing.T, r *MPMC, self uint32) (pos uint64) {
	t.Helper()
	pos, err := r.Claim(1)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Publish(1, pos)
	if pos, err = r.Take(self); err != nil {
		t.Fatal(err)
	}
	return pos
}

// A producer that finds no room for its bytes looks only once at what was released.
func TestCostOfBytes(t *testing.T) {
	const n = 1 << 10
	r, _ := NewMPMCBytes(new(MPMCBytesHeader), make([]atomic.Uint64, n), make([]Extent, n), 8*n)
	for range n {
		pos, _, err := r.Claim(1, 8)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Publish(1, pos)
	}
	for range n - 1 {
		pos, _ := r.Take(2)
		_ = r.ReleaseFence(2, pos)
	}
	if r.CanClaim(8 * n) {
		t.Fatal("room beside a message")
	}
	if p := r.passed.Load(); p != n-1 {
		t.Errorf("passed %d, want %d", p, n-1)
	}
}

// TestCostOfRepairedTopic: the same for a topic.
func TestCostOfRepairedTopic(t *testing.T) {
	sameCost(t, "repair of a topic", func(n int) func() {
		r, _ := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, n), nil)
		p := r.Publisher(1)
		for range n + 5 {
			pos, _ := p.Claim()
			_ = p.Publish(pos)
		}
		return func() { r.Repair(allAlive); r.RepairAt(allAlive, r.Now()) }
	})
	sameCost(t, "repair of a topic at its oldest message", func(n int) func() {
		r, _ := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, n), nil)
		p := r.Publisher(1)
		for range n + 5 {
			pos, _ := p.Claim()
			_ = p.Publish(pos)
		}
		return func() { r.RepairAt(allAlive, 5) }
	})
}

// TestCostOfHolds: what a publisher does does not depend on how many readers can hold publishers
// back, how many do, or how far the last one is behind.
func TestCostOfHolds(t *testing.T) {
	const n = 1 << 10
	count := func(most, holds int, lag bool) int {
		r, _ := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, n), make([]Hold, most))
		p := r.Publisher(1)
		var readers []*Cursor
		for range holds {
			c, err := r.Hold(2)
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, c)
		}
		publish := func() {
			pos, err := p.Claim()
			if err != nil {
				t.Fatal(err)
			}
			_ = p.Publish(pos)
		}
		read := func(c *Cursor) {
			if _, _, err := c.Next(); err != nil || c.Done() != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			publish()
			for j, c := range readers {
				if !lag || j != holds/2 || i == 0 { // one reads only the first message
					read(c)
				}
			}
		}
		total := 0
		for range n / 2 {
			total += accesses(publish)
			for _, c := range readers {
				read(c)
			}
		}
		return total
	}
	one := count(1, 1, true)
	for _, c := range []struct {
		most, holds int
		lag         bool
	}{{64, 1, true}, {1 << 16, 1, true}, {64, 64, true}, {64, 64, false}} {
		got := count(c.most, c.holds, c.lag)
		t.Logf("%d of %d holds, one is behind: %v: %d accesses; one of one: %d",
			c.holds, c.most, c.lag, got, one)
		// Looking at all of them once a lap.
		if got > one+one/5+2*c.holds {
			t.Errorf("%+v: %d accesses, one of one: %d", c, got, one)
		}
	}
	// A publisher that is held back looks at the one hold only.
	r, _ := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 4), make([]Hold, 1<<16))
	for range 1000 {
		_, _ = r.Hold(2)
	}
	p := r.Publisher(1)
	for range 4 {
		pos, _ := p.Claim()
		_ = p.Publish(pos)
	}
	_, _ = p.Claim()
	r.CanClaim()
	if c := accesses(func() { _, _ = p.Claim(); r.CanClaim() }); c > 10 {
		t.Errorf("%d accesses of a publisher that is held back", c)
	}
}
