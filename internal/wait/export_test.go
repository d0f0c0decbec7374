package wait

import (
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

// WithoutBackstop switches the backstop off for a test: a waiter that is not rung waits for an
// hour.
func WithoutBackstop(t testing.TB) {
	backstop = time.Hour
	t.Cleanup(func() { backstop = Backstop })
}

// MaxAlone is how many leaders have a thread of their own.
const MaxAlone = 16

// HaveSentries reports whether the kernel can sleep on several futexes.
func HaveSentries() bool { return haveSentries() }

// OnlyBerths makes a test's leaders sleep in berths, all of them. It reports false where the kernel
// cannot do that.
func OnlyBerths(t testing.TB) bool {
	maxAlone = 0
	t.Cleanup(func() { maxAlone = MaxAlone })
	return haveSentries()
}

// Sentries returns how many sentries there are, and their berths.
func Sentries() (n, berths int) {
	sentries.mu.Lock()
	defer sentries.mu.Unlock()
	for _, s := range sentries.all {
		s.mu.Lock()
		berths += len(s.berths)
		s.mu.Unlock()
	}
	return len(sentries.all), berths
}

// A Ledger keeps books of spins, see ledger.
type Ledger struct{ l ledger }

// Allows and Record are those of a ledger.
func (l *Ledger) Allows() bool                     { return l.l.allows() }
func (l *Ledger) Record(d time.Duration, hit bool) { l.l.record(d, hit) }

// SpinLimit returns how many goroutines may spin at a time, measured anew.
func SpinLimit() int {
	spinAuto.Store(0)
	return int(spinLimit())
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

// Guests returns how many members of groups wait at m, and whether no waiter leads there.
func Guests(m *mem.Mapping) (n int, free bool) {
	l := lotOf(m)
	return int(l.guests.n.Load()), l.token.isFree()
}

// Waiting returns how many waiters at m are not chosen.
func Waiting(m *mem.Mapping) (n int) {
	l := lotOf(m)
	for i := range l.buckets {
		b := &l.buckets[i]
		b.mu.Lock()
		n += b.unchosen
		b.mu.Unlock()
	}
	return n
}

// Watch watches an attachment.
func Watch(m *mem.Mapping, id format.ID) { lotOf(m).watch(id) }

// A wakingBell calls a function instead of sleeping.
type wakingBell struct {
	doorbell
	wake func(slot *mem.Slot)
	slot *mem.Slot
}

func (b wakingBell) sleep(uint32, time.Duration) { b.wake(b.slot) }

// WakeInstead makes the leader at m call f where it would sleep.
func WakeInstead(m *mem.Mapping, f func(slot *mem.Slot)) {
	l := lotOf(m)
	l.bell = wakingBell{l.bell, f, l.slot}
}
