//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/world"
)

// A relay is a lock that two processes wait for while a third, which may die, holds it.
type relay struct {
	hold func(v *everything, done func()) error // calls done while it holds the lock
	take func(v *everything) error
}

// apart: of the two that wait one is in another PID namespace, so the kernel tells it of no death.
// The other one must pass on what it is told.
func (x relay) apart(r *world.Run) {
	h := r.Process("H").Spare()
	vh := open[everything](h).Value()
	var waiting []*world.Thread
	ready := func() bool {
		for _, t := range waiting {
			if !t.Blocked() {
				return false
			}
		}
		return len(waiting) == 2
	}
	held := false
	h.Go("main", func() {
		err := x.hold(vh, func() {
			held = true
			world.Await(ready)
			// not where it has freed the lock and has not yet woken: that is found by a look only
			h.Killable()
			for range 3 {
				world.Yield("holds the lock")
			}
			h.Unkillable()
		})
		must(err, "hold")
	})
	for i := range 2 {
		p := r.Process(fmt.Sprintf("W%d", i)).Spare()
		if i == 1 {
			kernel.Move(p, 1)
		}
		v := open[everything](p).Value()
		waiting = append(waiting, p.Go("main", func() {
			world.Await(func() bool { return held || h.Over() })
			if err := x.take(v); !errors.Is(err, psync.ErrOwnerDied) || !r.Killed() {
				must(err, "take")
			}
		}))
	}
}

func init() {
	mutex := relay{
		hold: func(v *everything, done func()) error {
			if err := v.Mu.Lock(background); err != nil {
				return err
			}
			done()
			return v.Mu.Unlock()
		},
		take: func(v *everything) error {
			if err := v.Mu.Lock(background); err != nil {
				return err
			}
			return v.Mu.Unlock()
		},
	}
	once := relay{
		hold: func(v *everything, done func()) error {
			return v.Once.Do(background, func() error { done(); return nil })
		},
		take: func(v *everything) error {
			return v.Once.Do(background, func() error { return nil })
		},
	}
	permits := relay{
		hold: func(v *everything, done func()) error {
			if err := v.Sem.SetLimit(2); err != nil {
				return err
			}
			if err := v.Sem.Acquire(background, 2); err != nil {
				return err
			}
			done()
			return v.Sem.Release(2)
		},
		take: func(v *everything) error { return v.Sem.Acquire(background, 1) },
	}
	scenario("semaphore-namespaces", world.Config{Kills: 1}, permits.apart)
	scenario("mutex-namespaces", world.Config{Kills: 1}, mutex.apart)
	scenario("once-namespaces", world.Config{Kills: 1}, once.apart)
}
