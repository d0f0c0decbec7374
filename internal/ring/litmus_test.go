package ring

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// One side publishes, then loads the armed word. The other side arms, then looks for a message. At
// least one of them must see the other, or the message waits for the backstop. The test can fail
// only with two processors: with Publish in place of either it loses some messages in ten
// thousand.
func TestLitmus(t *testing.T) {
	const n = 64
	t.Run("PublishFence", func(t *testing.T) {
		h := new(MPMCBytesHeader)
		b, err := NewMPMCBytes(h, make([]atomic.Uint64, n), make([]Extent, n), 1<<12)
		if err != nil {
			t.Fatal(err)
		}
		pos := uint64(0)
		litmus(t, &h.MPMCHeader, b.q,
			func() bool {
				var err error
				pos, _, err = b.Claim(1, 8)
				return err == nil
			},
			func() error { return b.PublishFence(1, pos) })
	})
	t.Run("PublishNext", func(t *testing.T) {
		h := new(MPMCHeader)
		r, err := NewMPMC(h, SideBySide(make([]atomic.Uint64, n)))
		if err != nil {
			t.Fatal(err)
		}
		var next Next
		litmus(t, h, r,
			func() (ok bool) { next, ok = r.ClaimNext(1); return ok },
			func() error { return r.PublishNext(next) })
	})
	t.Run("PublishTried", func(t *testing.T) {
		h := new(MPMCHeader)
		r, err := NewMPMC(h, SideBySide(make([]atomic.Uint64, n)))
		if err != nil {
			t.Fatal(err)
		}
		var next Next
		litmus(t, h, r,
			func() (ok bool) { next, ok = r.TryClaim(1); return ok },
			func() error {
				if !r.PublishTried(next) {
					return ErrNotHeld
				}
				return nil
			})
	})
}

func litmus(t *testing.T, h *MPMCHeader, r *MPMC, claim func() bool, publish func() error) {
	t.Helper()
	var claimed, ready, loaded, start, done, last atomic.Uint64
	var saw atomic.Uint32
	until := func(w *atomic.Uint64, v uint64) {
		for i := 0; w.Load() < v; i++ {
			if i > 1000 {
				runtime.Gosched()
			}
		}
	}
	go func() { // the sender
		for k := uint64(1); last.Load() == 0 || k <= last.Load(); k++ {
			if !claim() {
				t.Error("no claim")
			}
			claimed.Store(k)
			until(&ready, k)
			for range 20 {
				_ = h.RecvArmed.Load() // in this core's cache, as after a time without waiters
			}
			loaded.Store(k)
			until(&start, k)
			if err := publish(); err != nil {
				t.Error(err)
			}
			saw.Store(h.RecvArmed.Load() & 1) // wait.Wake
			done.Store(k)
		}
	}()
	lost := 0
	end := time.Now().Add(time.Second / 2)
	for k := uint64(1); ; k++ {
		until(&claimed, k)
		h.RecvArmed.Store(0)
		_ = r.CanTake() // so that the slot is in both caches, and a store to it takes a while
		if time.Now().After(end) {
			last.Store(k)
		}
		ready.Store(k)
		until(&loaded, k)
		start.Store(k)
		for range k % 16 {
			_ = last.Load()
		}
		a := h.RecvArmed.Load() // wait.arm
		h.RecvArmed.CompareAndSwap(a, (a+2)|1)
		can := r.CanTake()
		until(&done, k)
		if !can && saw.Load() == 0 {
			lost++
		}
		pos, err := r.Take(2)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.ReleaseFence(2, pos); err != nil {
			t.Fatal(err)
		}
		if last.Load() != 0 {
			if lost > 0 {
				t.Errorf("%d of %d wake-ups lost", lost, k)
			}
			return
		}
	}
}
