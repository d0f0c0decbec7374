//go:build linux

package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
)

//go:embed native/crowd.c
var cSource string

// A value is what the processes share.
type value struct {
	Mu  psync.Mutex
	RW  psync.RWMutex
	Sem psync.Semaphore
	Ev  [2]psync.Event
}

func openBox(dir, name string) (*shmem.Box[value], error) {
	return shmem.Open[value](name, &shmem.Options{Dir: dir, Slots: 64})
}

// A locking says how a process uses the mutex: it keeps it for Hold, by sleeping or computing, then
// does without it for Pause, until it is told to end. Lock names another lock than a Mutex.
type locking struct {
	Dir, Name   string
	Lock        string
	Hold, Pause time.Duration
	Busy        bool
	Warm        time.Duration // before it measures: processes begin to watch each other
}

// A result is what a process has measured.
type result struct {
	Locks   int
	Unlock  time.Duration // median
	Longest time.Duration // wait for the mutex
	Usage   usage
}

// spend spends d.
func spend(d time.Duration, busy bool) {
	if !busy {
		if d > 0 {
			time.Sleep(d)
		}
		return
	}
	for start := time.Now(); time.Since(start) < d; {
	}
}

// locks uses a lock until stop. do calls a function with the lock.
func (l *locking) locks(do func(f func()), stop *atomic.Bool) (r result) {
	var unlocks []time.Duration
	var start, end time.Time
	f := func() {
		r.Longest = max(r.Longest, time.Since(start))
		r.Locks++
		spend(l.Hold, l.Busy)
		end = time.Now()
	}
	for !stop.Load() {
		start = time.Now()
		do(f)
		if r.Locks%16 == 1 || l.Hold > 0 {
			unlocks = append(unlocks, time.Since(end))
		}
		spend(l.Pause, false)
	}
	r.Unlock = median(unlocks)
	return r
}

// Locks of a box beside its Mutex.
const (
	rwMutex = "rwmutex"
	update  = "update"
	floor   = "floor" // a lock of a futex in Go
	fair    = "fair"  // one that keeps what psync.Mutex promises
	yields  = "fair, yielding"
	none    = "none" // no lock
)

// doer returns what calls a function with a lock of the box.
func doer(b *shmem.Box[value], lock string) func(f func()) {
	ctx, v := context.Background(), b.Value()
	switch lock {
	case rwMutex:
		return func(f func()) {
			must(v.RW.Lock(ctx))
			f()
			must(v.RW.Unlock())
		}
	case update:
		return func(f func()) { must(b.Update(ctx, func(*value) error { f(); return nil })) }
	}
	return func(f func()) {
		must(v.Mu.Lock(ctx))
		f()
		must(v.Mu.Unlock())
	}
}

// lockRole is a process that uses the mutex of a box.
func lockRole(param string) error {
	l := parse[locking](param)
	b, err := openBox(l.Dir, l.Name)
	if err != nil {
		return err
	}
	do := doer(b, l.Lock)
	w, err := mapWords(l.Dir, l.Name+".futex")
	if err != nil {
		return err
	}
	switch l.Lock {
	case floor:
		do = locked(futexMutex{&w[0]})
	case fair:
		do = locked(fairMutex{w: &w[0]})
	case yields:
		do = locked(fairMutex{&w[0], true})
	case none:
		do = func(f func()) { f() }
	}
	p := theParent()
	p.say("ready")
	p.wait()
	if l.Warm > 0 {
		var warm atomic.Bool
		time.AfterFunc(l.Warm, func() { warm.Store(true) })
		l.locks(do, &warm)
	}
	var stop atomic.Bool
	go func() {
		p.wait()
		stop.Store(true)
	}()
	before := used()
	r := l.locks(do, &stop)
	r.Usage = used().minus(before)
	p.say(asJSON(r))
	return nil
}

// compete lets processes use one mutex, of C or of psync, and returns their results.
func compete(inC bool, all []locking) (results []result) {
	name := fmt.Sprintf("locks-%d", time.Now().UnixNano())
	b, err := openBox(dir, name)
	must(err)
	defer b.Close()
	var ps []*process
	for _, l := range all {
		l.Dir, l.Name = dir, name
		if inC {
			ps = append(ps, start(exec.Command(cprogram, filepath.Join(dir, name+".c"),
				strconv.Itoa(int(l.Hold)), strconv.Itoa(int(l.Pause)), strconv.FormatBool(l.Busy))))
		} else {
			ps = append(ps, own("lock", l))
		}
	}
	for _, p := range ps {
		p.next()
	}
	if !inC {
		time.Sleep(all[0].Warm)
	}
	time.Sleep(*length)
	for _, p := range ps {
		p.next()
	}
	for _, p := range ps {
		r := parse[result](p.line())
		results = append(results, r)
		p.end()
	}
	return results
}

// inOneProcess is compete of goroutines of one process.
func inOneProcess(mu sync.Locker, all []locking) []result {
	results := make([]result, len(all))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i, l := range all {
		wg.Go(func() { results[i] = l.locks(locked(mu), &stop) })
	}
	time.Sleep(*length)
	stop.Store(true)
	wg.Wait()
	return results
}

// locked returns what calls a function with a lock.
func locked(mu sync.Locker) func(f func()) {
	return func(f func()) {
		mu.Lock()
		f()
		mu.Unlock()
	}
}

// A locker is a psync.Mutex as a sync.Locker.
type locker struct{ mu psync.Mutex }

func (l *locker) Lock()   { must(l.mu.Lock(context.Background())) }
func (l *locker) Unlock() { must(l.mu.Unlock()) }

func same(n int, l locking) (all []locking) {
	for range n {
		all = append(all, l)
	}
	return all
}

// A kind is a mutex that is measured.
type kind struct {
	name string
	run  func(all []locking) []result
}

func kinds(within bool) (all []kind) {
	add := func(name string, run func(all []locking) []result) {
		all = append(all, kind{name, run})
	}
	add("psync.Mutex", func(all []locking) []result { return compete(false, all) })
	if cprogram != "" {
		add("robust mutex of C", func(all []locking) []result { return compete(true, all) })
	}
	if within {
		add("psync.Mutex, goroutines", func(all []locking) []result {
			return inOneProcess(new(locker), all)
		})
		add("sync.Mutex, goroutines", func(all []locking) []result {
			return inOneProcess(new(sync.Mutex), all)
		})
	}
	return all
}

// with is the kind of another lock of processes.
func with(name, lock string) kind {
	return kind{name, func(all []locking) []result {
		for i := range all {
			all[i].Lock = lock
		}
		return compete(false, all)
	}}
}

// sum adds up results.
func sum(all []result) (locks int, u usage) {
	for _, r := range all {
		locks += r.Locks
		u.CPU += r.Usage.CPU
		u.Switches += r.Usage.Switches
	}
	return max(locks, 1), u
}

// spread is the least and the largest share of the locks, in percent.
func spread(all []result) (least, most float64) {
	total, _ := sum(all)
	least = 100
	for _, r := range all {
		s := 100 * float64(r.Locks) / float64(total)
		least, most = min(least, s), max(most, s)
	}
	return least, most
}

// unlocks: a mutex that is held for 1 ms, with many that wait.
func unlocks() {
	title("A mutex that each process holds for 1 ms, sleeping", "processes", "mutex",
		"Unlock, median", "× that of 2", "CPU a lock", "switches a lock", "locks a second",
		"shares, %")
	ks := append(kinds(false), with("a futex in Go", floor),
		with("by hand: one that is fair and sees deaths", fair),
		with("the same, which yields before it sleeps", yields),
		with("floor: no lock, the sleep of 1 ms alone", none))
	counts := []int{2, 8, 32}
	got := make([][][][]result, len(counts)) // by count, kind and round
	for i := range counts {
		got[i] = make([][][]result, len(ks))
	}
	for range *rounds {
		for i, n := range counts {
			for k := range ks {
				warm := min(time.Duration(n)*100*time.Millisecond, 3**length)
				r := ks[k].run(same(n, locking{Hold: time.Millisecond, Warm: warm}))
				got[i][k] = append(got[i][k], r)
			}
		}
	}
	for i, n := range counts {
		for k := range ks {
			printUnlocks(n, ks[k].name, got[i][k], got[0][k])
		}
	}
}

func printUnlocks(n int, name string, rounds, ofTwo [][]result) {
	var unlock, cpu []time.Duration
	var ratio, switches, rate, least, most []float64
	for i, r := range rounds {
		locks, u := sum(r)
		d := medianUnlock(r)
		unlock, cpu = append(unlock, d), append(cpu, u.CPU/time.Duration(locks))
		if two := medianUnlock(ofTwo[i]); two > 0 {
			ratio = append(ratio, float64(d)/float64(two))
		}
		switches = append(switches, float64(u.Switches)/float64(locks))
		rate = append(rate, float64(locks)/length.Seconds())
		lo, hi := spread(r)
		least, most = append(least, lo), append(most, hi)
	}
	row(strconv.Itoa(n), name, micro(median(unlock)), times(median(ratio)), micro(median(cpu)),
		fmt.Sprintf("%.1f", median(switches)), fmt.Sprintf("%.0f", median(rate)),
		fmt.Sprintf("%.1f to %.1f", median(least), median(most)))
}

func medianUnlock(all []result) time.Duration {
	var ds []time.Duration
	for _, r := range all {
		ds = append(ds, r.Unlock)
	}
	return median(ds)
}

// shares: a short critical section, in a tight loop.
func shares() {
	title("A mutex in a tight loop", "at once", "mutex", "a lock", "shares, %", "longest wait")
	ks := kinds(true)
	for _, n := range []int{2, 4, 8} {
		got := make([][][]result, len(ks))
		for range *rounds {
			for k := range ks {
				got[k] = append(got[k], ks[k].run(same(n, locking{})))
			}
		}
		for k := range ks {
			var each, longest []time.Duration
			var least, most []float64
			for _, r := range got[k] {
				locks, _ := sum(r)
				each = append(each, *length/time.Duration(locks))
				lo, hi := spread(r)
				least, most = append(least, lo), append(most, hi)
				longest = append(longest, longestOf(r))
			}
			row(strconv.Itoa(n), ks[k].name, fmt.Sprintf("%d ns", median(each)),
				fmt.Sprintf("%.1f to %.1f", median(least), median(most)), micro(median(longest)))
		}
	}
}

func longestOf(all []result) (d time.Duration) {
	for _, r := range all {
		d = max(d, r.Longest)
	}
	return d
}

// hogs: one or three that keep the mutex for 1 ms and lock it again at once, and one victim.
func hogs() {
	title("A hog keeps the mutex for 1 ms and locks it again at once; its victim keeps it for a "+
		"moment, then pauses for 1 ms", "hogs", "mutex", "victim's longest wait", "× that of C",
		"the victim's share, %")
	ks := kinds(true)
	ks = append(ks, with("psync.RWMutex, writers", rwMutex), with("Box.Update", update))
	slices.SortStableFunc(ks, func(a, b kind) int { return cmp.Compare(a.name, b.name) })
	for _, c := range []struct {
		name string
		n    int
		busy bool
	}{{"1, sleeping", 1, false}, {"1, computing", 1, true}, {"3, computing", 3, true}} {
		all := append(same(c.n, locking{Hold: time.Millisecond, Busy: c.busy}),
			locking{Pause: time.Millisecond})
		longest, share := make([][]time.Duration, len(ks)), make([][]float64, len(ks))
		ratio := make([][]float64, len(ks))
		for range *rounds {
			ofC := time.Duration(0)
			ds := make([]time.Duration, len(ks))
			for k := range ks {
				r := ks[k].run(slices.Clone(all))
				locks, _ := sum(r)
				victim := r[len(r)-1]
				ds[k] = victim.Longest
				longest[k] = append(longest[k], victim.Longest)
				share[k] = append(share[k], 100*float64(victim.Locks)/float64(locks))
				if strings.Contains(ks[k].name, " C") {
					ofC = victim.Longest
				}
			}
			for k, d := range ds {
				if ofC > 0 {
					ratio[k] = append(ratio[k], float64(d)/float64(ofC))
				}
			}
		}
		for k := range ks {
			row(c.name, ks[k].name, micro(median(longest[k])), times(median(ratio[k])),
				fmt.Sprintf("%.1f", median(share[k])))
		}
	}
}
