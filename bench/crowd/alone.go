//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
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
	v := b.Value()
	fs := slices.Concat(mutexes(&v.Mu), readLocks(&v.RW))
	const of = 3 // functions of one kind: package sync, ours, the least
	each, ratio := make([][]float64, len(fs)), make([][]float64, len(fs))
	above := make([][]float64, len(fs))
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
			ratio[i] = append(ratio[i], float64(d)/float64(least[i/of*of]))
			above[i] = append(above[i], float64(d)/float64(least[i/of*of+2]))
		}
	}
	title("Locks for which none waits", "lock and unlock", "time", "× package sync", "× floor")
	for i, name := range []string{"sync.Mutex", "psync.Mutex", "floor: two compare-and-swaps",
		"sync.RWMutex, reading", "psync.RWMutex, reading",
		"floor: two compare-and-swaps, four loads"} {
		row(name, fmt.Sprintf("%.1f ns", median(each[i])), times(median(ratio[i])),
			times(median(above[i])))
	}
}

// batch is how often each of these locks and unlocks.
const batch = 1000

// mutexes lock and unlock a mutex: that of package sync, ours, the least.
func mutexes(own *psync.Mutex) []func() {
	mu, ctx, n := new(sync.Mutex), context.Background(), 0
	var word atomic.Uint32
	return []func(){
		func() {
			for range batch {
				mu.Lock()
				n++
				mu.Unlock()
			}
		},
		func() {
			for range batch {
				_ = own.Lock(ctx)
				n++
				_ = own.Unlock()
			}
		},
		func() { // the least that names its owner, and notices a foreign Unlock
			for range batch {
				if word.CompareAndSwap(0, 1024) {
					n++
					word.CompareAndSwap(1024, 0)
				}
			}
		},
	}
}

// readLocks are the same for reading.
func readLocks(own *psync.RWMutex) []func() {
	rw, ctx, n := new(sync.RWMutex), context.Background(), 0
	var word atomic.Uint32
	var mark atomic.Uint64
	return []func(){
		func() {
			for range batch {
				rw.RLock()
				n++
				rw.RUnlock()
			}
		},
		func() {
			for range batch {
				_ = own.RLock(ctx)
				n++
				_ = own.RUnlock()
			}
		},
		func() { // the least where each reader names itself, and a writer may wait
			for range batch {
				k := mark.Load()
				if word.Load() == 0 && mark.CompareAndSwap(k, k+1) && word.Load() == 0 {
					n++
					k := mark.Load()
					mark.CompareAndSwap(k, k-1)
				}
			}
		},
	}
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
