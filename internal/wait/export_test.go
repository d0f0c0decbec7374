package wait

import (
	"testing"
	"time"
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
