//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/tests/replay/world"
)

// units has objects of which U[0] and U[second] are waited for in the same bucket.
type units struct{ U [512]waittest.Units }

func (v *units) second() int {
	m := mem.Of(v)
	bucket := func(i int) int { return layout.Bucket(uintptr(mem.Offset(m, &v.U[i].Armed))) }
	for i := 1; i < len(v.U); i++ {
		if bucket(i) == bucket(0) {
			return i
		}
	}
	panic("no two objects share a bucket")
}

func take(u *waittest.Units) { must(u.Take(background, mem.Of(u)), "take") }

func put(u *waittest.Units) { u.Put(mem.Of(u), 1) }

// unrung: two processes wait for a unit each. K, which puts one, may die. W puts what is missing
// then: both get one, also if K has chosen one of them and has not rung it.
func unrung(r *world.Run) {
	w := r.Process("W").Spare() // its slot is the first: it looks at those that wait in their order
	vw := open[units](w).Value()
	taken := 0
	var waiting []*world.Thread
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i)).Spare()
		v := open[units](p).Value()
		waiting = append(waiting, p.Go("takes", func() {
			take(&v.U[0])
			taken++
		}))
	}
	k := r.Process("K")
	vk := open[units](k).Value()
	puts := k.Go("puts", func() {
		world.Await(func() bool { return waiting[0].Blocked() && waiting[1].Blocked() })
		put(&vk.U[0])
	})
	w.Go("puts", func() {
		world.Await(func() bool { return puts.Done() || !k.Alive() })
		for range 2 - int(vw.U[0].N.Load()) - taken {
			put(&vw.U[0])
		}
	})
}

// apart: a process for each of two objects waits for a unit of it. Two others put one each.
func apart(r *world.Run) {
	var waiting []*world.Thread
	object := func(v *units, i int) *waittest.Units { return &v.U[[]int{0, v.second()}[i]] }
	var at [4]*waittest.Units
	for i := range at {
		p := r.Process(fmt.Sprintf("P%d", i)).Spare()
		v := open[units](p).Value()
		p.Do(func() { at[i] = object(v, i%2) })
		if i < 2 {
			waiting = append(waiting, p.Go("takes", func() { take(at[i]) }))
			continue
		}
		p.Go("puts", func() {
			for _, t := range waiting {
				world.Await(func() bool { return t.Blocked() || t.Done() })
			}
			put(at[i])
		})
	}
}

func init() {
	scenario("units-unrung", world.Config{Kills: 1}, unrung)
	scenario("units-apart", world.Config{}, apart)
}
