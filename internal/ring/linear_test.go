package ring

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

type queueIn struct {
	send  bool
	value int
}

type queueOut struct {
	ok    bool
	value int
}

// A first-in first-out queue. Full is not checked: a slot is full until its message is released,
// which comes later than taken.
var queueModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		s, i, o := state.(string), in.(queueIn), out.(queueOut)
		switch {
		case i.send && o.ok:
			return true, s + string(rune(i.value))
		case i.send:
			return true, s
		case !o.ok:
			return s == "", s
		default:
			r := []rune(s)
			return len(r) > 0 && int(r[0]) == o.value, string(r[min(1, len(r)):])
		}
	},
}

// history runs goroutines on a small ring and returns what they did. It leaves out calls that
// returned ErrHeld or ErrBusy, which did nothing.
func history(seed uint64, broken bool) []porcupine.Operation {
	var h MPMCHeader
	const n = 3
	slots, items := make([]atomic.Uint64, n), make([]int, n)
	r, _ := NewMPMC(&h, SideBySide(slots))
	start := time.Now()
	var mu sync.Mutex
	var ops []porcupine.Operation
	var value atomic.Int64
	value.Store(100)
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(c)))
			self := uint32(1024 + c)
			for range 12 {
				in := queueIn{send: rnd.IntN(2) == 0}
				var out queueOut
				var err error
				var pos uint64
				if in.send {
					in.value = int(value.Add(1))
				}
				call := time.Since(start).Nanoseconds()
				if in.send {
					if pos, err = r.Claim(self); err == nil {
						items[r.Index(pos)] = in.value
						if rnd.IntN(3) == 0 {
							runtime.Gosched()
						}
						err = r.Publish(self, pos)
					}
				} else if pos, err = r.Take(self); err == nil {
					out.value = items[r.Index(pos)]
					if rnd.IntN(3) == 0 {
						runtime.Gosched()
					}
					err = r.ReleaseFence(self, pos)
				}
				ret := time.Since(start).Nanoseconds()
				if err == ErrHeld && broken {
					err = ErrEmpty // what a queue with gaps would say
				}
				if out.ok = err == nil; err != nil && err != ErrEmpty {
					continue
				}
				mu.Lock()
				ops = append(ops, porcupine.Operation{ClientId: c, Input: in, Call: call, Output: out, Return: ret})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return ops
}

func TestMPMCLinearizable(t *testing.T) {
	runs := 2000
	if long {
		runs = 50_000
	}
	total := 0
	for seed := range uint64(runs) {
		ops := history(seed, false)
		total += len(ops)
		if res := porcupine.CheckOperationsTimeout(queueModel, ops, 2*time.Minute); res != porcupine.Ok {
			t.Fatalf("seed %d: %v: %v", seed, res, ops)
		}
	}
	t.Logf("%d histories, %d operations", runs, total)
	for seed := range uint64(100_000) {
		if porcupine.CheckOperationsTimeout(queueModel, history(seed, true), 10*time.Second) == porcupine.Illegal {
			t.Logf("broken variant caught in history %d", seed)
			return
		}
	}
	t.Error("broken variant not caught")
}
