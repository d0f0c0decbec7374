//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// goroutines of each kind in a process.
const goroutines = 4

// An operation waits for something, until ctx is done.
type operation struct {
	name string
	do   func(s shared, ctx context.Context) error
}

// often are operations that end in any case; others need a partner that does the opposite.
var often = []operation{
	{"mutex", func(s shared, ctx context.Context) error {
		v := s.box.Value()
		return between(v.Mu.Lock(ctx), v.Mu.Unlock)
	}},
	{"write lock", func(s shared, ctx context.Context) error {
		v := s.box.Value()
		return between(v.RW.Lock(ctx), v.RW.Unlock)
	}},
	{"read lock", func(s shared, ctx context.Context) error {
		v := s.box.Value()
		return between(v.RW.RLock(ctx), v.RW.RUnlock)
	}},
	{"semaphore", func(s shared, ctx context.Context) error {
		v, n := s.box.Value(), 1+rand.Uint32N(permits)
		return between(v.Sem.Acquire(ctx, n), func() error { return v.Sem.Release(n) })
	}},
	{"update", func(s shared, ctx context.Context) error {
		return s.box.Update(ctx, func(*value) error { return nil })
	}},
	{"view", func(s shared, ctx context.Context) error {
		return s.box.View(ctx, func(*value) error { return nil })
	}},
	{"event", func(s shared, ctx context.Context) error { return s.box.Value().Ev.Wait(ctx) }},
	{"condition", condition},
}

// A pair of operations of which each lets the other one go on.
type pair struct{ send, receive operation }

var pairs = []pair{
	{
		operation{"queue send", func(s shared, ctx context.Context) error {
			return s.queue.Send(ctx, 1)
		}},
		operation{"queue receive", func(s shared, ctx context.Context) error {
			_, err := s.queue.Recv(ctx)
			return err
		}},
	},
	{
		operation{"bytes send", func(s shared, ctx context.Context) error {
			return s.bytes.Send(ctx, make([]byte, 8+rand.IntN(120)))
		}},
		operation{"bytes receive", func(s shared, ctx context.Context) error {
			_, err := s.bytes.Recv(ctx, nil)
			return err
		}},
	},
}

// between ends what a call has begun without an error.
func between(err error, end func() error) error {
	if err != nil {
		return err
	}
	if rand.IntN(50) == 0 {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
	return end()
}

// condition waits until the next change.
func condition(s shared, ctx context.Context) error {
	v := s.box.Value()
	if err := v.CondMu.Lock(ctx); err != nil {
		return err
	}
	for n := v.N; v.N == n; {
		if err := v.Cond.Wait(ctx, &v.CondMu); err != nil {
			return err // the mutex is not locked
		}
	}
	return v.CondMu.Unlock()
}

// work is the main function of a worker.
func work(dir string) error {
	wait.LookLate(max(time.Minute, 3**patient))
	if *naps > 0 {
		step.Hook(nap)
	}
	s, err := open(dir)
	if err != nil {
		return err
	}
	v := s.box.Value()
	fmt.Println("ready")
	for round := uint64(1); ; round++ {
		for v.Round.Load() < round {
			if v.Stop.Load() != 0 {
				return nil
			}
			time.Sleep(20 * time.Microsecond)
		}
		s.round()
		v.Arrived.Add(1)
	}
}

// nap lets other processes do something at a step of a protocol.
func nap(step.Point) {
	if rand.IntN(*naps) == 0 {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
}

// round is the work of a process in one round. As much is sent as is received.
func (s shared) round() {
	var all, ticks sync.WaitGroup
	over := make(chan struct{})
	ticks.Go(func() { s.tick(over) })
	for range goroutines {
		all.Go(func() { s.fixed(func() { s.try(often[rand.IntN(len(often))], false) }) })
		all.Go(func() { s.repeat(func() { s.try(often[rand.IntN(len(often))], true) }) })
	}
	for _, p := range pairs {
		all.Go(func() { s.fixed(func() { s.try(p.send, false) }) })
		all.Go(func() { s.fixed(func() { s.try(p.receive, false) }) })
		for _, p := range []pair{p, {p.receive, p.send}} {
			all.Go(func() {
				s.repeat(func() {
					if s.try(p.send, true) {
						s.try(p.receive, false)
					}
				})
			})
		}
	}
	all.Wait()
	close(over)
	ticks.Wait()
}

// fixed calls f twice.
func (s shared) fixed(f func()) {
	f()
	f()
}

// repeat calls f up to 40 times.
func (s shared) repeat(f func()) {
	for range 1 + rand.IntN(40) {
		f()
	}
}

// tick sets and resets the event, and changes what condition waits for.
func (s shared) tick(over chan struct{}) {
	v := s.box.Value()
	for {
		select {
		case <-over:
			return
		default:
		}
		s.check("tick", errors.Join(v.CondMu.Lock(background), v.Ev.Set()))
		v.N++
		s.check("tick", errors.Join(v.Cond.Broadcast(), v.CondMu.Unlock()))
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		s.check("tick", v.Ev.Reset())
	}
}

// try does an operation, and reports whether it was done. With hasty it is given up after a moment.
func (s shared) try(o operation, hasty bool) bool {
	v, limit := s.box.Value(), *patient
	if hasty {
		limit = time.Duration(rand.IntN(100)) * time.Microsecond
	}
	ctx, cancel := context.WithTimeout(background, limit)
	defer cancel()
	began := time.Now()
	err := o.do(s, ctx)
	took := int64(time.Since(began))
	v.Done.Add(1)
	if hasty {
		if errors.Is(err, context.DeadlineExceeded) {
			v.GivenUp.Add(1)
			return false
		}
	} else if was := v.Longest.Load(); took > was {
		v.Longest.CompareAndSwap(was, took)
	}
	s.check(o.name, err)
	return err == nil
}

// check counts an error as a violation.
func (s shared) check(name string, err error) {
	if err != nil {
		s.box.Value().Lost.Add(1)
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
}
