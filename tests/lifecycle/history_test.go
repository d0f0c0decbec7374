package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "historian", Run: historianRole})
}

// A register holds one number many times. A clock orders the operations of all processes.
type register struct{ N [16]uint64 }

type clock struct{ Now atomic.Int64 }

type call struct {
	Kind string // load, store, add
	Arg  uint64
}

// historianRole operates on the register with several goroutines, and reports the beginning and
// the end of each operation.
func historianRole(c *shmemtest.Conn) error {
	o := &shmem.Options{Dir: c.Args()[0]}
	box, err := shmem.Attach[register]("register", o)
	if err != nil {
		return err
	}
	defer box.Close()
	watch, err := shmem.Attach[clock]("clock", o)
	if err != nil {
		return err
	}
	defer watch.Close()
	now := func() int64 { return watch.Value().Now.Add(1) }
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for g := range 2 {
		wg.Go(func() {
			for range 40 {
				k := call{[]string{"load", "store", "add"}[rand.IntN(3)], rand.Uint64N(1 << 40)}
				c.Send("begin %d %d %s %d", g, now(), k.Kind, k.Arg)
				got, err := k.do(box)
				if err != nil {
					errs <- err
					return
				}
				c.Send("end %d %d %d", g, now(), got)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func (k call) do(box *shmem.Box[register]) (got uint64, err error) {
	var r register
	switch k.Kind {
	case "load":
		r, err = box.Load(context.Background())
	case "store":
		for i := range r.N {
			r.N[i] = k.Arg
		}
		return k.Arg, box.Store(context.Background(), r)
	case "add":
		err = box.Update(context.Background(), func(p *register) error {
			for i := range p.N {
				p.N[i]++
			}
			r = *p
			return nil
		})
	}
	for _, n := range r.N {
		if n != r.N[0] {
			return 0, fmt.Errorf("torn: %v", r.N)
		}
	}
	return r.N[0], err
}

// unknown is the result of an operation that was not seen to end.
const unknown = math.MaxUint64

var registerModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		n, k, got := state.(uint64), input.(call), output.(uint64)
		switch k.Kind {
		case "store":
			n = k.Arg
		case "add":
			n++
		}
		return got == n || got == unknown, n
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " → ", output) },
}

// TestHistory checks that Load, Store and Update are linearizable across processes, some of which
// are killed.
func TestHistory(t *testing.T) {
	for round := range 3 {
		dir := shmemtest.Dir(t)
		box := open[register](t, dir, "register")
		open[clock](t, dir, "clock")
		var mu sync.Mutex
		var ops []porcupine.Operation
		var wg sync.WaitGroup
		for p := range 4 {
			child := shmemtest.Start(t, "historian", dir)
			wg.Go(func() {
				lines := math.MaxInt
				if p == 0 {
					lines = 20 + rand.IntN(100)
				}
				mine := historyOf(t, child, p, lines)
				mu.Lock()
				defer mu.Unlock()
				ops = append(ops, mine...)
			})
		}
		wg.Wait()
		// A last Load sees the final value.
		last, err := box.Load(context.Background())
		check(t, err)
		ops = append(ops, porcupine.Operation{ClientId: 99, Input: call{Kind: "load"}, Output: last.N[0], Call: math.MaxInt64 - 1, Return: math.MaxInt64})
		if len(ops) < 100 {
			t.Errorf("only %d operations", len(ops))
		}
		if r := porcupine.CheckOperationsTimeout(registerModel, ops, 2*time.Minute); r != porcupine.Ok {
			t.Errorf("%d operations are %v", len(ops), r)
		}
		if round == 0 {
			wantCaught(t, ops)
		}
	}
}

// wantCaught changes one result, which the checker must notice.
func wantCaught(t *testing.T, ops []porcupine.Operation) {
	t.Helper()
	for i, op := range ops {
		if op.Input.(call).Kind == "add" && op.Output != uint64(unknown) {
			bad := append([]porcupine.Operation{}, ops...)
			bad[i].Output = op.Output.(uint64) + 1<<50
			if r := porcupine.CheckOperationsTimeout(registerModel, bad, 30*time.Second); r == porcupine.Ok {
				t.Error("the checker does not notice a wrong result")
			}
			return
		}
	}
	t.Error("no process has added anything")
}

// historyOf reads the report of a child, and kills the child after the given number of lines. An
// operation that has begun and not ended can happen at any later time.
func historyOf(t *testing.T, child *shmemtest.Child, p, lines int) (ops []porcupine.Operation) {
	var running [2]*porcupine.Operation
	for ; ; lines-- {
		if lines == 0 {
			child.Kill()
		}
		line, err := child.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		var g int
		var at int64
		var k call
		var got uint64
		if strings.HasPrefix(line, "begin") {
			if _, err := fmt.Sscanf(line, "begin %d %d %s %d", &g, &at, &k.Kind, &k.Arg); err != nil {
				t.Error(err)
			}
			running[g] = &porcupine.Operation{ClientId: 10*p + g, Input: k, Call: at}
			continue
		}
		if _, err := fmt.Sscanf(line, "end %d %d %d", &g, &at, &got); err != nil {
			t.Error(err)
		}
		op := *running[g]
		op.Return, op.Output = at, got
		ops = append(ops, op)
		running[g] = nil
	}
	for _, op := range running {
		if op != nil {
			op.Return, op.Output = math.MaxInt64, uint64(unknown)
			ops = append(ops, *op)
		}
	}
	if err := child.Wait(); err != nil && !shmemtest.Killed(err) {
		t.Error(err)
	}
	return ops
}
