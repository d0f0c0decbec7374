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

var partnered = []operation{
	{"queue send", func(s shared, ctx context.Context) error { return s.queue.Send(ctx, 1) }},
	{"queue receive", func(s shared, ctx context.Context) error {
		_, err := s.queue.Recv(ctx)
		return err
	}},
	{"bytes send", func(s shared, ctx context.Context) error {
		return s.bytes.Send(ctx, make([]byte, 8+rand.IntN(120)))
	}},
	{"bytes receive", func(s shared, ctx context.Context) error {
		_, err := s.bytes.Recv(ctx, nil)
		return err
	}},
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
	wait.LookLate(time.Minute)
	s, err := open(dir)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var all, ticks sync.WaitGroup
	over := make(chan struct{})
	ticks.Go(func() { s.tick(over) })
	for range goroutines {
		all.Go(func() { s.loop(often, false) })
		all.Go(func() { s.loop(append(often, partnered...), true) })
	}
	for i := range partnered {
		all.Go(func() { s.loop(partnered[i:i+1], false) })
	}
	all.Wait()
	close(over)
	ticks.Wait()
	return nil
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

// loop does operations until the run ends. With hasty they are given up after a moment.
func (s shared) loop(ops []operation, hasty bool) {
	v := s.box.Value()
	for {
		o := ops[rand.IntN(len(ops))]
		if v.Stop.Load() != 0 && (hasty || len(ops) > 1) {
			return
		}
		limit := patient
		if hasty {
			limit = time.Duration(rand.IntN(300)) * time.Microsecond
		}
		ctx, cancel := context.WithTimeout(background, limit)
		began := time.Now()
		err := o.do(s, ctx)
		cancel()
		took := int64(time.Since(began))
		v.Done.Add(1)
		switch {
		case isEnd(err):
			return
		case hasty && errors.Is(err, context.DeadlineExceeded):
			v.GivenUp.Add(1)
		default:
			s.check(o.name, err)
		}
		for was := v.Longest.Load(); !hasty && took > was && !v.Longest.CompareAndSwap(was, took); {
			was = v.Longest.Load()
		}
	}
}

// check counts an error as a violation.
func (s shared) check(name string, err error) {
	if err != nil {
		s.box.Value().Lost.Add(1)
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
}
