package kv_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// date is a machine's date that a test sets.
type date struct {
	ns    atomic.Int64
	after atomic.Int64 // what is added once it was asked for
}

func newDate(t *testing.T) *date {
	d := new(date)
	d.ns.Store(time.Now().UnixNano())
	t.Cleanup(kv.SetClock(d.now, 10*time.Millisecond))
	return d
}

func (d *date) now() int64 {
	defer func() { d.ns.Add(d.after.Swap(0)) }()
	return d.ns.Load()
}

func (d *date) jump(by time.Duration) { d.ns.Add(int64(by)) }

// TestDateJumps: entries expire by the date. If it is set forward they are gone at once; if it is
// set back those are there again whose room was not needed.
func TestDateJumps(t *testing.T) {
	d := newDate(t)
	m := open[int, int64](t, shmemtest.Dir(t), kv.Options{Capacity: 2})
	c := openCache(t, shmemtest.Dir(t), kv.CacheOptions{})
	check(t, m.SetFor(background, 1, 1, time.Hour))
	check(t, m.SetFor(background, 2, 2, 3*time.Hour))
	check(t, c.SetFor(background, "1", []byte("v"), time.Hour))
	is := func(when string, one, two bool) {
		t.Helper()
		for k, want := range map[int]bool{1: one, 2: two} {
			if _, found, err := m.Get(k); found != want || err != nil {
				t.Errorf("%s: %d is found: %v %v", when, k, found, err)
			}
			if _, found := contents(t, m)[k]; found != want {
				t.Errorf("%s: All has %d: %v", when, k, found)
			}
		}
		if _, found, err := c.Get("1"); found != one || err != nil {
			t.Errorf("%s: the cache has 1: %v %v", when, found, err)
		}
	}
	is("at first", true, true)
	if err := m.Set(background, 3, 3); !errors.Is(err, kv.ErrFull) {
		t.Error(err)
	}
	d.jump(2 * time.Hour)
	is("two hours later", false, true)
	d.jump(-2 * time.Hour)
	is("set back", true, true)
	d.jump(-1000 * time.Hour)
	is("set back further", true, true)
	if n, err := kv.Add(background, m, 1, 5, 0); n != 6 || err != nil {
		t.Error(n, err)
	}
	d.jump(1002 * time.Hour)
	is("forward again", false, true)
	check(t, m.Set(background, 3, 3)) // the room of the first one
	d.jump(-2 * time.Hour)
	if _, found, err := m.Get(1); found || err != nil {
		t.Error("an entry is there again whose room was needed", err)
	}
	if _, found, err := m.Get(2); !found || err != nil {
		t.Error(found, err)
	}
}

// TestWatchNoticesTheDate: a watch yields that an entry has expired since the date was set, and goes
// on if the date was set back.
func TestWatchNoticesTheDate(t *testing.T) {
	d := newDate(t)
	m := open[int, int64](t, shmemtest.Dir(t), kv.Options{})
	check(t, m.SetFor(background, 1, 7, time.Hour))
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	n := 0
	for v, err := range m.Watch(ctx, 1) {
		check(t, err)
		switch n++; {
		case n == 1 && v != nil && *v == 7:
			d.after.Store(int64(2 * time.Hour)) // when the watch knows how long it waits
		case n == 2 && v == nil:
			d.jump(-2 * time.Hour)
			check(t, m.Set(ctx, 1, 8))
		case n == 3 && v != nil && *v == 8:
			return
		default:
			t.Fatalf("value %d is %v", n, v)
		}
	}
}
