package wait

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// MaxSpin is the longest spin before a wait parks. It is about what parking and waking cost with
// the doorbell of the system.
const MaxSpin = sys.MaxSpin

// Times and counts of a ledger.
const (
	maxDebt   = 8 * MaxSpin // what spinning may lose before it stops
	trialDebt = 4 * MaxSpin // what a later trial may lose
	firstRest = 64          // waits without a spin before a trial
	lastRest  = 4096        // most such waits; each rest is twice the last
)

// A ledger says whether spinning pays for the waits of one bucket.
//
// A spin that ends because the condition holds saves what parking costs, MaxSpin, less the time
// that it took. Any other spin loses its time: on a loaded machine the spin may even keep the CPU
// from the process that it waits for. What is lost and not won back is the debt. At maxDebt the
// bucket's waits park at once, except for a short trial from time to time. So spinning that does
// not pay costs a small part of what parking costs.
//
// Goroutines change a ledger without a lock. An update that is lost changes an estimate.
type ledger struct {
	debt atomic.Int64 // ns
	rest atomic.Int32 // waits to come that do not spin
	next atomic.Int32 // length of the next rest; 0: firstRest
}

// allows reports whether this wait may spin.
func (l *ledger) allows() bool {
	n := l.rest.Load()
	if n <= 0 {
		return true
	}
	if n == 1 {
		l.debt.Store(int64(maxDebt - trialDebt))
	}
	l.rest.Store(n - 1)
	return false
}

// record enters a spin that took d.
func (l *ledger) record(d time.Duration, hit bool) {
	saved := -d
	if hit {
		saved += MaxSpin // less than 0 if the thread was preempted meanwhile
	}
	debt := max(l.debt.Load()-int64(saved), 0)
	l.debt.Store(debt)
	switch {
	case saved > 0:
		l.next.Store(0)
	case debt >= int64(maxDebt):
		n := max(l.next.Load(), firstRest)
		// Two sides that rest equally long would never try at the same time.
		l.rest.Store(n + int32(d&15))
		l.next.Store(min(2*n, lastRest))
	}
}

// State of spinning in this process.
var (
	spinOption atomic.Int64 // what SetSpinLimit was called with, + 1; 0: automatic
	spinAuto   atomic.Int64 // the automatic limit, + 1; 0: not measured yet
	spinAutoAt atomic.Int64 // when it was measured, since processStart
	spinning   atomic.Int64 // goroutines that spin

	spinsPaid    atomic.Uint64
	spinsVain    atomic.Uint64
	spinsSkipped atomic.Uint64
	spinTime     atomic.Int64 // ns
)

// SetSpinLimit limits how many goroutines of this process spin at a time; 0: none. A negative n is
// the default: half of the CPUs that the process can use.
func SetSpinLimit(n int) { spinOption.Store(int64(max(n, -1)) + 1) }

// A SpinStats says how goroutines of this process spin. The public one in package shmem has the
// same fields.
type SpinStats struct {
	Limit    int
	Spinning int
	Paid     uint64
	Vain     uint64
	Skipped  uint64
	Time     time.Duration
}

// ReadSpinStats returns the counts since the process began.
func ReadSpinStats() SpinStats {
	return SpinStats{
		Limit: int(spinLimit()), Spinning: int(max(spinning.Load(), 0)),
		Paid: spinsPaid.Load(), Vain: spinsVain.Load(), Skipped: spinsSkipped.Load(),
		Time: time.Duration(spinTime.Load()),
	}
}

// remeasure is how often the automatic limit is measured: GOMAXPROCS and quotas can change.
const remeasure = 5 * time.Second

// spinLimit returns how many goroutines may spin at a time. The other CPUs do work, perhaps the
// work that is waited for. With one CPU none spins.
func spinLimit() int64 {
	if n := spinOption.Load(); n > 0 {
		return n - 1
	}
	at, n := int64(clock()), spinAuto.Load()
	last := spinAutoAt.Load()
	if n > 0 && at-last < int64(remeasure) {
		return n - 1
	}
	if n == 0 || spinAutoAt.CompareAndSwap(last, at) {
		n = int64(usableCPUs()/2) + 1
		spinAuto.Store(n)
		spinAutoAt.Store(at)
	}
	return n - 1
}

// usableCPUs returns how many CPUs this process can use at a time, by GOMAXPROCS and by the quota
// of its cgroup.
func usableCPUs() int {
	n := runtime.GOMAXPROCS(0)
	if q := sys.CPUQuota(); q > 0 {
		n = min(n, int(q))
	}
	return n
}

// startSpin reports whether the caller may spin. If so the caller subtracts 1 from spinning
// afterwards.
func startSpin() bool {
	limit := spinLimit()
	if limit == 0 {
		return false
	}
	if spinning.Add(1) > limit {
		spinning.Add(-1)
		return false
	}
	return true
}

// Spin spins as Until does before it parks, and reports whether ready holds. m is pinned, or nil
// for ordinary memory.
func Spin(m *mem.Mapping, armed *atomic.Uint32, ready func() bool) bool {
	if ready() {
		return true
	}
	if m != nil && !hasSlot(m) {
		return false
	}
	l := lotOf(m)
	return l.spin(l.bucketOf(armed), ready)
}

// YieldLines pauses for about 3 µs before a wait at a queue with room for n messages, if at least
// 16 messages have come since the last wait. Meanwhile the other side gets ahead undisturbed: when
// both sides use the same cache line both are slower than one alone.
func YieldLines(sinceLastWait uint64, n int) {
	const stream = 16
	if sinceLastWait >= stream && n >= 16*stream && startSpin() {
		pause(160)
		spinning.Add(-1)
	}
}

// spin spins until ready holds, at most for MaxSpin, and reports whether it holds. It does not spin
// where that has not paid lately, and while too many goroutines do.
func (l *parkingLot) spin(k int, ready func() bool) bool {
	ledger := &l.buckets[k].spins
	if !ledger.allows() || !startSpin() {
		spinsSkipped.Add(1)
		return false
	}
	defer spinning.Add(-1) // also when memory faults
	start := clock()       // startSpin may have measured the limit
	for {
		pause(8)
		hit := ready()
		d := clock() - start
		if !hit && d < MaxSpin {
			continue
		}
		ledger.record(d, hit)
		spinTime.Add(int64(d))
		if hit {
			spinsPaid.Add(1)
		} else {
			spinsVain.Add(1)
		}
		return hit
	}
}
