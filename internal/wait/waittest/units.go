package waittest

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
)

// Units are what wait.WakeN is for, with nothing around it: a count, and the armed word of those
// that wait for one of them.
type Units struct{ N, Armed atomic.Uint32 }

// Take is [Take] of a unit in memory of m.
func (u *Units) Take(ctx context.Context, m *mem.Mapping) error {
	return Take(ctx, m, &u.N, &u.Armed)
}

// Put is [Put] of n units in memory of m.
func (u *Units) Put(m *mem.Mapping, n int) { Put(m, &u.N, &u.Armed, n) }

// Take takes one of *units. It waits until there is one, or returns the error of the wait.
func Take(ctx context.Context, m *mem.Mapping, units, armed *atomic.Uint32) error {
	ready := func() bool { return units.Load() > 0 }
	for waited := false; ; {
		n := units.Load()
		switch {
		case n == 0:
			opts := wait.Options{Alike: true, NoSpin: true}
			if err := wait.Until(ctx, m, armed, ready, opts); err != nil {
				return err
			}
			waited = true
		case units.CompareAndSwap(n, n-1):
			if waited && n > 1 {
				wait.WakeN(m, armed, 1)
			}
			return nil
		}
	}
}

// Put adds n to *units and wakes as many waiters.
func Put(m *mem.Mapping, units, armed *atomic.Uint32, n int) {
	units.Add(uint32(n))
	wait.WakeN(m, armed, n)
}
