//go:build !portable

package wait_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
)

// twice are two attachments of one segment: what one rings the other hears by its bell.
type twice struct {
	here, there   *waittest.Seg
	hereV, thereV *values
}

func attachTwice(t *testing.T, n int) []twice {
	t.Helper()
	if !wait.HaveSentries() {
		t.Fatal("the kernel cannot sleep on several futexes")
	}
	var all []twice
	for range n {
		path, here, hereV := newSeg(t)
		there, thereV, err := attach(path, waittest.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(there.Close)
		all = append(all, twice{here, there, hereV, thereV})
	}
	return all
}

// call is a call that waits until object k of a segment has changed.
func (x *twice) call(k int) func(context.Context) error {
	o := &x.hereV.o[k]
	armed, ready := &o.armed, o.isNot(o.word.Load()) // here: after the end of the mapping o is not there
	return func(ctx context.Context) error {
		return wait.GroupOf(ctx).Enter(x.here.M, armed, ready, wait.Options{})
	}
}

// enter enters every call.
func enter(t *testing.T, g *wait.Group, calls []func(context.Context) error) {
	t.Helper()
	for i, f := range calls {
		if err := g.Call(i, true, f); err != errs.Entered {
			t.Fatal(i, err)
		}
	}
}

// nothingIsLeft checks that no waiter is registered at a segment, and that no member leads there.
func nothingIsLeft(t *testing.T, x *twice) {
	t.Helper()
	s := x.here.M.Peers.Slot(int(x.here.Self.Slot()))
	if n := s.Interest.Load(); n != 0 {
		t.Errorf("interest %#x is left", n)
	}
	if guests, lead := wait.Guests(x.here.M); guests != 0 || !lead {
		t.Errorf("%d guests are left; lead free: %v", guests, lead)
	}
	if s.Sleeping.Load() != 0 {
		t.Error("a leader seems to sleep")
	}
}

// TestGroup: a group is rung by the change of any member, from another attachment and from its own,
// at one segment and at many, and leaves nothing behind.
func TestGroup(t *testing.T) {
	wait.WithoutBackstop(t)
	const segs = 5
	all := attachTwice(t, segs)
	for round := range 200 {
		g := wait.NewGroup(2 * segs)
		var calls []func(context.Context) error
		for i := range all {
			calls = append(calls, all[i].call(0), all[i].call(65)) // of two buckets
		}
		enter(t, g, calls)
		want := round % len(calls)
		x, k := &all[want/2], want%2*65
		woken := make(chan struct{})
		go func() {
			defer close(woken)
			if round%3 == 0 {
				change(x.here, &x.hereV.o[k])
			} else {
				change(x.there, &x.thereV.o[k])
			}
		}()
		i, err := g.Wait(context.Background())
		if i != want || err != nil {
			t.Fatalf("%d, %v; want %d", i, err, want)
		}
		if err := g.Call(i, true, calls[i]); err != nil {
			t.Fatal(err)
		}
		<-woken
		g.Close()
		for i := range all {
			nothingIsLeft(t, &all[i])
		}
	}
}

// TestGroupLooks: a call that only looks registers nothing, and a context that is done ends Wait.
func TestGroupLooks(t *testing.T) {
	all := attachTwice(t, 1)
	x := &all[0]
	g := wait.NewGroup(1)
	if err := g.Call(0, false, x.call(0)); err != errs.Entered {
		t.Error(err)
	}
	nothingIsLeft(t, x)
	enter(t, g, []func(context.Context) error{x.call(0)})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	if i, err := g.Wait(ctx); i != -1 || err != context.Canceled {
		t.Error(i, err)
	}
	g.Close()
	nothingIsLeft(t, x)
}

// TestGroupBeside: a group and ordinary waiters of the same mapping lead in turn, and each of them
// is rung.
func TestGroupBeside(t *testing.T) {
	wait.WithoutBackstop(t)
	all := attachTwice(t, 2)
	var waiters sync.WaitGroup
	var rounds, grouped atomic.Uint32
	for range 3 {
		waiters.Go(func() {
			for n := uint32(0); n < 100; n++ {
				if err := until(context.Background(), all[0].here, &all[0].hereV.o[1], n); err != nil {
					t.Error(err)
					return
				}
				rounds.Add(1)
			}
		})
	}
	waiters.Go(func() {
		calls := []func(context.Context) error{nil, nil}
		for n := uint32(0); n < 100; n++ {
			for i := range calls {
				o := &all[i].hereV.o[1]
				calls[i] = func(ctx context.Context) error {
					return wait.GroupOf(ctx).Enter(all[i].here.M, &o.armed, o.isNot(n), wait.Options{})
				}
			}
			if err := selectOf(calls); err != nil {
				t.Error(err)
				return
			}
			grouped.Add(1)
		}
	})
	for n := range uint32(100) {
		for rounds.Load() < 3*n || grouped.Load() < n {
			time.Sleep(20 * time.Microsecond)
		}
		change(all[0].there, &all[0].thereV.o[1])
		if n%2 == 0 {
			change(all[1].there, &all[1].thereV.o[1])
		} else {
			all[1].thereV.o[1].word.Add(1) // in step, and not rung
		}
	}
	waiters.Wait()
	for i := range all {
		nothingIsLeft(t, &all[i])
	}
}

// selectOf waits until one of the calls returns something else than errs.Entered.
func selectOf(calls []func(context.Context) error) error {
	g := wait.NewGroup(len(calls))
	defer g.Close()
	for i, f := range calls {
		if err := g.Call(i, true, f); err != errs.Entered {
			return err
		}
	}
	for {
		i, err := g.Wait(context.Background())
		if err != nil {
			return err
		}
		if err := g.Call(i, true, calls[i]); err != errs.Entered {
			return err
		}
	}
}

// TestGroupClosing: the end of a mapping ends a group's wait there.
func TestGroupClosing(t *testing.T) {
	wait.WithoutBackstop(t)
	path, _, _ := newSeg(t)
	s, v, err := attach(path, waittest.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	x := twice{here: s, hereV: v}
	g := wait.NewGroup(1)
	call := x.call(0)
	enter(t, g, []func(context.Context) error{call})
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	if i, err := g.Wait(context.Background()); i != 0 || err != nil {
		t.Error(i, err)
	}
	if err := g.Call(0, true, call); !errors.Is(err, wait.ErrClosed) {
		t.Error(err)
	}
	g.Close()
	<-closed
}

// TestGroupPassesOn: a member that was chosen passes that on when it leaves.
func TestGroupPassesOn(t *testing.T) {
	wait.WithoutBackstop(t)
	all := attachTwice(t, 1)
	x := &all[0]
	o := &x.hereV.o[0]
	g := wait.NewGroup(1)
	enter(t, g, []func(context.Context) error{x.call(0)})
	done := make(chan error, 1)
	go func() { done <- until(context.Background(), x.here, o, 0) }()
	for wait.Waiting(x.here.M) < 2 {
		time.Sleep(50 * time.Microsecond)
	}
	x.thereV.o[0].word.Add(1)
	wait.WakeN(x.there.M, &x.thereV.o[0].armed, 1)
	if i, err := g.Wait(context.Background()); i != 0 || err != nil {
		t.Fatal(i, err)
	}
	g.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the other waiter is not woken")
	}
}
