package limit

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// A Bucket is the state of a rate limit. It lives in memory that processes share, inside the value
// of a box. The zero value is a full bucket. It must not be copied while it is in use.
type Bucket struct {
	_    noCopy
	boot atomic.Uint64 // the start of the machine that full counts from; 0: none yet
	full atomic.Uint64 // the time at which the bucket is full, in ticks; it may have passed
}

// noCopy makes go vet report copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// Times in a bucket are numbers of ticks since the machine's start. They wrap around after 9 years,
// so only their differences are compared.
const (
	ticksPerNano = 64
	// maxTicks is the longest time that a bucket needs to be full, and that a token takes to come:
	// 2.28 years. A time further ahead is not one that a Limiter has stored.
	maxTicks = 1 << 62
)

// ticks returns the time t in ticks.
func ticks(t time.Time) uint64 { return uint64(sys.Uptime(t)) * ticksPerNano }

// nanos returns ticks as a duration, rounded up.
func nanos(ticks int64) time.Duration {
	return time.Duration((ticks + ticksPerNano - 1) / ticksPerNano)
}

// load returns the time at which the bucket is full. If it counts from another start of the machine
// load makes the bucket full, in these steps; a process may be killed at each of them:
//
//  1. It clears the time (step.LimitStale),
//  2. and stores the number of this start (step.LimitBoot).
//
// The number is loaded again after the time: if it is still the old one, no process had drawn from
// the bucket since this start when the time was loaded. So the swap to zero never drops a token.
func (b *Bucket) load() uint64 {
	now := sys.Boot()
	for {
		boot := b.boot.Load()
		if boot == now || now == 0 {
			return b.full.Load()
		}
		full := b.full.Load()
		if b.boot.Load() != boot {
			continue
		}
		if full == 0 || b.full.CompareAndSwap(full, 0) {
			step.Reach(step.LimitStale)
			b.boot.CompareAndSwap(boot, now)
			step.Reach(step.LimitBoot)
		}
	}
}

// A draw is what a decision on the bucket comes to.
type draw struct {
	next uint64 // the time at which the bucket is full after it
	wait int64  // ticks until the tokens are there; not positive: they are there now
}

// draws decides on n tokens, which take cost ticks to come, at the time now. depth is the time in
// which an empty bucket fills.
func draws(full, now uint64, cost, depth int64) draw {
	from := now
	if ahead := int64(full - now); ahead > 0 && ahead <= maxTicks {
		from = full
	}
	next := from + uint64(cost)
	return draw{next, int64(next-now) - depth}
}

// depthOf returns the ticks in which an empty bucket of burst tokens fills, and a little more, less
// than a token takes: one that is taken alone is rounded up to a tick, and a full bucket has burst
// of these. It reports false if nothing is allowed.
func depthOf(burst int, r Limit) (ticks int64, ok bool) {
	ticks, ok = costOf(burst, r)
	if !ok || !(r > 0) {
		return 0, false
	}
	if one, _ := costOf(1, r); one > 1 && burst > 0 { // the product is below 1<<62
		ticks = max(ticks, min(int64(burst)*one, ticks+one-1))
	}
	return ticks, true
}

// costOf returns the ticks in which n tokens come. It reports false if they take too long.
func costOf(n int, r Limit) (ticks int64, ok bool) {
	c := math.Ceil(float64(n) * float64(time.Second) * ticksPerNano / float64(r))
	if !(c <= maxTicks/2) { // also where c is NaN
		return 0, false
	}
	return int64(c), true
}
