//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/shmembox/shmem"
)

// A mapped is the parameter of mappedRole: a process with so many mappings, each with a goroutine
// that waits.
type mapped struct {
	Dir, Name string
	N         int
	Way       string
}

// Ways to wait at many mappings.
const (
	atEvents  = "psync.Event"
	atThreads = "floor: a raw futex and a thread for each"
	atLists   = "floor: futex_waitv of 127 words a thread"
	atHanded  = "the same, each with a goroutine at a channel"
)

// file is the name of a segment.
func (m mapped) file(i int) string { return fmt.Sprintf("%s-%d", m.Name, i) }

// A mappedUsage is what the process has used.
type mappedUsage struct {
	CPU     time.Duration
	Threads int
}

// mappedRole is a process whose goroutines wait, each at another mapping.
func mappedRole(param string) error {
	m := parse[mapped](param)
	shmem.SetSpinLimit(0)
	serve := m.serve
	if m.Way == atLists || m.Way == atHanded {
		serve = m.serveList
	}
	for i := range m.N {
		if err := serve(i); err != nil {
			return err
		}
	}
	time.Sleep(100 * time.Millisecond) // until they sleep
	p := theParent()
	p.say("ready")
	p.wait()
	before := used()
	p.wait()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	p.say(asJSON(mappedUsage{used().minus(before).CPU, len(threads)}))
	return nil
}

// serve starts the goroutine that waits at a mapping.
func (m mapped) serve(i int) error {
	if m.Way == atThreads {
		w, err := mapWords(m.Dir, m.file(i))
		if err != nil {
			return err
		}
		go func() {
			for n := uint32(0); ; n++ {
				futexSide{&w[0], true}.wait(n)
				futexSide{&w[16], true}.set()
			}
		}()
		return nil
	}
	b, err := openBox(m.Dir, m.file(i))
	if err != nil {
		return err
	}
	go func() { _ = echo(&b.Value().Ev) }()
	return nil
}

// serveList starts a goroutine that waits at up to maxList mappings from i on, with one system call.
func (m mapped) serveList(i int) error {
	if i%maxList != 0 {
		return nil
	}
	var list []*words
	for k := i; k < min(i+maxList, m.N); k++ {
		w, err := mapWords(m.Dir, m.file(k))
		if err != nil {
			return err
		}
		list = append(list, w)
	}
	answer := func(k int) { futexSide{&list[k][16], true}.set() }
	if m.Way == atHanded {
		answer = m.handed(list)
	}
	go waitForAny(list, answer)
	return nil
}

// handed starts a goroutine for each mapping, and returns what has one answer.
func (m mapped) handed(list []*words) func(k int) {
	rung := make([]chan struct{}, len(list))
	for k, w := range list {
		rung[k] = make(chan struct{}, 1)
		go func() {
			for range rung[k] {
				futexSide{&w[16], true}.set()
			}
		}()
	}
	return func(k int) {
		rung[k] <- struct{}{}
		runtime.Gosched() // so that it goes on in this thread; the second, since every 61st turn of the
		runtime.Gosched() // scheduler takes the caller first
	}
}

// trip returns a round trip to the goroutine at a mapping, and what ends its use.
func (m mapped) trip(i int) (trip, end func()) {
	if m.Way != atEvents {
		w, err := mapWords(m.Dir, m.file(i))
		must(err)
		n := uint32(0)
		return func() {
			futexSide{&w[0], true}.set()
			futexSide{&w[16], true}.wait(n)
			n++
		}, func() {}
	}
	b, err := openBox(m.Dir, m.file(i))
	must(err)
	ev := &b.Value().Ev
	return func() {
		must(ev[0].Set())
		must(ev[1].Wait(context.Background()))
		must(ev[1].Reset())
	}, func() { must(b.Close()) }
}

// A trek is what the round trips to one process took.
type trek struct {
	median, late time.Duration // late: the 99th percentile
	cpu          time.Duration // of the process, a round trip
	threads      int
}

// measure makes round trips to goroutines at mappings that are chosen at random, with pauses, in
// which the other process goes to sleep.
func (m mapped) measure() trek {
	trips := make([]func(), m.N)
	for i := range trips {
		trip, end := m.trip(i)
		trips[i] = trip
		defer end()
	}
	p := own("mapped", m)
	defer p.end()
	p.next()
	var all []time.Duration
	for end := time.Now().Add(*length); time.Now().Before(end); {
		trip, start := trips[rand.IntN(m.N)], time.Now()
		trip()
		all = append(all, time.Since(start))
		time.Sleep(200 * time.Microsecond)
	}
	p.next()
	u := parse[mappedUsage](p.line())
	return trek{median(all), percentile(all, 99), u.CPU / time.Duration(len(all)), u.Threads}
}

// manyMappings: one process waits at many mappings; another one wakes one of them at a time.
func manyMappings() {
	shmem.SetSpinLimit(0)
	defer shmem.SetSpinLimit(-1)
	counts := []int{10, 100, 1000}
	names := []string{atEvents, atThreads, atLists, atHanded}
	type column struct {
		median, late, cpu []time.Duration
		ratio             []float64
		threads           int
	}
	got := make([][]column, len(names))
	for k := range got {
		got[k] = make([]column, len(counts))
	}
	for round := range *rounds {
		for k := range names {
			var ofFirst time.Duration
			for i, n := range counts {
				t := mapped{dir, fmt.Sprintf("mapped-%d-%d-%d", k, n, round), n, names[k]}.measure()
				if i == 0 {
					ofFirst = t.median
				}
				c := &got[k][i]
				c.median, c.late = append(c.median, t.median), append(c.late, t.late)
				c.cpu, c.threads = append(c.cpu, t.cpu), t.threads
				c.ratio = append(c.ratio, float64(t.median)/float64(ofFirst))
			}
		}
	}
	title("A round trip to one of many goroutines of a process, each of which waits at another "+
		"mapping", "mappings", "way", "median", "× that of 10", "99th percentile",
		"CPU of the process", "its threads")
	for i, n := range counts {
		for k, name := range names {
			c := got[k][i]
			row(fmt.Sprint(n), name, micro(median(c.median)), times(median(c.ratio)),
				micro(median(c.late)), micro(median(c.cpu)), fmt.Sprint(c.threads))
		}
	}
}
