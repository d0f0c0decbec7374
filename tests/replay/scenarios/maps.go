//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"

	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

// doMap makes one call at an entry, and returns what its number was before; no entry has 0.
func doMap(m *kv.Map[uint64, register], k uint64, c oracle.Change) (was uint64, err error) {
	switch {
	case c.Add:
		err = m.Update(background, k, func(v *register, _ bool) (keep bool, err error) {
			was = v.number()
			world.Yield("in Update")
			*v = register{was + c.N, was + c.N, was + c.N}
			return true, nil
		})
	case c.Set:
		var old register
		old, _, err = m.Swap(background, k, register{c.N, c.N, c.N})
		was = old.number()
	case c.Read:
		var v register
		v, _, err = m.Get(k)
		was = v.number()
	default: // delete, which sets 0
		_, err = m.Delete(background, k)
	}
	return was, err
}

// entries: processes change, read and remove the entries of a map with room for all keys. The calls
// of each key are linearizable; a change of a process that dies is there or not.
func entries(n, keys int) func(r *world.Run) {
	return func(r *world.Run) {
		all := append(calls[:len(calls):len(calls)], oracle.Change{})
		h := make([]oracle.History, keys)
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			var m *kv.Map[uint64, register]
			p.Do(func() {
				var err error
				m, err = kv.Open[uint64, register]("map", &kv.Options{Capacity: keys, Slots: 4})
				must(err, "Open")
			})
			p.Go("main", func() {
				for j := range 4 {
					k, c := (i+j/2)%keys, all[(i+j)%len(all)]
					deletes := c == oracle.Change{}
					noted := c
					if deletes {
						noted = oracle.Change{Set: true}
					}
					call := h[k].Call(i, noted)
					was, err := doMap(m, uint64(k), c)
					must(err, "call")
					if deletes {
						h[k].Return(call, nil)
					} else {
						h[k].Return(call, was)
					}
				}
			})
		}
		r.Check(func() error {
			for k := range h {
				h[k].Check(oracle.Register)
			}
			return nil
		})
	}
}

func init() {
	scenario("map", world.Config{Kills: 2, Stops: 1}, entries(3, 1))
	scenario("map-keys", world.Config{Kills: 2, Stops: 1}, entries(3, 2))
}
