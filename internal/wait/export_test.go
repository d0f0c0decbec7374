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

// A Ledger keeps books of spins, see ledger.
type Ledger struct{ l ledger }

// Allows and Record are those of a ledger.
func (l *Ledger) Allows() bool                       { return l.l.allows() }
func (l *Ledger) Record(d time.Duration, hit bool) { l.l.record(d, hit) }

// SpinLimit returns how many goroutines may spin at a time, measured anew.
func SpinLimit() int {
	spinAuto.Store(0)
	return int(spinLimit(time.Now()))
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
