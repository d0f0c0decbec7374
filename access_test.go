package shmem_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

type pair struct{ A, B uint64 }

func openPair(t testing.TB, o shmem.Options) *shmem.Box[pair] {
	t.Helper()
	o.Dir = shmemtest.Dir(t)
	box, err := shmem.Open[pair]("pair", &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box
}

func TestUpdate(t *testing.T) {
	box := openPair(t, shmem.Options{})
	set := func(v uint64) func(*pair) error {
		return func(p *pair) error { *p = pair{v, v}; return nil }
	}
	if err := box.Update(context.Background(), set(1)); err != nil {
		t.Fatal(err)
	}
	oops := errors.New("oops")
	if err := box.Update(context.Background(), func(p *pair) error { p.A = 9; return oops }); err != oops {
		t.Errorf("the function's error became %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		box.Update(context.Background(), func(p *pair) error { p.B = 9; panic("boom") })
	}()
	err := box.View(context.Background(), func(p *pair) error {
		if *p != (pair{1, 1}) {
			t.Errorf("after a failed Update: %v", *p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := box.Load(context.Background()); err != nil || v != (pair{1, 1}) {
		t.Errorf("Load: %v %v", v, err)
	}
	before := box.Version()
	if err := box.Store(context.Background(), pair{2, 2}); err != nil || box.Version() != before+1 {
		t.Errorf("Store: %v, version %d after %d", err, box.Version(), before)
	}
	if v, _ := box.Load(context.Background()); v != (pair{2, 2}) {
		t.Errorf("Load after Store: %v", v)
	}
}

func TestWatch(t *testing.T) {
	box := openPair(t, shmem.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := make(chan pair)
	ended := make(chan error, 1)
	go func() {
		for v, err := range box.Watch(ctx) {
			if err != nil {
				ended <- err
				return
			}
			seen <- v
		}
	}()
	for i := range uint64(3) {
		if v := <-seen; v.A != i {
			t.Errorf("saw %v, want %d", v, i)
		}
		if err := box.Store(ctx, pair{i + 1, i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	<-seen
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
