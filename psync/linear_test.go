package psync_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "history", Run: history}) }

// An op of a history: what was done, and whether it did it (a try may not).
type op struct {
	kind       string
	n          int
	call, done int64
	ok         bool
	client     int
}

const (
	linearGoroutines = 2
	linearOps        = 150
)

// history works at one of the locks and says what it did and when.
func history(c *shmemtest.Conn) error {
	_, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var ops []op
	// The wall clock is the same for all processes.
	record := func(client int, kind string, n int, f func() (bool, error)) bool {
		o := op{kind: kind, n: n, client: client, call: time.Now().UnixNano()}
		ok, err := f()
		o.done, o.ok = time.Now().UnixNano(), ok
		if err != nil {
			panic(fmt.Sprintf("%s: %v", kind, err))
		}
		mu.Lock()
		ops = append(ops, o)
		mu.Unlock()
		return ok
	}
	did := func(f func() error) func() (bool, error) { return func() (bool, error) { return true, f() } }
	ctx := context.Background()
	c.Send("ready")
	if _, err := c.Recv(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for g := range linearGoroutines {
		wg.Go(func() {
			for range linearOps {
				try := rand.IntN(3) == 0
				inside := func() {
					if rand.IntN(3) == 0 {
						time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
					}
				}
				switch c.Args()[1] {
				case "mutex":
					if try {
						if !record(g, "try", 0, v.mu.TryLock) {
							continue
						}
					} else {
						record(g, "lock", 0, did(func() error { return v.mu.Lock(ctx) }))
					}
					inside()
					record(g, "unlock", 0, did(v.mu.Unlock))
				case "rwmutex":
					if rand.IntN(3) == 0 {
						record(g, "lock", 0, did(func() error { return v.rw.Lock(ctx) }))
						inside()
						record(g, "unlock", 0, did(v.rw.Unlock))
					} else {
						record(g, "rlock", 0, did(func() error { return v.rw.RLock(ctx) }))
						inside()
						record(g, "runlock", 0, did(v.rw.RUnlock))
					}
				case "semaphore":
					n := 1 + rand.IntN(2)
					if try {
						if !record(g, "try", n, func() (bool, error) { return v.sem.TryAcquire(uint32(n)) }) {
							continue
						}
					} else {
						record(g, "lock", n, did(func() error { return v.sem.Acquire(ctx, uint32(n)) }))
					}
					inside()
					record(g, "unlock", n, did(func() error { return v.sem.Release(uint32(n)) }))
				}
			}
		})
	}
	wg.Wait()
	for _, o := range ops {
		c.Send("op %d %s %d %d %d %v", o.client, o.kind, o.n, o.call, o.done, o.ok)
	}
	c.Send("end")
	return nil
}

// A state is what is held: writers and permits, readers.
type state struct{ in, readers int }

func lockModel(limit int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) {
			st, o := s.(state), in.(op)
			n := max(o.n, 1)
			room := st.in+n <= limit && st.readers == 0
			switch o.kind {
			case "lock":
				return room, state{st.in + n, st.readers}
			case "try":
				if !o.ok {
					return true, st // it also fails while another one changes the table of permits
				}
				return room, state{st.in + n, st.readers}
			case "unlock":
				return st.in >= n, state{st.in - n, st.readers}
			case "rlock":
				return st.in == 0, state{0, st.readers + 1}
			case "runlock":
				return st.readers > 0, state{st.in, st.readers - 1}
			}
			return false, st
		},
	}
}

// TestLinearizable: what several processes saw of a lock is what one after the other could have
// seen.
func TestLinearizable(t *testing.T) {
	for kind, limit := range map[string]int{"mutex": 1, "rwmutex": 1, "semaphore": 3} {
		t.Run(kind, func(t *testing.T) {
			path, _, v := newSeg(t)
			v.sem.SetLimit(uint32(limit))
			var cs []*shmemtest.Child
			for range 4 {
				c := shmemtest.Start(t, "history", path, kind)
				c.Expect(t, "ready")
				cs = append(cs, c)
			}
			for _, c := range cs {
				c.Send("go")
			}
			var ops []porcupine.Operation
			for i, c := range cs {
				for {
					line, err := c.Recv()
					if err != nil {
						t.Fatal(err)
					}
					if line == "end" {
						break
					}
					var o op
					if _, err := fmt.Sscanf(line, "op %d %s %d %d %d %v", &o.client, &o.kind, &o.n, &o.call, &o.done, &o.ok); err != nil {
						t.Fatal(err)
					}
					ops = append(ops, porcupine.Operation{ClientId: i*linearGoroutines + o.client, Input: o, Call: o.call, Output: o.ok, Return: o.done})
				}
			}
			start := time.Now()
			got := porcupine.CheckOperationsTimeout(lockModel(limit), ops, 2*time.Minute)
			t.Logf("%d operations: %s, found in %v", len(ops), got, time.Since(start))
			if got != porcupine.Ok {
				t.Errorf("the history is %s", got)
			}
		})
	}
}
