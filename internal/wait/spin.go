package wait

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/mem"
)

// Limits of spinning before a wait parks.
const (
	MaxSpin = 20 * time.Microsecond // the longest spin, about what parking and waking cost
	minSpin = MaxSpin / 64
)

var noSpin atomic.Bool

// SetSpin switches spinning on or off for the process. It is on at first.
func SetSpin(on bool) { noSpin.Store(!on) }

// maxSpinners bounds the goroutines of this process that spin at a time: the other CPUs do work,
// perhaps the work that is waited for. With one CPU none spins.
var maxSpinners = int32(runtime.NumCPU() / 2)

var spinners atomic.Int32

// startSpin reports whether the caller may spin. If so the caller subtracts 1 from spinners
// afterwards.
func startSpin() bool {
	if noSpin.Load() {
		return false
	}
	if spinners.Add(1) > maxSpinners {
		spinners.Add(-1)
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
		spinners.Add(-1)
	}
}

// spin spins until ready holds, at most for the bucket's limit, and reports whether it holds. Every
// hit doubles the limit; adaptSpin halves it after a wait that had to park.
func (l *parkingLot) spin(k int, ready func() bool) bool {
	if !startSpin() {
		return false
	}
	defer spinners.Add(-1)
	b := &l.buckets[k]
	limit := b.spinLimit.Load()
	if limit == 0 {
		limit = int64(MaxSpin)
	}
	for start := time.Now(); ; {
		pause(8)
		if ready() {
			if limit < int64(MaxSpin) {
				b.spinLimit.Store(min(2*limit, int64(MaxSpin)))
			}
			return true
		}
		if int64(time.Since(start)) >= limit {
			return false
		}
	}
}

// adaptSpin sets the bucket's limit after a wait that parked. A wait that was soon over raises the
// limit: when both sides park each may be waiting for nothing but the other's wakeup. A longer wait
// halves the limit.
func (l *parkingLot) adaptSpin(k int, parked time.Time) {
	b := &l.buckets[k]
	limit := b.spinLimit.Load()
	switch {
	case limit == 0:
		limit = int64(MaxSpin)
	case time.Since(parked) <= 2*MaxSpin-time.Duration(limit):
		limit = min(2*limit, int64(MaxSpin))
	default:
		limit = max(limit/2, int64(minSpin))
	}
	b.spinLimit.Store(limit)
}
