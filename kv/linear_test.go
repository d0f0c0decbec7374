package kv_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "history", Run: history}) }

// A call of a history, and what it returned.
type call struct {
	client    int
	kind      string
	key       int
	a, b      uint64
	got       uint64
	ok        bool
	from, end int64
}

const (
	linearGoroutines = 2
	linearCalls      = 200
	linearKeys       = 3
)

// history makes calls at a map and says what it did and when.
func history(c *shmemtest.Conn) error {
	m, err := kv.Attach[int, uint64]("m", &kv.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	c.Send("ready")
	if _, err := c.Recv(); err != nil {
		return err
	}
	var all [linearGoroutines][]call
	var wg sync.WaitGroup
	for g := range all {
		wg.Go(func() {
			for range linearCalls {
				o := call{client: g, key: rand.IntN(linearKeys), a: rand.Uint64N(4), b: rand.Uint64N(4)}
				o.from = time.Now().UnixNano() // the wall clock is the same for all processes
				if err := o.do(m); err != nil {
					panic(err)
				}
				o.end = time.Now().UnixNano()
				all[g] = append(all[g], o)
			}
		})
	}
	wg.Wait()
	for _, list := range all {
		for _, o := range list {
			c.Send("call %d %s %d %d %d %d %v %d %d", o.client, o.kind, o.key, o.a, o.b, o.got, o.ok,
				o.from, o.end)
		}
	}
	c.Send("end")
	return nil
}

func (o *call) do(m *kv.Map[int, uint64]) (err error) {
	switch rand.IntN(6) {
	case 0, 1:
		o.kind = "get"
		o.got, o.ok, err = m.Get(o.key)
	case 2:
		o.kind = "swap"
		o.got, o.ok, err = m.Swap(background, o.key, o.a)
	case 3:
		o.kind = "delete"
		o.ok, err = m.Delete(background, o.key)
	case 4:
		o.kind = "cas"
		o.ok, err = kv.CompareAndSwap(background, m, o.key, o.a, o.b)
	case 5:
		o.kind = "add"
		o.got, err = kv.Add(background, m, o.key, 1, 0)
	}
	return err
}

// An entry of the model.
type entry struct {
	v     uint64
	found bool
}

// step returns whether the call can have happened in a state, and the state after it.
func (o call) step(s entry) (bool, entry) {
	set := entry{o.a, true}
	switch o.kind {
	case "get":
		return o.ok == s.found && (!s.found || o.got == s.v), s
	case "swap":
		return o.ok == s.found && (!s.found || o.got == s.v), set
	case "delete":
		return o.ok == s.found, entry{}
	case "cas":
		if !o.ok {
			return !s.found || s.v != o.a, s
		}
		return s.found && s.v == o.a, entry{o.b, true}
	}
	if s.found {
		return o.got == s.v+1, entry{s.v + 1, true}
	}
	return o.got == 1, entry{1, true}
}

// TestLinearizable: the calls of several processes at each key could have been made one after the
// other.
func TestLinearizable(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[int, uint64](t, dir, kv.Options{Capacity: linearKeys})
	children := []*shmemtest.Child{
		shmemtest.Start(t, "history", dir), shmemtest.Start(t, "history", dir),
	}
	for _, c := range children {
		c.Expect(t, "ready")
	}
	for _, c := range children {
		check(t, c.Send("go"))
	}
	var ops [linearKeys][]porcupine.Operation
	for i, c := range children {
		for {
			line, err := c.Recv()
			check(t, err)
			if line == "end" {
				break
			}
			var o call
			_, err = fmt.Sscanf(line, "call %d %s %d %d %d %d %t %d %d", &o.client, &o.kind, &o.key, &o.a,
				&o.b, &o.got, &o.ok, &o.from, &o.end)
			check(t, err)
			ops[o.key] = append(ops[o.key], porcupine.Operation{
				ClientId: i*linearGoroutines + o.client, Input: o, Call: o.from, Return: o.end,
			})
		}
	}
	model := porcupine.Model{
		Init: func() any { return entry{} },
		Step: func(s, in, _ any) (bool, any) {
			ok, next := in.(call).step(s.(entry))
			return ok, next
		},
	}
	for k, list := range ops {
		if r := porcupine.CheckOperationsTimeout(model, list, 2*time.Minute); r != porcupine.Ok {
			t.Errorf("key %d, %d calls: %v", k, len(list), r)
		}
	}
}
