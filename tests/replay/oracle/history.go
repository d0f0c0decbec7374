package oracle

import (
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shmembox/shmem/tests/replay/world"
)

// A History notes calls and what they returned. One that never returned, since its process died,
// may have had its effect or not.
type History struct {
	ops  []porcupine.Operation
	open map[int]bool
}

// Call notes that thread client begins a call; the caller passes the number on to Return.
func (h *History) Call(client int, input any) int {
	if h.open == nil {
		h.open = map[int]bool{}
	}
	n := len(h.ops)
	h.ops = append(h.ops,
		porcupine.Operation{ClientId: client, Input: input, Call: int64(world.Running().Steps())})
	h.open[n] = true
	return n
}

// Return notes what call n returned.
func (h *History) Return(n int, output any) {
	h.ops[n].Output, h.ops[n].Return = output, int64(world.Running().Steps())
	delete(h.open, n)
}

// Drop takes call n out: it returned an error, and had no effect.
func (h *History) Drop(n int) {
	h.ops[n].Input = nil
	delete(h.open, n)
}

// Lost is the output of a call that never returned.
type Lost struct{}

// Check fails the run if no order of the calls explains what they returned.
func (h *History) Check(m porcupine.Model) {
	var ops []porcupine.Operation
	for n, op := range h.ops {
		if op.Input == nil {
			continue
		}
		if h.open[n] {
			op.Output, op.Return = Lost{}, int64(1<<62)
		}
		op.ClientId = n // a client whose call never returned makes no further one
		ops = append(ops, op)
	}
	if porcupine.CheckOperationsTimeout(m, ops, time.Minute) != porcupine.Ok {
		world.Fail("the calls are not linearizable: %v", describe(m, ops))
	}
}

func describe(m porcupine.Model, ops []porcupine.Operation) (lines []string) {
	for _, o := range ops {
		lines = append(lines, m.DescribeOperation(o.Input, o.Output))
	}
	return lines
}
