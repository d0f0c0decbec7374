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

// A holding is how a call of blockings is undone, and how a peer sees afterwards that it was.
type holding struct {
	undo, lock, unlock func(v *everything) error
	// what is taken may stay with the attachment: it is free when that is gone
	kept bool
}

var (
	muHolding = holding{
		undo:   func(v *everything) error { return v.Mu.Unlock() },
		lock:   func(v *everything) error { return v.Mu.Lock(background) },
		unlock: func(v *everything) error { return v.Mu.Unlock() },
	}
	writeHolding = holding{
		undo:   func(v *everything) error { return v.RW.Unlock() },
		lock:   func(v *everything) error { return v.RW.Lock(background) },
		unlock: func(v *everything) error { return v.RW.Unlock() },
	}
	holdings = map[string]holding{
		"mutex":          muHolding,
		"cond":           muHolding,
		"rwmutex-writer": writeHolding,
		"rwmutex-drain":  writeHolding,
		"rwmutex-reader": {
			undo: func(v *everything) error { return v.RW.RUnlock() },
			lock: writeHolding.lock, unlock: writeHolding.unlock,
		},
		"semaphore": {
			undo:   func(v *everything) error { return v.Sem.Release(1) },
			lock:   func(v *everything) error { return v.Sem.Acquire(background, 1) },
			unlock: func(v *everything) error { return v.Sem.Release(1) },
			kept:   true,
		},
	}
)

// closing: a call of process A is blocked when another goroutine closes A's box and, at about the
// same time, B frees what the call waits for. If the call returns nil its goroutine unlocks, which
// succeeds although Close has begun since. B is never told of a death.
func (h holding) closing(r *world.Run, c blocking) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	boxB, boxA := open[everything](b), open[everything](a)
	v, u := boxA.Value(), boxB.Value()
	b.Do(func() { must(c.hold(u), "hold") })
	caller := a.Go("call", func() {
		switch err := c.call(v); {
		case err == nil:
			if err := h.undo(v); !h.kept || !errors.Is(err, shmem.ErrClosed) {
				must(err, "unlock")
			}
		case !errors.Is(err, shmem.ErrClosed):
			world.Fail("blocked call: %v", err)
		}
	})
	closer := a.Go("close", func() {
		world.Await(func() bool { return caller.Blocked() || caller.Done() })
		must(boxA.Close(), "Close")
	})
	b.Go("main", func() {
		world.Await(func() bool { return caller.Blocked() || caller.Done() })
		must(c.free(u), "free")
		if h.kept {
			world.Await(func() bool { return caller.Done() && closer.Done() })
		}
		must(h.lock(u), "lock of the peer")
		must(h.unlock(u), "unlock of the peer")
	})
}

// waiting: a goroutine calls Cond.Wait when Close may have begun already. Wait fails, and has
// unlocked the mutex.
func waiting(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	boxB, boxA := open[everything](b), open[everything](a)
	v, u := boxA.Value(), boxB.Value()
	locked := false
	caller := a.Go("call", func() {
		must(v.Mu.Lock(background), "Lock")
		locked = true
		world.Yield("locked")
		if err := v.Cond.Wait(background, &v.Mu); !errors.Is(err, shmem.ErrClosed) {
			world.Fail("Wait: %v", err)
		}
	})
	a.Go("close", func() {
		world.Await(func() bool { return locked })
		must(boxA.Close(), "Close")
	})
	b.Go("main", func() {
		world.Await(func() bool { return caller.Done() })
		must(u.Mu.Lock(background), "lock of the peer")
		must(u.Mu.Unlock(), "unlock of the peer")
	})
}

// late: while Close waits for a goroutine that holds a lock, others lock nothing any more.
func late(r *world.Run) {
	a := r.Process("A").Spare()
	box := open[everything](a)
	v := box.Value()
	mu, rw, sem := &v.Mu, &v.RW, &v.Sem // v itself is not valid after Close
	var m *mem.Mapping
	a.Do(func() { m = mem.Of(v) })
	closing := func() (yes bool) {
		a.Do(func() { yes = m.Closed() })
		return yes
	}
	locked := false
	a.Go("holder", func() {
		must(v.Mu.Lock(background), "Lock")
		locked = true
		world.Await(closing)
		must(v.Mu.Unlock(), "Unlock")
	})
	a.Go("close", func() {
		world.Await(func() bool { return locked })
		must(box.Close(), "Close")
	})
	a.Go("late", func() {
		world.Await(closing)
		for _, lock := range []func() error{
			func() error { return rw.Lock(background) },
			func() error { return rw.RLock(background) },
			func() error { return mu.Lock(background) },
			func() error { return sem.Acquire(background, 0) },
		} {
			if err := lock(); !errors.Is(err, shmem.ErrClosed) {
				world.Fail("a call that locks after Close has begun: %v", err)
			}
		}
	})
}

// holder: a goroutine closes the box while it holds a lock itself, which is the death of the
// holder.
func holder(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	boxB, boxA := open[everything](b), open[everything](a)
	v, u := boxA.Value(), boxB.Value()
	closed := false
	a.Go("close", func() {
		must(v.Mu.Lock(background), "Lock")
		must(boxA.Close(), "Close")
		closed = true
	})
	b.Go("main", func() {
		world.Await(func() bool { return closed })
		if err := u.Mu.Lock(background); !errors.Is(err, psync.ErrOwnerDied) {
			world.Fail("lock of the peer: %v", err)
		}
	})
}

func init() {
	for _, name := range []string{"mutex", "rwmutex-writer", "rwmutex-drain", "rwmutex-reader",
		"semaphore", "cond"} {
		scenario("close-holding-"+name, world.Config{Local: true}, func(r *world.Run) {
			holdings[name].closing(r, blockings[name])
		})
	}
	scenario("close-cond-wait", world.Config{Local: true}, waiting)
	scenario("close-late", world.Config{Local: true}, late)
	scenario("close-holder", world.Config{Local: true, Idle: time.Second}, holder)
}
