//go:build !race

package psync_test

import (
	"context"
	"testing"
)

// TestNoAllocations is [TestAllocs] for the calls that one makes less often.
func TestNoAllocations(t *testing.T) {
	_, _, v := newSeg(t)
	v.sem.SetLimit(2)
	ctx := context.Background()
	for name, f := range map[string]func(){
		"RWMutex.LockContext":  func() { v.rw.Lock(ctx); v.rw.Unlock() },
		"RWMutex.TryLock":      func() { v.rw.TryLock(); v.rw.Unlock() },
		"RWMutex.RLockContext": func() { v.rw.RLock(ctx); v.rw.RUnlock() },
		"RWMutex.TryRLock":     func() { v.rw.TryRLock(); v.rw.RUnlock() },
		"RWMutex held":         func() { v.rw.Lock(ctx); v.rw.TryLock(); v.rw.TryRLock(); v.rw.Unlock() },
		"Semaphore.TryAcquire": func() { v.sem.TryAcquire(1); v.sem.Release(1) },
		"Semaphore.Available":  func() { v.sem.Available(); v.sem.Limit() },
		"Event.IsSet":          func() { v.ev[0].IsSet() },
		"Cond.Signal":          func() { v.cond.Signal() },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
