//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"time"

	"github.com/shmembox/shmem/tests/replay/world"
)

// large: two processes take one permit of two each, again and again, and hold it until the other
// one has the next, or for a while. So one permit at least is always taken. A third wants both.
func large(r *world.Run) {
	l := r.Process("L")
	v := open[permits](l).Value()
	l.Do(func() { must(v.Sem.SetLimit(2), "SetLimit") })
	ctx := cancelable(r, l)
	served := false
	l.Go("main", func() {
		if err := v.Sem.Acquire(ctx, 2); !done(ctx, err) {
			must(err, "Acquire of both")
			must(v.Sem.Release(2), "Release of both")
		}
		served = true
	})
	var turns [2]int
	for i := range turns {
		p := r.Process(fmt.Sprintf("S%d", i)).Spare()
		v := open[permits](p).Value()
		p.Go("main", func() {
			for !served && l.Alive() {
				other := turns[1-i]
				must(v.Sem.Acquire(background, 1), "Acquire")
				turns[i]++
				for n := 0; n < 4 && turns[1-i] == other && !served; n++ {
					world.Sleep(5 * time.Millisecond)
				}
				must(v.Sem.Release(1), "Release")
			}
		})
	}
}

// unservable: a request that can be served does not wait behind one that cannot. Two goroutines of
// a process wait; the permit that the second one wants is released.
func unservable(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	va, vb := open[permits](a).Value(), open[permits](b).Value()
	b.Do(func() {
		must(vb.Sem.SetLimit(3), "SetLimit")
		must(vb.Sem.Acquire(background, 3), "Acquire")
	})
	served := false
	first := a.Go("large", func() {
		must(va.Sem.Acquire(background, 2), "Acquire of two")
		must(va.Sem.Release(2), "Release")
	})
	second := a.Go("small", func() {
		world.Await(first.Blocked)
		must(va.Sem.Acquire(background, 1), "Acquire")
		must(va.Sem.Release(1), "Release")
		served = true
	})
	b.Go("main", func() {
		world.Await(func() bool { return second.Blocked() && first.Blocked() })
		must(vb.Sem.Release(1), "Release")
		world.Await(func() bool { return served })
		must(vb.Sem.Release(2), "Release")
	})
}

func init() {
	// What is checked is that L is served at all: the others go on for ever if it is not.
	scenario("semaphore-large", world.Config{Cancels: 1, Idle: time.Second}, large)
	scenario("semaphore-large-kill", world.Config{Kills: 1, Idle: time.Second}, large)
	scenario("semaphore-unservable", world.Config{Stops: 1, Local: true}, unservable)
}
