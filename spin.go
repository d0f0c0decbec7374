package shmem

import (
	"time"

	"github.com/shmembox/shmem/internal/wait"
)

// A SpinStats says how goroutines of this process spin: how they check a condition for up to 20 µs
// before they park. A program can publish it, as by expvar.Func.
type SpinStats struct {
	Limit    int           // goroutines that may spin at a time
	Spinning int           // goroutines that spin now
	Paid     uint64        // spins after which the goroutine did not have to park
	Vain     uint64        // spins after which it parked all the same
	Skipped  uint64        // waits without a spin: spinning did not pay lately, or by the limit
	Time     time.Duration // that all spins took
}

// SetSpinLimit limits how many goroutines of this process spin at a time; 0: no goroutine spins. A
// negative n is the default: half of the CPUs that GOMAXPROCS and the quota of the cgroup let the
// process use, so none with one CPU. It may be called at any time, and concurrently.
//
// Where the limit allows it, a goroutine spins only while that pays: where spins mostly end in
// vain, as on a loaded machine, waits park at once, except for a trial from time to time.
func SetSpinLimit(n int) { wait.SetSpinLimit(n) }

// ReadSpinStats returns the state of spinning, counted since the process began.
func ReadSpinStats() SpinStats { return SpinStats(wait.ReadSpinStats()) }
