//go:build linux

package segment

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// TestGoroutinesAtGate: many goroutines of one process open one name at once, and none meets the
// deadline: they queue before the gate.
func TestGoroutinesAtGate(t *testing.T) {
	d := dir(t)
	open(t, d, func(r *Request) { r.Config.Slots = 1024 })
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 250 {
		wg.Go(func() {
			<-start
			for range 4 {
				a, err := tryOpen(d, attachOnly)
				if err != nil {
					t.Error(err)
					return
				}
				if err := a.Detach(false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	close(start)
	wg.Wait()
	gates.mu.Lock()
	defer gates.mu.Unlock()
	if len(gates.m) != 0 {
		t.Errorf("%d queues are left", len(gates.m))
	}
}

// TestNothingUnderGate: where the fingerprints agree no type is decoded while the gate is held: all
// that follows AttachGate uses what was compared before.
func TestNothingUnderGate(t *testing.T) {
	d := dir(t)
	typ := &format.Type{Kind: format.Uint64, Size: 8, Align: 8}
	typed := func(r *Request) { r.Schema, r.Size = typ, 8 }
	open(t, d, typed)
	calls, gated := 0, false
	step.Hook(func(p step.Point) {
		switch p {
		case step.AttachGate:
			gated = true
		case step.AttachRelease:
			gated = false
		}
	})
	defer step.Hook(nil)
	a := open(t, d, func(r *Request) {
		r.Create, r.Attach, r.Size = false, true, 0
		r.Compose = func(int, *format.Type) (*format.Type, error) {
			if calls++; gated {
				t.Error("a type is composed while the gate is held")
			}
			return typ, nil
		}
	})
	if calls != 1 || a.Size() != 8 {
		t.Errorf("%d calls, %d bytes", calls, a.Size())
	}
}

// TestReaderHoldsEverything: a process that may only read the file shares every lock byte but the
// gate. It delays nothing and keeps nothing.
func TestReaderHoldsEverything(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	hostile, err := sys.Open(filepath.Join(d, "s"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer hostile.Close()
	for i := range int64(256) {
		if i > 0 { // the slot of a is locked
			if err := hostile.Lock(sys.SlotByte+i, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := hostile.Lock(sys.PresenceByte, true); err != nil {
		t.Fatal(err)
	}
	a.Abandon()
	if l, err := Stat(d, "s"); err != nil || l.State != Garbage {
		t.Errorf("%v, %v, want garbage", l.State, err)
	}
	n := 0
	for _, err := range Reclaim(d) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d reclaimed", n)
	}
}

// TestReadersDoNotStarve: processes that may only read the file take no gate, so an opener that can
// write never waits for them.
func TestReadersDoNotStarve(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	if err := a.enter(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	defer a.leave()
	o, err := newOpening(Request{Name: "s", Attach: true, Config: Config{Dir: d, ReadOnly: true, Timeout: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	o.path = filepath.Join(d, "s")
	file, err := sys.Open(o.path, false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.join(file, false)
	if err != nil {
		t.Fatalf("a reader waits for the gate: %v", err)
	}
	if err := r.Detach(false); err != nil {
		t.Error(err)
	}
}
