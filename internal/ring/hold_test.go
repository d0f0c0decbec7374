package ring

import (
	"sync/atomic"
	"testing"
)

// A reader that died before it wrote its cursor holds no publisher back, and Slowest does not
// return it.
func TestHoldingWithoutCursor(t *testing.T) {
	defer func() { hook = nil }()
	r, err := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 4), make([]Hold, 2))
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		hook = func(step string, _ *atomic.Uint64) {
			if step == "hold.there" {
				panic("killed")
			}
		}
		_, _ = r.Hold(5)
	}()
	hook = nil
	if id, _ := r.Slowest(); (id != 0) != (r.Holds() != 0) {
		t.Errorf("%d hold, the slowest is %d", r.Holds(), id)
	}
	if _, holds := r.Repair(func(uint32) bool { return false }, 0); holds != 1 {
		t.Errorf("%d repaired", holds)
	}
}
