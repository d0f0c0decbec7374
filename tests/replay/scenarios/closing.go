//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/tests/replay/world"
)

// everything is one of each.
type everything struct {
	Mu   psync.Mutex
	Cond psync.Cond
	RW   psync.RWMutex
	RW2  psync.RWMutex
	Ev   psync.Event
	Sem  psync.Semaphore
	Once psync.Once
	N    int64
}

// A blocking is a call that waits, and what makes it wait: another process holds something.
type blocking struct {
	hold, free func(v *everything) error // of the other process
	call       func(v *everything) error
}

var blockings = map[string]blocking{
	"mutex": {
		hold: func(v *everything) error { return v.Mu.Lock(background) },
		free: func(v *everything) error { return v.Mu.Unlock() },
		call: func(v *everything) error { return v.Mu.Lock(background) },
	},
	"rwmutex-writer": {
		hold: func(v *everything) error { return v.RW.Lock(background) },
		free: func(v *everything) error { return v.RW.Unlock() },
		call: func(v *everything) error { return v.RW.Lock(background) },
	},
	"rwmutex-drain": {
		hold: func(v *everything) error { return v.RW.RLock(background) },
		free: func(v *everything) error { return v.RW.RUnlock() },
		call: func(v *everything) error { return v.RW.Lock(background) },
	},
	"rwmutex-reader": {
		hold: func(v *everything) error { return v.RW.Lock(background) },
		free: func(v *everything) error { return v.RW.Unlock() },
		call: func(v *everything) error { return v.RW.RLock(background) },
	},
	"semaphore": {
		hold: func(v *everything) error {
			return errors.Join(v.Sem.SetLimit(1), v.Sem.Acquire(background, 1))
		},
		free: func(v *everything) error { return v.Sem.Release(1) },
		call: func(v *everything) error { return v.Sem.Acquire(background, 1) },
	},
	"cond": {
		hold: func(v *everything) error { return nil },
		free: func(v *everything) error {
			err := v.Mu.Lock(background)
			v.N = 1
			return errors.Join(err, v.Cond.Broadcast(), v.Mu.Unlock())
		},
		call: func(v *everything) error {
			if err := v.Mu.Lock(background); err != nil {
				return err
			}
			for v.N == 0 {
				if err := v.Cond.Wait(background, &v.Mu); err != nil {
					return err
				}
			}
			return nil
		},
	},
}

// closing: a call of process A is blocked when another goroutine closes A's box and, at about the
// same time, B frees what the call waits for. A call that is in flight when Close begins returns
// ErrClosed, and holds nothing: what it held would go with the mapping, and B be told of a death.
func (c blocking) closing(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	boxB, boxA := open[everything](b), open[everything](a)
	v, u := boxA.Value(), boxB.Value()
	var m *mem.Mapping
	a.Do(func() { m = mem.Of(v) })
	b.Do(func() { must(c.hold(u), "hold") })
	caller := a.Go("call", func() {
		// What it took is still held when Close begins, which is the caller's fault.
		switch err := c.call(v); {
		case err == nil:
			closed := false
			a.Do(func() { closed = m.Closed() }) // at once: no point between the call and the look
			if closed {
				world.Fail("a call that was in flight when Close began returns nil")
			}
		case !errors.Is(err, shmem.ErrClosed):
			world.Fail("blocked call: %v", err)
		}
	})
	a.Go("close", func() {
		world.Await(func() bool { return caller.Blocked() || caller.Done() })
		must(boxA.Close(), "Close")
	})
	b.Go("main", func() {
		world.Await(func() bool { return caller.Blocked() || caller.Done() })
		// Close of a box that holds a lock
		if err := c.free(u); !errors.Is(err, psync.ErrOwnerDied) {
			must(err, "free")
		}
	})
}

func init() {
	for _, name := range []string{"mutex", "rwmutex-writer", "rwmutex-drain", "rwmutex-reader",
		"semaphore", "cond"} {
		// Close waits a while for what the caller keeps.
		scenario("close-"+name, world.Config{Local: true, Idle: time.Second},
			blockings[name].closing)
	}
}
