package wait

import (
	"testing"
	"time"
)

// WithoutBackstop takes the backstop away: whoever is not rung waits for ever, or nearly.
func WithoutBackstop(t testing.TB) {
	backstop = time.Hour
	t.Cleanup(func() { backstop = Backstop })
}

// Learn tells how long a wait spins that spun for limit at first, after one that was parked for d.
func Learn(limit, d time.Duration) time.Duration {
	var l lot
	l.buckets[0].spin.Store(int64(limit))
	l.learn(0, time.Now().Add(-d))
	return time.Duration(l.buckets[0].spin.Load())
}
