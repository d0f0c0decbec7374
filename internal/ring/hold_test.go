package ring

import (
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
)

// A reader that died before it wrote its cursor holds no publisher back, and Slowest does not
// return it.
func TestHoldingWithoutCursor(t *testing.T) {
	defer func() { access.Hook = nil }()
	r, err := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 4), make([]Hold, 2))
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		access.Hook = func(step string, _ *atomic.Uint64) {
			if step == "hold.there" {
				panic("killed")
			}
		}
		_, _ = r.Hold(5)
	}()
	access.Hook = nil
	if id, _ := r.Slowest(); (id != 0) != (r.Holds() != 0) {
		t.Errorf("%d hold, the slowest is %d", r.Holds(), id)
	}
	if _, holds := r.Repair(func(uint32) bool { return false }); holds != 1 {
		t.Errorf("%d repaired", holds)
	}
}

// A reader is killed before any of its accesses to shared memory: Repair frees its hold, also where
// it is the only one.
func TestKilledInHold(t *testing.T) {
	defer func() { access.Hook = nil }()
	for at, whole := 1, false; !whole; at++ {
		r, err := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 4), make([]Hold, 1))
		if err != nil {
			t.Fatal(err)
		}
		r.fewHolds = 0 // as in a topic with many
		n, last := 0, ""
		access.Hook = func(step string, _ *atomic.Uint64) {
			if n++; n == at {
				last = step
				panic("killed")
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, err := r.Hold(5)
			whole = err == nil
		}()
		access.Hook = nil
		r.Repair(func(id uint32) bool { return id != 5 })
		if _, err := r.Hold(6); err != nil {
			t.Errorf("after a death before access %d, %s: %v", at, last, err)
		}
	}
}

// A publisher that waits goes on when there is room for half of the ring, one that asks for
// one position with any room.
func TestCanClaimMany(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 16} {
		r, err := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, n), make([]Hold, 2))
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Hold(5)
		if err != nil {
			t.Fatal(err)
		}
		p := r.Publisher(6)
		for range n {
			pos, err := p.Claim()
			if err == nil {
				err = p.Publish(pos)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for read := range n + 1 {
			if got := r.CanClaim(); got != (read > 0) {
				t.Errorf("%d of %d read: CanClaim is %v", read, n, got)
			}
			if got := r.CanClaimMany(); got != (read >= max(n/2, 1)) {
				t.Errorf("%d of %d read: CanClaimMany is %v", read, n, got)
			}
			if read < n {
				if _, _, err := c.Next(); err != nil {
					t.Fatal(err)
				}
				if err := c.Done(); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.Close()
		if !r.CanClaimMany() {
			t.Error("a publisher at a closed ring waits")
		}
	}
}
