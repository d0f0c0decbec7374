//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

// A register holds one number three times: a value that is half changed shows.
type register struct{ A, B, C uint64 }

func (v register) number() uint64 {
	if v.A != v.B || v.B != v.C {
		world.Fail("half a change is seen: %v", v)
	}
	return v.A
}

// calls are what the processes of a scenario do to a register, in turn.
var calls = []oracle.Change{{Add: true, N: 1}, {Read: true}, {Set: true, N: 100}}

// do makes one call and returns what the number was before.
func do(b *shmem.Box[register], c oracle.Change, view bool) (was uint64, err error) {
	switch {
	case c.Add:
		err = b.Update(background, func(v *register) error {
			was = v.number()
			v.A += c.N
			world.Yield("in Update")
			v.B += c.N
			world.Yield("in Update")
			v.C += c.N
			return nil
		})
	case c.Set:
		err = b.Store(background, register{c.N, c.N, c.N})
	case view:
		err = b.View(background, func(v *register) error {
			x := *v
			world.Yield("in View")
			if x != *v {
				world.Fail("the value changes in View: %v, %v", x, *v)
			}
			was = x.number()
			return nil
		})
	default:
		var v register
		if v, err = b.Load(background); err == nil {
			was = v.number()
		}
	}
	return was, err
}

// registers: processes change and read a box. Their calls are linearizable; a change of a process
// that dies is there or not. A Set of one that died may leave what was before.
func registers(n int, view bool, opts *shmem.Options) func(r *world.Run) {
	return func(r *world.Run) {
		var h oracle.History
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			var b *shmem.Box[register]
			p.Do(func() {
				var err error
				b, err = shmem.Open[register]("box", opts)
				must(err, "Open")
			})
			p.Go("main", func() {
				for k := range 3 {
					c := calls[(i+k)%len(calls)]
					call := h.Call(i, c)
					was, err := do(b, c, view)
					must(err, "call")
					if c.Set {
						h.Return(call, nil)
					} else {
						h.Return(call, was)
					}
				}
			})
		}
		r.Check(func() error { h.Check(oracle.Register); return nil })
	}
}

// marked: without an undo image a death in a change is told to all until one recovers the value.
func marked(view bool) func(r *world.Run) {
	return func(r *world.Run) { markedBy(r, view) }
}

func markedBy(r *world.Run, view bool) {
	opts := &shmem.Options{Slots: 4, Undo: shmem.UndoNever}
	for i := range 3 {
		p := r.Process(fmt.Sprintf("P%d", i))
		if i == 2 {
			p.Spare()
		}
		var b *shmem.Box[register]
		p.Do(func() {
			var err error
			b, err = shmem.Open[register]("box", opts)
			must(err, "Open")
		})
		p.Go("main", func() {
			for k := range 3 {
				for {
					_, err := do(b, calls[(i+k)%len(calls)], view)
					if err == nil {
						break
					}
					if !errors.Is(err, shmem.ErrOwnerDied) || !r.Killed() {
						world.Fail("call: %v", err)
					}
					must(b.Recover(background, func(v *register) error {
						*v = register{7, 7, 7}
						return nil
					}), "Recover")
				}
			}
		})
	}
}

// watching: a process waits for changes of a box until it has seen the last one.
func watching(r *world.Run) {
	changed := 0
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i))
		b := open[register](p)
		p.Go("main", func() {
			for range 2 {
				_, err := do(b, oracle.Change{Add: true, N: 1}, false)
				must(err, "Update")
				changed++
			}
		})
	}
	w := r.Process("W").Spare()
	b := open[register](w)
	w.Go("main", func() {
		for seen := uint64(0); ; {
			seen = b.Version()
			n, err := do(b, oracle.Change{Read: true}, false)
			must(err, "Load")
			if n >= 2 { // one writer at least lives to its end
				return
			}
			must(b.Wait(background, seen), "Wait")
		}
	})
}

func init() {
	four := &shmem.Options{Slots: 4}
	scenario("box", world.Config{Stops: 1}, registers(3, false, four))
	scenario("box-kill", world.Config{Kills: 1, Stops: 1}, registers(3, false, four))
	scenario("box-view", world.Config{Kills: 1, Stops: 1}, registers(3, true, four))
	scenario("box-two", world.Config{Kills: 1}, registers(2, true, four))
	scenario("box-marked", world.Config{Kills: 1}, marked(true))
	scenario("box-marked-load", world.Config{Kills: 1}, marked(false))
	scenario("box-wait", world.Config{Kills: 1}, watching)
}
