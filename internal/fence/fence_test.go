package fence

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestSection(t *testing.T) {
	var s Section
	for range 3 {
		if !s.Enter() {
			t.Fatal("an open section is not entered")
		}
		if s.busy.Load() != 1 {
			t.Error("not busy inside")
		}
		s.Leave()
		if s.busy.Load() != 0 {
			t.Error("busy after Leave")
		}
	}
	s.Shut()
	for range 2 {
		if s.Enter() {
			t.Error("a shut section is entered")
		}
		if s.busy.Load() != 0 {
			t.Error("busy after a failed Enter")
		}
	}
	s.Shut() // a second one does not block
}

// TestShutWaits: Shut returns only after the goroutine inside has left.
func TestShutWaits(t *testing.T) {
	var s Section
	if !s.Enter() {
		t.Fatal("not entered")
	}
	var left atomic.Bool
	done := make(chan bool)
	go func() {
		s.Shut()
		done <- left.Load()
	}()
	for s.shut.Load() == 0 {
		runtime.Gosched()
	}
	select {
	case <-done:
		t.Fatal("Shut does not wait")
	default:
	}
	left.Store(true)
	s.Leave()
	select {
	case ok := <-done:
		if !ok {
			t.Error("Shut returned before Leave")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Shut does not return")
	}
}

// TestShutWhileEntering: no goroutine is inside after Shut, however the two meet.
func TestShutWhileEntering(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 100
	}
	for range rounds {
		var s Section
		var inside atomic.Int32
		entered, ended := make(chan bool), make(chan bool)
		go func() {
			defer close(ended)
			for first := true; s.Enter(); first = false {
				inside.Add(1)
				inside.Add(-1)
				s.Leave()
				if first {
					close(entered)
				}
			}
		}()
		<-entered
		s.Shut()
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d goroutines are inside after Shut", n)
		}
		<-ended
	}
}

// TestHeavy is the exchange of the package comment: one side stores and loads without a barrier,
// the other calls Heavy in between. At least one sees the other.
func TestHeavy(t *testing.T) {
	rounds := 6400
	if testing.Short() {
		rounds = 1000
	}
	type side struct {
		flag atomic.Uint32
		saw  atomic.Bool
		_    [128]byte
	}
	const spread = 64 // rounds at one meeting of the two
	for n := 0; n < rounds; n += spread {
		var light, heavy [spread]side
		var ready atomic.Int32
		done := make(chan bool)
		meet := func() {
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
		}
		go func() {
			defer close(done)
			meet()
			for i := range light {
				if Light {
					store(&light[i].flag, 1)
				} else {
					light[i].flag.Store(1)
				}
				light[i].saw.Store(heavy[i].flag.Load() != 0)
			}
		}()
		meet()
		for i := range heavy {
			heavy[i].flag.Store(1)
			Heavy()
			heavy[i].saw.Store(light[i].flag.Load() != 0)
		}
		<-done
		for i := range light {
			if !light[i].saw.Load() && !heavy[i].saw.Load() {
				t.Fatalf("neither side saw the other (Light is %v)", Light)
			}
		}
	}
}
