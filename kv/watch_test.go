package kv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// follow sends what Watch yields for a key: the value, 0 for none.
func follow(ctx context.Context, m *kv.Map[uint64, value], k uint64) (<-chan uint64, <-chan error) {
	values, end := make(chan uint64), make(chan error, 1)
	go func() {
		for v, err := range m.Watch(ctx, k) {
			switch {
			case err != nil:
				end <- err
			case v == nil:
				values <- 0
			default:
				values <- v[0]
			}
		}
	}()
	return values, end
}

func expect(t *testing.T, values <-chan uint64, want uint64) {
	t.Helper()
	select {
	case v := <-values:
		if v != want {
			t.Fatalf("%d, want %d", v, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no change to %d is seen", want)
	}
}

// expires stores 6, which is seen, and then expires. On a loaded machine it may expire unseen, which
// is no change: so it is tried again with more time.
func expires(t *testing.T, m *kv.Map[uint64, value], values <-chan uint64) {
	t.Helper()
	for lease := 50 * time.Millisecond; ; lease *= 2 {
		check(t, m.SetFor(background, 1, valueOf(6), lease))
		select {
		case v := <-values:
			if v != 6 {
				t.Fatalf("%d, want 6", v)
			}
			expect(t, values, 0)
			return
		case <-time.After(lease):
		}
		check(t, m.Set(background, 1, valueOf(9)))
		for <-values != 9 { // what was seen late
		}
		_, err := m.Delete(background, 1)
		check(t, err)
		expect(t, values, 0)
	}
}

// TestWatch: all that happens to a key is seen, by an attachment that can write and by one that
// cannot, from the first change of the map on.
func TestWatch(t *testing.T) {
	dir := shmemtest.Dir(t)
	m := open[uint64, value](t, dir, kv.Options{Capacity: 1, Evict: true})
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	for _, opts := range []kv.Options{{}, {ReadOnly: true}} {
		w := open[uint64, value](t, dir, opts)
		values, end := follow(ctx, w, 1)
		expect(t, values, 0)
		check(t, m.Set(background, 1, valueOf(5)))
		expect(t, values, 5)
		check(t, m.Set(background, 1, valueOf(5))) // it is stored again
		expect(t, values, 5)
		_, err := m.Delete(background, 1)
		check(t, err)
		expect(t, values, 0)
		expires(t, m, values)
		check(t, m.Set(background, 1, valueOf(7)))
		expect(t, values, 7)
		check(t, m.Set(background, 2, valueOf(8))) // evicts it
		expect(t, values, 0)
		if opts.ReadOnly {
			cancel()
			if err := <-end; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		_, err = m.Delete(background, 2)
		check(t, err)
	}
}

// TestChanges: a change of any key is seen.
func TestChanges(t *testing.T) {
	dir := shmemtest.Dir(t)
	m := open[uint64, value](t, dir, kv.Options{Capacity: 1000})
	w := open[uint64, value](t, dir, kv.Options{})
	seen := make(chan uint64)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	end := make(chan error, 1)
	go func() {
		for n, err := range w.Changes(ctx) {
			if err != nil {
				end <- err
				return
			}
			seen <- n
		}
	}()
	expect(t, seen, 0)
	for k := range uint64(50) {
		check(t, m.Set(background, k, valueOf(1)))
		expect(t, seen, k+1)
	}
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestWatchSeesTheChangeOfTheDead: a process is killed when its change counts, and before it has
// told anyone.
func TestWatchSeesTheChangeOfTheDead(t *testing.T) {
	dir := shmemtest.Dir(t)
	m := open[uint64, value](t, dir, kv.Options{Capacity: 10})
	check(t, m.Set(background, 1, valueOf(1)))
	ctx, cancel := context.WithCancel(background)
	values, end := follow(ctx, m, 1)
	expect(t, values, 1)
	changed := make(chan bool, 1)
	go func() {
		n := 0
		for _, err := range m.Changes(ctx) {
			if n++; n == 2 && err == nil {
				changed <- true
			}
		}
	}()
	c := shmemtest.Start(t, "victim", dir, "replace", string(step.MapLinked))
	c.Expect(t, "reached")
	c.Kill()
	expect(t, values, 100)
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Error("Changes does not see it")
	}
	cancel()
	<-end
}

// TestUnlinked: a map whose name is taken is told so, and goes on.
func TestUnlinked(t *testing.T) {
	dir := shmemtest.Dir(t)
	m := open[int, int](t, dir, kv.Options{})
	other := open[int, int](t, dir, kv.Options{})
	check(t, other.Own())
	check(t, other.Close())
	select {
	case <-m.Unlinked():
	case <-time.After(20 * time.Second):
		t.Fatal("not told")
	}
	check(t, m.Set(background, 1, 1))
	if v, found, err := m.Get(1); v != 1 || !found || err != nil || m.Linked() {
		t.Error(v, found, err)
	}
}
