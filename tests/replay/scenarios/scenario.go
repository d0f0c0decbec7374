//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/tests/replay/world"
)

// scenarios are all there are, in the order of their files.
var scenarios []*world.Scenario

// scenario adds one. It is called in var declarations and init functions.
func scenario(name string, c world.Config, setup func(r *world.Run)) {
	if c.Idle == 0 && (c.Kills > 0 || c.Forks > 0) {
		// A death is told by the kernel at once; the lock byte may be free a moment later, for
		// which the library looks again after 1 and 3 ms.
		c.Idle = 4 * time.Millisecond
	}
	scenarios = append(scenarios, &world.Scenario{Name: name, Config: c, Setup: func(r *world.Run) {
		step.Hook(nil)
		for name := range c.Vars {
			if !world.IsVar(name) {
				panic("no variable " + name + ": is it in rewrite.settable?")
			}
		}
		setup(r)
	}})
}

// shows says that the scenario added last fails, by a fault of that name which is not mended yet.
func shows(class world.Class, fault string) {
	s := scenarios[len(scenarios)-1]
	s.Fault, s.Class = fault, class
}

var _ = shows // at present no scenario shows a fault

// slowly runs a scenario with a hook at the steps: the library leaves its short cuts out then.
func slowly(setup func(r *world.Run)) func(r *world.Run) {
	return func(r *world.Run) {
		step.Hook(func(step.Point) {})
		setup(r)
	}
}

var background = context.Background()

// must fails the run if err is not nil.
func must(err error, what string) {
	if err != nil {
		world.Fail("%s: %v", what, err)
	}
}

// open opens the box as set-up code of p.
func open[T any](p *world.Process) (b *shmem.Box[T]) {
	p.Do(func() {
		var err error
		b, err = shmem.Open[T]("box", &shmem.Options{Slots: 4})
		must(err, "open")
	})
	return b
}
