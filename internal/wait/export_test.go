package wait

import (
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/mem"
)

// WithoutBackstop switches the backstop off for a test: a waiter that is not rung waits for an
// hour.
func WithoutBackstop(t testing.TB) {
	backstop = time.Hour
	t.Cleanup(func() { backstop = Backstop })
}

// AdaptSpin returns how long a wait spins after one that spun for limit and was parked for d.
func AdaptSpin(limit, d time.Duration) time.Duration {
	var l parkingLot
	l.buckets[0].spinLimit.Store(int64(limit))
	l.adaptSpin(0, time.Now().Add(-d))
	return time.Duration(l.buckets[0].spinLimit.Load())
}

// Turnstiles returns how many objects at m have a goroutine that waits for its turn or has it.
func Turnstiles(m *mem.Mapping) (n int) {
	l := lotOf(m)
	for i := range l.buckets {
		b := &l.buckets[i]
		b.mu.Lock()
		n += len(b.turnstiles)
		b.mu.Unlock()
	}
	return n
}
