package wait_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/shmemtest"
)

// A mapped object is that of one of many mappings.
type mapped struct {
	path string
	s    *waittest.Seg
	o    *object
}

// mappings attaches to n segments of an object each.
func mappings(t testing.TB, n int) (all []mapped) {
	dir := shmemtest.Dir(t)
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := waittest.Create(path, mem.SizeOf[object](), 4); err != nil {
			t.Fatal(err)
		}
		s, err := waittest.Attach(path, waittest.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
		o, err := mem.At[object](s.M, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, mapped{path, s, o})
	}
	return all
}

// waitOn makes a goroutine wait at each mapping again and again, and tell of each change.
func (m mapped) waitOn(ctx context.Context, told chan<- error) {
	for old := uint32(0); ; old++ {
		err := until(ctx, m.s, m.o, old)
		told <- err
		if err != nil {
			return
		}
	}
}

// asleep waits until the leader of each mapping sleeps.
func asleep(all []mapped) {
	for _, m := range all {
		for m.s.M.Peers.Slot(int(m.s.Self.Slot())).Sleeping.Load() == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// TestManyMappings: waiters at any number of mappings take few threads, and none polls: each is
// woken although nothing but a ring wakes it. So are those whose context ends, and whose mapping
// closes.
func TestManyMappings(t *testing.T) {
	wait.WithoutBackstop(t)
	before := threads(t)
	n := 1000
	if !wait.HaveSentries() {
		n = 100 // further leaders poll, and do not say that they sleep
	}
	all := mappings(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan error, n)
	var wg sync.WaitGroup
	for _, m := range all {
		wg.Go(func() { m.waitOn(ctx, told) })
	}
	asleep(all)
	if _, berths := wait.Sentries(); wait.HaveSentries() && berths < n-wait.MaxAlone {
		t.Errorf("%d of %d leaders have a berth", berths, n)
	}
	if more := threads(t) - before; wait.HaveSentries() && more > 60 {
		t.Errorf("%d threads more for %d mappings", more, n)
	}
	expect := func(want error) {
		t.Helper()
		for range n {
			select {
			case err := <-told:
				if !errors.Is(err, want) {
					t.Fatalf("%v, want %v", err, want)
				}
			case <-time.After(rung):
				t.Fatal("a waiter was not woken")
			}
		}
	}
	for range 3 {
		for _, m := range all {
			change(m.s, m.o)
		}
		expect(nil)
	}
	cancel()
	expect(context.Canceled)
	wg.Wait()
	for _, m := range all {
		wg.Go(func() { told <- until(context.Background(), m.s, m.o, 3) })
	}
	asleep(all)
	for _, m := range all {
		m.s.Close()
	}
	expect(wait.ErrClosed)
	wg.Wait()
	if sentries, berths := wait.Sentries(); sentries+berths > 0 {
		t.Errorf("%d sentries with %d berths are left", sentries, berths)
	}
}

// TestBerthFaults: a file is truncated while a sentry watches its bell. The other mappings go on.
func TestBerthFaults(t *testing.T) {
	if !wait.OnlyBerths(t) {
		t.Log("this kernel cannot sleep on several futexes")
		return
	}
	wait.WithoutBackstop(t)
	all := mappings(t, 2)
	lost, kept := all[0], all[1]
	told := make(chan error, 1)
	faulted := make(chan any, 1)
	go func() {
		var err error
		f := lost.s.M.Guard(func() { err = until(context.Background(), lost.s, lost.o, 0) })
		faulted <- errors.Join(err, faultOf(f))
	}()
	go kept.waitOn(context.Background(), told)
	asleep(all)
	if err := os.Truncate(fmt.Sprintf("/proc/self/fd/%d", lost.s.File()), 0); err != nil {
		t.Fatal(err)
	}
	other, err := waittest.Attach(kept.path, waittest.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	o, err := mem.At[object](other.M, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		change(other, o) // wakes the sentry
		select {
		case err := <-told:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(rung):
			t.Fatalf("the other mapping is not woken, at change %d", i)
		}
	}
	select {
	case err := <-faulted:
		t.Logf("the leader whose memory is gone: %v", err)
	case <-time.After(rung):
		t.Error("the leader whose memory is gone does not find that")
	}
	kept.s.Close()
	lost.s.Close()
}

func faultOf(f *mem.Fault) error {
	if f == nil {
		return nil
	}
	return fmt.Errorf("fault at %#x", f.Addr)
}

// BenchmarkMappings is the time from a ring of another attachment, as of another process, to the
// waiter, with leaders at other mappings that sleep.
func BenchmarkMappings(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			wait.SetSpinLimit(0)
			defer wait.SetSpinLimit(-1)
			all := mappings(b, n)
			var others []mapped
			for _, m := range all {
				s, err := waittest.Attach(m.path, waittest.ReadWrite)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				o, err := mem.At[object](s.M, 0)
				if err != nil {
					b.Fatal(err)
				}
				others = append(others, mapped{m.path, s, o})
			}
			ctx, cancel := context.WithCancel(context.Background())
			told := make(chan error, n)
			for _, m := range all {
				go m.waitOn(ctx, told)
			}
			asleep(all)
			i := 0
			for b.Loop() {
				m := others[i%n]
				i += 7919
				change(m.s, m.o)
				if err := <-told; err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			cancel()
			for range n {
				<-told
			}
			for _, m := range all {
				m.s.Close()
			}
		})
	}
}
