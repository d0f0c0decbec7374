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

// A pinging is the parameter of pong.
type pinging struct {
	Dir, Name string
	Way       string
}

// Ways of a round trip.
const (
	byFutex   = "raw futex"
	byTimeout = "floor: raw futex with a timeout"
	byHand    = "floor: the words of the protocol, by hand"
	byEvent   = "psync.Event, no spin"
)

// pong is the other side of a round trip.
func pong(param string) error {
	r := parse[pinging](param)
	p := theParent()
	if r.Way != byEvent {
		w, err := mapWords(r.Dir, r.Name)
		if err != nil {
			return err
		}
		p.say("ready")
		go func() { p.wait() }()
		ping, pong := r.sides(w)
		for i := uint32(0); ; i++ {
			pong.wait(i)
			ping.set()
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
	names := []string{byFutex, byTimeout, byHand, byEvent}
	each, ratio := make([][]time.Duration, len(names)), make([][]float64, len(names))
	above := make([][]float64, len(names))
	for i := range *rounds {
		ds := make([]time.Duration, len(names))
		for k, way := range names {
			r := pinging{dir, fmt.Sprintf("trip-%d-%d", k, i), way}
			if ds[k] = r.raw(); way == byEvent {
				ds[k] = r.event()
			}
		}
		for k, d := range ds {
			each[k] = append(each[k], d)
			ratio[k] = append(ratio[k], float64(d)/float64(ds[0]))
			above[k] = append(above[k], float64(d)/float64(ds[2]))
		}
	}
	title("A round trip of two processes that sleep", "way", "median", "× futex", "× by hand")
	for k, name := range names {
		row(name, micro(median(each[k])), times(median(ratio[k])), times(median(above[k])))
	}
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

func (r pinging) event() time.Duration {
	shmem.SetSpinLimit(0)
	defer shmem.SetSpinLimit(-1)
	b, err := openBox(r.Dir, r.Name)
	must(err)
	defer b.Close()
	p := own("pong", r)
	defer p.end()
	ev := &b.Value().Ev
	return trips(func() {
		must(ev[0].Set())
		must(ev[1].Wait(context.Background()))
		must(ev[1].Reset())
	})
}

// raw is the round trip by a futex, in one of three ways.
func (r pinging) raw() time.Duration {
	if r.Way == byEvent {
		return 0
	}
	w, err := mapWords(r.Dir, r.Name)
	must(err)
	p := own("pong", r)
	defer p.end()
	ping, pong := r.sides(w)
	i := uint32(0)
	return trips(func() {
		pong.set()
		ping.wait(i)
		i++
	})
}

// A side is one that waits for a word to be counted up.
type side interface {
	set()
	wait(old uint32)
}

func (r pinging) sides(w *words) (ping, pong side) {
	if r.Way == byHand {
		return handSide{w[0:16], w[16:32]}, handSide{w[32:48], w[48:64]}
	}
	return futexSide{&w[0], r.Way == byTimeout}, futexSide{&w[16], r.Way == byTimeout}
}

type futexSide struct {
	w       *atomic.Uint32
	timeout bool
}

func (s futexSide) set() {
	s.w.Add(1)
	futexWake(s.w)
}

func (s futexSide) wait(old uint32) { futexWait(s.w, old, s.timeout) }

// A handSide changes and looks at the words that the protocol of package wait has, and does nothing
// else: no list of waiters, no deaths, no errors.
type handSide struct{ object, slot []atomic.Uint32 }

func (s handSide) set() {
	s.object[0].Add(1)
	armed := s.object[1].Load()
	if armed&1 == 0 {
		return
	}
	if s.slot[0].Load() != 0 { // interest
		s.slot[1].Or(1) // pending
		s.slot[2].Add(1)
		if s.slot[3].Load() != 0 {
			futexWake(&s.slot[2])
		}
	}
	s.object[1].CompareAndSwap(armed, armed&^1)
}

func (s handSide) wait(old uint32) {
	if s.object[0].Load() != old {
		return
	}
	s.slot[0].Or(1)
	for {
		a := s.object[1].Load()
		s.object[1].CompareAndSwap(a, (a+2)|1)
		bell := s.slot[2].Load()
		s.slot[1].Swap(0)
		if s.object[0].Load() != old {
			break
		}
		s.slot[3].Store(1)
		futexSleep(&s.slot[2], bell, 100*time.Millisecond)
		s.slot[3].Store(0)
	}
	s.slot[0].And(0)
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
