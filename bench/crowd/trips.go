//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"golang.org/x/sys/unix"
)

// A pinging is the parameter of ping and pong, the two sides of a round trip.
type pinging struct {
	Dir, Name string
	Way       string
	Slice     time.Duration
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
	back, err := r.back()
	if err != nil {
		return err
	}
	p := theParent()
	p.say("ready")
	go func() {
		for {
			p.wait()
			p.say(asJSON(used()))
		}
	}()
	for {
		if err := back(); err != nil {
			return err
		}
	}
}

// back returns what waits for the other side and wakes it.
func (r pinging) back() (func() error, error) {
	if r.Way == byEvent {
		ev, err := r.events()
		return func() error { return echo(ev) }, err
	}
	w, err := mapWords(r.Dir, r.Name)
	if err != nil {
		return nil, err
	}
	ping, pong := r.sides(w)
	i := uint32(0)
	return func() error {
		pong.wait(i)
		ping.set()
		i++
		return nil
	}, nil
}

// A trip is what one side has measured in a slice of time.
type trip struct {
	N      int
	Median time.Duration
	Usage  usage
}

// ping makes round trips for a slice of time after each line.
func ping(param string) error {
	r := parse[pinging](param)
	forth, err := r.forth()
	if err != nil {
		return err
	}
	p := theParent()
	p.say("ready")
	for {
		p.wait()
		var all []time.Duration
		before := used()
		for end := time.Now().Add(r.Slice); time.Now().Before(end); {
			start := time.Now()
			forth()
			all = append(all, time.Since(start))
		}
		p.say(asJSON(trip{len(all), median(all), used().minus(before)}))
	}
}

// forth returns what wakes the other side and waits for it.
func (r pinging) forth() (func(), error) {
	if r.Way == byEvent {
		ev, err := r.events()
		return func() {
			must(ev[0].Set())
			must(ev[1].Wait(context.Background()))
			must(ev[1].Reset())
		}, err
	}
	w, err := mapWords(r.Dir, r.Name)
	if err != nil {
		return nil, err
	}
	ping, pong := r.sides(w)
	i := uint32(0)
	return func() {
		pong.set()
		ping.wait(i)
		i++
	}, nil
}

// events returns the events of the box, for a process that does not spin.
func (r pinging) events() (*[2]psync.Event, error) {
	shmem.SetSpinLimit(0)
	b, err := openBox(r.Dir, r.Name)
	if err != nil {
		return nil, err
	}
	return &b.Value().Ev, nil
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

// usableCPUs returns the numbers of the CPUs that this process may use.
func usableCPUs() (all []int) {
	var set unix.CPUSet
	must(unix.SchedGetaffinity(0, &set))
	for i := range 1024 {
		if set.IsSet(i) {
			all = append(all, i)
		}
	}
	return all
}

// pinned starts this program in a role, with all its threads on one CPU. Go takes the number of
// CPUs as ever: the process is to be like one that the kernel happens to run there.
func pinned(cpu int, role string, param any) *process {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, set unix.CPUSet
	must(unix.SchedGetaffinity(0, &old))
	set.Set(cpu)
	must(unix.SchedSetaffinity(0, &set)) // the child inherits it
	defer func() { must(unix.SchedSetaffinity(0, &old)) }()
	c := exec.Command("/proc/self/exe", "-role", role, "-param", asJSON(param))
	c.Env = append(c.Environ(), fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0)))
	return start(c)
}

// A pair has the two sides of a round trip, which sleep between its slices.
type pair struct{ ping, pong *process }

// slice returns the median of a slice, and what both sides used a round trip.
func (p pair) slice() (time.Duration, usage) {
	other := func() usage {
		p.pong.next()
		return parse[usage](p.pong.line())
	}
	before := other()
	p.ping.next()
	t := parse[trip](p.ping.line())
	u := other().minus(before)
	n := max(t.N, 1)
	u.CPU = (u.CPU + t.Usage.CPU) / time.Duration(n)
	return t.Median, usage{u.CPU, (u.Switches + t.Usage.Switches) * 100 / int64(n)}
}

// roundTrips: two processes wake each other by turns, without spinning, and by a raw futex. Where
// the kernel puts the two decides more than anything else, so each process has its CPU: both the
// same, or one each. The ways take turns of an eighth of a measurement.
func roundTrips() {
	title("A round trip of two processes that sleep, each tied to a CPU", "CPUs", "way", "median",
		"× futex", "× by hand", "CPU of both", "× futex", "switches")
	cpus := usableCPUs()
	one := cpus[len(cpus)-1]
	roundTripsOn("the same", one, one)
	if len(cpus) > 1 {
		roundTripsOn("two", cpus[0], one)
	}
}

func roundTripsOn(where string, a, b int) {
	names := []string{byFutex, byTimeout, byHand, byEvent}
	const slices = 8
	pairs := make([]pair, len(names))
	for k, way := range names {
		r := pinging{dir, fmt.Sprintf("trip-%d-%d-%d", k, a, b), way, *length / slices}
		pairs[k] = pair{pinned(a, "ping", r), pinned(b, "pong", r)}
	}
	each, cpu := make([][]time.Duration, len(names)), make([][]time.Duration, len(names))
	ratio, above := make([][]float64, len(names)), make([][]float64, len(names))
	more, switches := make([][]float64, len(names)), make([][]float64, len(names))
	for range *rounds * slices {
		ds, us := make([]time.Duration, len(names)), make([]usage, len(names))
		for k := range names {
			ds[k], us[k] = pairs[k].slice()
		}
		for k, d := range ds {
			each[k], cpu[k] = append(each[k], d), append(cpu[k], us[k].CPU)
			ratio[k] = append(ratio[k], float64(d)/float64(ds[0]))
			above[k] = append(above[k], float64(d)/float64(ds[2]))
			more[k] = append(more[k], float64(us[k].CPU)/float64(us[0].CPU))
			switches[k] = append(switches[k], float64(us[k].Switches)/100)
		}
	}
	for k, name := range names {
		row(where, name, micro(median(each[k])), times(median(ratio[k])),
			times(median(above[k])), micro(median(cpu[k])), times(median(more[k])),
			fmt.Sprintf("%.1f", median(switches[k])))
		pairs[k].ping.end()
		pairs[k].pong.end()
	}
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

// A side is one that waits for a word to be counted up.
type side interface {
	set()
	wait(old uint32)
}
