//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

type locked struct {
	Mu psync.Mutex
	N  uint64
}

// lockMutex locks, and recovers where the holder has died.
func lockMutex(p *world.Process, mu *psync.Mutex, s *oracle.Section) {
	for {
		err := mu.Lock(background)
		if err == nil {
			s.Enter(p)
			return
		}
		if !errors.Is(err, psync.ErrOwnerDied) || !world.Running().Killed() {
			world.Fail("%s: Lock: %v", p.Name, err)
		}
		must(mu.Recover(background, func() error { s.Recovered(); return nil }), "Recover")
	}
}

// Processes count under a mutex. None is in twice, none waits for nothing, a death is told.
func mutexes(n, rounds int) func(r *world.Run) {
	return func(r *world.Run) {
		var s oracle.Section
		var v *locked
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			v = open[locked](p).Value()
			v := v
			p.Go("main", func() {
				for range rounds {
					lockMutex(p, &v.Mu, &s)
					was := v.N
					world.Yield("in the section")
					v.N = was + 1
					s.Leave(p)
					must(v.Mu.Unlock(), "Unlock")
				}
			})
		}
		r.Check(func() error {
			if want := uint64(n * rounds); !r.Killed() && v.N != want {
				return fmt.Errorf("counted %d, want %d", v.N, want)
			}
			return nil
		})
	}
}

func init() {
	scenario("mutex", world.Config{Stops: 1}, mutexes(3, 2))
	scenario("mutex-kill", world.Config{Kills: 1, Stops: 1}, mutexes(3, 2))
}
