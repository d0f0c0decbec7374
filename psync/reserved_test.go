package psync

import (
	"context"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/format"
)

// TestReserved: a word with the waiters bit alone is free. That of a Mutex is left so to those that
// wait, and a process that waits at a Cond does not take it for that of a dead holder.
func TestReserved(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var v struct {
		mu Mutex
		c  Cond
		rw RWMutex
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(what, err)
		}
	}
	v.rw.w.Word.Store(format.WaitersBit)
	check("RLock", v.rw.RLock(ctx))
	check("RUnlock", v.rw.RUnlock())

	check("Lock", v.mu.Lock(ctx))
	done := make(chan error)
	go func() { done <- v.c.Wait(ctx, &v.mu) }()
	for v.c.armed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	v.mu.w.Word.Store(format.WaitersBit)
	time.Sleep(50 * time.Millisecond) // Wait looks for the death of the holder
	check("Signal", v.c.Signal())
	check("Wait", <-done)
	check("Unlock", v.mu.Unlock())
}
