package ring

import (
	"sync/atomic"
	"testing"
)

// TestLast begins with the last messages, some of which were given up.
func TestLast(t *testing.T) {
	r, err := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 8), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Publisher(1)
	publish := func(gaveUp bool) {
		pos, err := p.Claim()
		if err == nil && gaveUp {
			err = p.Cancel(pos)
		} else if err == nil {
			err = p.Publish(pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...uint64) {
		t.Helper()
		for n, w := range want {
			if got := r.Last(uint64(n)); got != w {
				t.Errorf("last %d: from %d, want %d", n, got, w)
			}
		}
		if got := r.Last(1 << 63); got != want[len(want)-1] {
			t.Errorf("all: from %d, want %d", got, want[len(want)-1])
		}
	}
	check(0, 0)
	publish(false) // 0
	check(1, 0, 0)
	publish(true) // 1
	publish(false)
	publish(true) // 3
	check(4, 2, 0, 0)
	for range 8 { // 4 to 11
		publish(false)
	}
	check(12, 11, 10, 9, 8, 7, 6, 5, 4, 4)
	publish(true) // 12
	check(13, 11, 10, 9, 8, 7, 6, 5, 5)
}

// TestNewest passes what was given up, is being written, and comes after a death.
func TestNewest(t *testing.T) {
	r, err := NewBroadcast(new(BroadcastHeader), make([]atomic.Uint64, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, q := r.Publisher(1), r.Publisher(2)
	c := r.From(0)
	want := func(pos uint64, err error) {
		t.Helper()
		can := r.CanNewest(c.Pos())
		got, e := c.Newest()
		if e != err || err == nil && got != pos || can != (e != ErrEmpty && e != ErrHeld) {
			t.Fatalf("%d, %v (can %v), want %d, %v", got, e, can, pos, err)
		}
		if e == nil {
			if err := c.Done(); err != nil {
				t.Fatal(err)
			}
		}
	}
	claim := func(p *Publisher) uint64 {
		pos, err := p.Claim()
		if err != nil {
			t.Fatal(err)
		}
		return pos
	}
	want(0, ErrEmpty)
	a := claim(p)
	want(0, ErrHeld)
	b := claim(q)
	_ = q.Publish(b)
	want(1, nil) // newer than the one that is being written
	want(0, ErrEmpty)
	_ = p.Publish(a)
	want(0, ErrEmpty) // that is older
	_ = p.Cancel(claim(p))
	want(0, ErrEmpty)
	if c.Pos() != 3 {
		t.Errorf("at %d: what was given up is not passed", c.Pos())
	}
	for range 9 {
		_ = p.Publish(claim(p))
	}
	want(11, nil)
	dead := claim(q)
	want(0, ErrHeld)
	if c.Pos() != dead || c.PassDead(func(uint32) bool { return true }) || !c.PassDead(func(uint32) bool { return false }) {
		t.Error("the dead publisher is not passed")
	}
	want(0, ErrEmpty)
	r.Close()
	want(0, ErrClosed)
}
