package queue_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// TestManyDelays: messages that are returned with a delay share a goroutine, which ends with the
// queue, and all of them come again.
func TestManyDelays(t *testing.T) {
	const n = 1100 // more than there are times at once
	q := open[int](t, shmemtest.Dir(t), func(o *queue.Options) { o.Capacity = 2 * n })
	before := runtime.NumGoroutine()
	var taken []*queue.Lease[int]
	for i := range n {
		check(t, q.Send(background, i))
		l, err := q.TryTake()
		check(t, err)
		taken = append(taken, l)
	}
	for i, l := range taken {
		check(t, l.Back(10*time.Millisecond+time.Duration(i)*time.Millisecond))
	}
	if k := runtime.NumGoroutine() - before; k > n/10 {
		t.Errorf("%d goroutines for %d messages", k, n)
	}
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	got := map[int]bool{}
	for range n {
		v, err := q.Recv(ctx)
		check(t, err)
		got[v] = true
	}
	if len(got) != n {
		t.Errorf("%d messages, want %d", len(got), n)
	}
}

// TestDelayAndClose: a time that is far away keeps no goroutine beyond Close, and one that is nearer
// does not wait for it.
func TestDelayAndClose(t *testing.T) {
	dir := shmemtest.Dir(t)
	before := runtime.NumGoroutine()
	q, err := queue.Create[int]("q", options(dir))
	check(t, err)
	for i, delay := range []time.Duration{1<<63 - 1, time.Hour, 10 * time.Millisecond} {
		check(t, q.Send(background, i))
		l, err := q.TryTake()
		check(t, err)
		check(t, l.Back(delay))
	}
	v, err := q.Recv(background)
	check(t, err)
	if v != 2 {
		t.Errorf("received %d, want 2", v)
	}
	check(t, q.Close())
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}
