//go:build linux && (amd64 || arm64)

package main

import (
	"errors"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/tests/replay/world"
)

// berths makes all leaders of a scenario sleep in berths.
func berths(c world.Config) world.Config {
	c.Vars = map[string]any{"internal/wait.maxAlone": int32(0)}
	return c
}

// openNamed opens a box of that name as set-up code of p.
func openNamed(p *world.Process, name string) (b *shmem.Box[signal]) {
	p.Do(func() {
		var err error
		b, err = shmem.Open[signal](name, &shmem.Options{Slots: 4})
		must(err, "open")
	})
	return b
}

// bells: goroutines of process A wait at two mappings, whose bells one thread watches. Process B
// rings both, twice. With closing, A closes one of them meanwhile.
func bells(closing bool) func(r *world.Run) {
	return func(r *world.Run) {
		a, b := r.Process("A").Spare(), r.Process("B").Spare()
		var first *world.Thread
		var boxA *shmem.Box[signal]
		for i, name := range []string{"one", "two"} {
			box := openNamed(a, name)
			ev, vb := &box.Value().Ev, openNamed(b, name).Value()
			if i == 0 {
				boxA = box
			}
			ended := 0
			t := a.Go("wait-"+name, func() {
				for range 2 {
					err := ev.Wait(background)
					if err == nil {
						err = ev.Reset()
					}
					if closing && i == 0 && errors.Is(err, shmem.ErrClosed) {
						return
					}
					must(err, "Wait")
					ended++
				}
			})
			if i == 0 {
				first = t
			}
			b.Go("set-"+name, func() {
				for n := range 2 {
					world.Await(func() bool { return ended == n && t.Blocked() || t.Done() })
					if !t.Done() {
						must(vb.Ev.Set(), "Set")
					}
				}
			})
		}
		if closing {
			a.Go("close", func() {
				world.Await(func() bool { return first.Blocked() || first.Done() })
				if !first.Done() {
					must(boxA.Close(), "Close")
				}
			})
		}
	}
}

func init() {
	scenario("berth", berths(world.Config{Stops: 1, Local: true}), bells(false))
	scenario("berth-close", berths(world.Config{Local: true}), bells(true))
	scenario("berth-mutex", berths(world.Config{Kills: 1, Stops: 1, Wakes: 1}), counting(3, 1, 2))
	scenario("berth-event", berths(world.Config{Local: true}), settingLocally)
	scenario("berth-cancel", berths(world.Config{Local: true}), cancelling)
}
