package segment

import (
	"math"
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
	n := 250
	if testing.Short() { // an emulator, perhaps: each has ten seconds for the whole queue
		n = 50
	}
	for range n {
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

// TestNothingUnderGate: no type is decoded or compared, and no page is populated, while the gate is
// held. Where the fingerprints agree no type is decoded at all.
func TestNothingUnderGate(t *testing.T) {
	number := &format.Type{Kind: format.Uint64, Size: 8, Align: 8}
	pair := func(names ...string) *format.Type {
		s := &format.Type{Kind: format.Struct, Size: 8 * len(names), Align: 8}
		for i, n := range names {
			s.Fields = append(s.Fields, format.Field{Name: n, Offset: 8 * i, Type: number})
		}
		return s
	}
	typed := func(s *format.Type) func(*Request) {
		return func(r *Request) { r.Schema, r.Size, r.Config.Append = s, s.Size, true }
	}
	reserving := func(r *Request) { r.Config.Reserve = 64 }
	composed := 0
	for _, c := range []struct {
		name          string
		create, other func(*Request)
		compares      int
	}{
		{"the same type", typed(number), typed(number), 0},
		{"raw bytes", attachAny, attachAny, 0},
		{"another type", typed(pair("a", "b")), typed(pair("a")), 1},
		{"an appended field", typed(pair("a")), typed(pair("a", "b")), 1},
		{"raw bytes that get a type", attachAny, typed(number), 1},
		{"read-only", typed(number), func(r *Request) { typed(number)(r); r.Config.ReadOnly = true }, 1},
		{"a type that is composed", typed(number), func(r *Request) {
			r.Create, r.Size = false, 0
			r.Compose = func(int, *format.Type) (*format.Type, error) { composed++; return number, nil }
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dir(t)
			open(t, d, c.create, reserving)
			compares, gated := 0, false
			composed = 0
			step.Hook(func(p step.Point) {
				switch p {
				case step.AttachGate:
					gated = true
				case step.AttachRelease:
					gated = false
				case step.AttachCompare, step.AttachPopulate, step.AttachMap:
					if gated {
						t.Errorf("%s while the gate is held", p)
					}
					if p == step.AttachCompare {
						compares++
					}
				}
			})
			defer step.Hook(nil)
			a := open(t, d, c.other)
			if compares != c.compares || composed > 1 || a.Size() < 8 {
				t.Errorf("the types are compared %d times, want %d; %d composed, %d bytes", compares,
					c.compares, composed, a.Size())
			}
		})
	}
}

// attachAny leaves a request as it is.
func attachAny(*Request) {}

// TestLargeAtOnce: 16 attachments of 64 MiB at once, which populate their pages outside the gate.
func TestLargeAtOnce(t *testing.T) {
	d := dir(t)
	large := func(r *Request) { r.Size, r.Config.Populate = 64<<20, math.MaxInt }
	open(t, d, large)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a, err := tryOpen(d, large)
			if err != nil {
				t.Error(err)
				return
			}
			if err := a.Detach(false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// readAgain attaches for reading by permission again and again, until stop is closed. The function
// that it returns waits for the end.
func readAgain(t testing.TB, d string, stop chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				o, err := newOpening(Request{Name: "s", Attach: true, Config: Config{Dir: d, ReadOnly: true}})
				if err != nil {
					t.Error(err)
					return
				}
				o.path = filepath.Join(d, "s")
				file, err := sys.Open(o.path, false)
				if err != nil {
					t.Error(err)
					return
				}
				a, err := o.join(file, false)
				if err != nil {
					t.Error(err)
					return
				}
				if err := a.Detach(false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return wg.Wait
}

// TestWritersBesideReaders: openers that can write get the gate beside any number of readers.
func TestWritersBesideReaders(t *testing.T) {
	d := dir(t)
	open(t, d)
	stop := make(chan struct{})
	wait := readAgain(t, d, stop)
	for range 200 {
		a, err := tryOpen(d)
		if err != nil {
			t.Error(err)
			break
		}
		if err := a.Detach(false); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wait()
}

// worst measures calls of f, and reports the longest in microseconds.
func worst(b *testing.B, f func()) {
	longest := time.Duration(0)
	for b.Loop() {
		began := time.Now()
		f()
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(float64(longest.Microseconds()), "worst-us")
}

func openAndClose(b testing.TB, d string, edit func(*Request)) {
	a, err := tryOpen(d, edit)
	if err != nil {
		b.Error(err)
		return
	}
	if err := a.Detach(false); err != nil {
		b.Error(err)
	}
}

// BenchmarkGate measures opening and closing alone and beside processes that may only read the file,
// and reports the worst case. Package shmem has BenchmarkOpenAtOnce.
func BenchmarkGate(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		d := dir(b)
		open(b, d)
		worst(b, func() { openAndClose(b, d, attachAny) })
	})
	b.Run("readers", func(b *testing.B) {
		d := dir(b)
		open(b, d)
		stop := make(chan struct{})
		wait := readAgain(b, d, stop)
		worst(b, func() { openAndClose(b, d, attachAny) })
		close(stop)
		wait()
	})
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
