//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
)

// alone: locks for which no other process waits, in turns with those of package sync. The least of
// many short batches counts, which load disturbs little.
func alone() {
	b, err := shmem.Open[struct {
		Mu psync.Mutex
		RW psync.RWMutex
	}]("alone", &shmem.Options{Dir: dir})
	must(err)
	defer b.Close()
	v, ctx := b.Value(), context.Background()
	mu, rw := new(sync.Mutex), new(sync.RWMutex)
	const batch = 1000
	n := 0
	fs := []func(){
		func() {
			for range batch {
				mu.Lock()
				n++
				mu.Unlock()
			}
		},
		func() {
			for range batch {
				_ = v.Mu.Lock(ctx)
				n++
				_ = v.Mu.Unlock()
			}
		},
		func() {
			for range batch {
				rw.RLock()
				n++
				rw.RUnlock()
			}
		},
		func() {
			for range batch {
				_ = v.RW.RLock(ctx)
				n++
				_ = v.RW.RUnlock()
			}
		},
	}
	each, ratio := make([][]float64, len(fs)), make([][]float64, len(fs))
	for range max(*rounds, 3) {
		least := make([]time.Duration, len(fs))
		for end := time.Now().Add(*length / 4); time.Now().Before(end); {
			for i, f := range fs {
				start := time.Now()
				f()
				if d := time.Since(start); least[i] == 0 || d < least[i] {
					least[i] = d
				}
			}
		}
		for i, d := range least {
			each[i] = append(each[i], float64(d)/batch)
			ratio[i] = append(ratio[i], float64(d)/float64(least[i&^1]))
		}
	}
	title("Locks for which none waits", "lock and unlock", "time", "× package sync")
	for i, name := range []string{"sync.Mutex", "psync.Mutex", "sync.RWMutex, reading",
		"psync.RWMutex, reading"} {
		row(name, fmt.Sprintf("%.1f ns", median(each[i])), times(median(ratio[i])))
	}
}

// A pinging is the parameter of pong.
type pinging struct {
	Dir, Name string
	Raw       bool
}

// pong is the other side of a round trip.
func pong(param string) error {
	r := parse[pinging](param)
	p := theParent()
	if r.Raw {
		w, err := mapWords(r.Dir, r.Name)
		if err != nil {
			return err
		}
		p.say("ready")
		go func() { p.wait() }()
		for i := uint32(0); ; i++ {
			futexWait(&w[0], i)
			w[1].Add(1)
			futexWake(&w[1])
		}
	}
	shmem.SetSpinLimit(0)
	b, err := openBox(r.Dir, r.Name)
	if err != nil {
		return err
	}
	p.say("ready")
	go func() { p.wait() }()
	return echo(&b.Value().Ev)
}

func echo(ev *[2]psync.Event) error {
	for {
		if err := ev[0].Wait(context.Background()); err != nil {
			return err
		}
		if err := ev[0].Reset(); err != nil {
			return err
		}
		if err := ev[1].Set(); err != nil {
			return err
		}
	}
}

// roundTrips: two processes wake each other by turns, without spinning, and by a raw futex.
func roundTrips() {
	var own, raw []time.Duration
	var ratio []float64
	for i := range *rounds {
		a, b := roundTrip(fmt.Sprint("trip-", i)), rawTrip(fmt.Sprint("raw-", i))
		own, raw = append(own, a), append(raw, b)
		ratio = append(ratio, float64(a)/float64(b))
	}
	title("A round trip of two processes that sleep", "way", "median", "× futex")
	row("raw futex", micro(median(raw)), "1.00")
	row("psync.Event, no spin", micro(median(own)), times(median(ratio)))
}

// trips returns the median of many round trips.
func trips(one func()) time.Duration {
	var all []time.Duration
	for end := time.Now().Add(*length); time.Now().Before(end); {
		start := time.Now()
		one()
		all = append(all, time.Since(start))
	}
	return median(all)
}

func roundTrip(name string) time.Duration {
	shmem.SetSpinLimit(0)
	defer shmem.SetSpinLimit(-1)
	b, err := openBox(dir, name)
	must(err)
	defer b.Close()
	p := own("pong", pinging{dir, name, false})
	defer p.end()
	ev := &b.Value().Ev
	return trips(func() {
		must(ev[0].Set())
		must(ev[1].Wait(context.Background()))
		must(ev[1].Reset())
	})
}

func rawTrip(name string) time.Duration {
	w, err := mapWords(dir, name)
	must(err)
	p := own("pong", pinging{dir, name, true})
	defer p.end()
	i := uint32(0)
	return trips(func() {
		w[0].Add(1)
		futexWake(&w[0])
		futexWait(&w[1], i)
		i++
	})
}

// permit is a process that takes a permit and keeps it for 1 ms, again and again.
func permit(param string) error {
	l := parse[locking](param)
	b, err := openBox(l.Dir, l.Name)
	if err != nil {
		return err
	}
	p := theParent()
	p.say("ready")
	var stop atomic.Bool
	go func() {
		p.wait()
		stop.Store(true)
	}()
	sem := &b.Value().Sem
	for !stop.Load() {
		if err := sem.Acquire(context.Background(), 1); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
		if err := sem.Release(1); err != nil {
			return err
		}
	}
	p.say("ended")
	return nil
}

// large: a request for all four permits, beside six processes that take one each.
func large() {
	b, err := openBox(dir, "large")
	must(err)
	defer b.Close()
	sem := &b.Value().Sem
	must(sem.SetLimit(4))
	var all []*process
	for range 6 {
		all = append(all, own("permit", locking{Dir: dir, Name: "large"}))
	}
	var waits []time.Duration
	for range 5 * *rounds {
		start := time.Now()
		must(sem.Acquire(context.Background(), 4))
		waits = append(waits, time.Since(start))
		must(sem.Release(4))
		time.Sleep(5 * time.Millisecond)
	}
	for _, p := range all {
		p.next()
		p.line()
		p.end()
	}
	longest := time.Duration(0)
	for _, d := range waits {
		longest = max(longest, d)
	}
	title("A request for 4 of 4 permits, beside 6 processes that hold one for 1 ms each, again "+
		"and again", "requests", "wait, median", "longest")
	row(fmt.Sprint(len(waits)), micro(median(waits)), micro(longest))
}
