package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
)

// A crowd is many goroutines of one process that wait for another process.
type crowd struct {
	name string
	kind Kind
	wait func(t *Trial, i int) error // until woken
	wake func(t *Trial) error        // all of them
	most int                         // no more are possible
}

// One attachment for all waiters of the process.
var crowdBox *shmem.Box[guardedEvent]
var crowdQueue *queue.Queue[uint64]
var crowdChan = make(chan int)
var crowdFutex *atomic.Uint32

type guardedEvent struct{ ev psync.Event }

var crowds = []crowd{
	{"psync.Event", Ours, func(t *Trial, i int) error {
		return crowdBox.Value().ev.Wait(context.Background())
	},
		func(t *Trial) error { return crowdBox.Value().ev.Set() }, 0},
	{"Queue.Recv", Ours, func(t *Trial, i int) error {
		_, err := crowdQueue.Recv(context.Background())
		return err
	},
		func(t *Trial) error {
			return repeat(t.N, func() error { return crowdQueue.Send(context.Background(), 1) })
		}, 0},
	{"a pipe for each", Peer, func(t *Trial, i int) error {
		f, err := openFIFO(t, i)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(f, make([]byte, 1))
		return err
	}, func(t *Trial) error {
		for i := range t.N {
			f, err := openFIFO(t, i)
			if err != nil {
				return err
			}
			if _, err := f.Write([]byte{1}); err != nil {
				return err
			}
			f.Close()
		}
		return nil
	}, 0},
	{"futex by hand", Peer, func(t *Trial, i int) error {
		for crowdFutex.Load() == 0 {
			futexWait(crowdFutex, 0)
		}
		return nil
	}, func(t *Trial) error {
		crowdFutex.Store(1)
		futexWake(crowdFutex, 1<<30)
		return nil
	}, 9000},
	{"Go channel", Note, func(t *Trial, i int) error { <-crowdChan; return nil },
		func(t *Trial) error { close(crowdChan); return nil }, 0},
	{"goroutines that sleep", Limit, func(t *Trial, i int) error { select {} }, nil, 0},
}

// meet opens what the crowd waits at.
func meet(t *Trial) (err error) {
	if crowdBox, err = openBox[guardedEvent](t, "event"); err != nil {
		return err
	}
	opts := &queue.Options{Dir: t.Dir, Lifetime: shmem.Kept, Capacity: 1024}
	if crowdQueue, err = queue.Open[uint64]("queue", opts); err != nil {
		return err
	}
	m, err := mapOpen(t, "futex", 4096)
	if err == nil {
		crowdFutex = as[atomic.Uint32](m)
	}
	return err
}

var waker = role("waker", func(t *Trial) error {
	if err := meet(t); err != nil {
		return err
	}
	if err := t.Ready("waker"); err != nil {
		return err
	}
	t.Await("now")
	for _, c := range crowds {
		if c.name == t.Args[0] {
			return c.wake(t)
		}
	}
	return nil
})

// contender measures memory and threads that so many waiters add, what they cost while nothing
// happens, and the time from waking all until the last one runs.
func (c crowd) contender() Contender {
	return Contender{Name: c.name, Kind: c.kind, Run: func(t *Trial) error {
		if c.most > 0 && t.N > c.most {
			return errors.New("impossible: a thread for each, and Go ends a process with more " +
				"than 10,000")
		}
		if err := meet(t); err != nil {
			return err
		}
		if c.wake != nil && c.kind != Note {
			if _, err := t.Start(waker, c.name); err != nil {
				return err
			}
			t.Await("waker")
		}
		debug.FreeOSMemory()
		self := []int{status(selfPID, "Threads:"), status(selfPID, "VmRSS:")}
		var waiting, woken atomic.Int64
		for i := range t.N {
			go func() {
				waiting.Add(1)
				if err := c.wait(t, i); err != nil {
					fail(err)
				}
				woken.Add(1)
			}()
		}
		for waiting.Load() < int64(t.N) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond) // all sleep
		threads, rss := status(selfPID, "Threads:"), status(selfPID, "VmRSS:")
		cpu, start := processCPU(selfPID), time.Now()
		time.Sleep(max(t.For, 200*time.Millisecond))
		t.Extra("threads more", float64(threads-self[0]))
		t.Extra("bytes for each", float64(rss-self[1])*1024/float64(t.N))
		t.Extra("cpu while idle, ms per s",
			(processCPU(selfPID)-cpu).Seconds()*1000/time.Since(start).Seconds())
		if woken.Load() > 0 {
			return errors.New("some woke before their time")
		}
		t.Begin()
		if c.kind == Note {
			c.wake(t)
		} else if err := t.Ready("now"); err != nil {
			return err
		}
		for c.wake != nil && woken.Load() < int64(t.N) {
			if time.Since(t.began) > 10*time.Second {
				return fmt.Errorf("%d of %d woke in 10 s", woken.Load(), t.N)
			}
			time.Sleep(50 * time.Microsecond)
		}
		t.End(t.N)
		if c.wake == nil {
			t.sample.NS, t.sample.CPU = 0, 0
		}
		return nil
	}}
}

func idleCases() (cases []Case) {
	for _, n := range []int{1000, 10_000} {
		c := Case{Item: "i", Name: fmt.Sprintf("idle-%d", n), N: n, Unit: "waiter woken",
			Full: n == 10_000,
			About: fmt.Sprintf("%d goroutines of one process wait for another process; the time "+
				"is that of waking them all, for each", n)}
		for _, cr := range crowds {
			c.Who = append(c.Who, cr.contender())
		}
		c.Who = append(c.Who,
			external("threads at a pthread condition (C), not woken", Peer, "c", "idle"))
		for i := range c.Who {
			c.Who[i].Name = strings.TrimSpace(c.Who[i].Name)
		}
		cases = append(cases, c)
	}
	return cases
}
