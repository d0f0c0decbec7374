//go:build linux

package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

const publishing = "publishing 64 bytes, the publisher's CPU time"

// fanOut is what it costs the publisher to publish to so many subscribers, of which none, one or
// all hold it back.
func fanOut(subscribers int) (all []bench) {
	for _, held := range []int{0, 1, subscribers} {
		if held == subscribers && held == 1 {
			continue
		}
		all = append(all, bench{
			group: publishing, name: fmt.Sprintf("%d subscribers, %d hold", subscribers, held),
			n: 1_000_000, ownCPU: true,
			here: &publisher{}, there: &subscribersOf{count: subscribers, held: held},
		})
	}
	return append(all, bench{
		group: publishing, name: fmt.Sprintf("bare ring, %d readers copy from it", subscribers),
		n: 1_000_000, ownCPU: true,
		here: &ringWriter{}, there: &ringReaders{count: subscribers},
	}, bench{
		group: publishing, name: fmt.Sprintf("bare ring that waits for %d readers", subscribers),
		n: 1_000_000, ownCPU: true,
		here:  &ringWriter{holds: subscribers},
		there: &ringReaders{count: subscribers, hold: true},
	})
}

func topicOptions() *topic.Options {
	return &topic.Options{Capacity: capacity, Holds: 64, Lifetime: shmem.Owned}
}

// A copiedRing is the least that a topic does: a writer that stores a message and its position, and
// readers that copy it and look at the position again. It waits for no reader, or for all: then
// each reader stores its position, and a writer that has come round sleeps until half of the ring
// is free.
type copiedRing struct {
	Tail  atomic.Uint64
	_     [120]byte
	Ended atomic.Bool
	_     [127]byte
	Holds [64]struct {
		Pos atomic.Uint64
		_   [120]byte
	}
	Slots [capacity]struct {
		Seq  atomic.Uint64
		Data [8]atomic.Uint64
	}
}

type ringWriter struct {
	holds int // readers that it waits for
	b     *shmem.Box[copiedRing]
}

func (x *ringWriter) open() {
	var err error
	x.b, err = shmem.Create[copiedRing](*base, &shmem.Options{Undo: shmem.UndoNever})
	must(err)
}

func (x *ringWriter) close() { x.b.Close() }

func (x *ringWriter) run(n int) {
	r, limit := x.b.Value(), uint64(0)
	for i := range uint64(n) {
		if x.holds > 0 && i >= limit {
			limit = r.room(x.holds, i)
		}
		s := &r.Slots[i%capacity]
		s.Seq.Store(2*i + 1)
		for k := range s.Data {
			s.Data[k].Store(i)
		}
		s.Seq.Store(2*i + 2)
		r.Tail.Store(i + 1)
	}
	r.Ended.Store(true)
}

// room returns up to where there is room for the message at i and more.
func (r *copiedRing) room(holds int, i uint64) uint64 {
	for wait := false; ; wait = true {
		low := i
		for k := range holds {
			low = min(low, r.Holds[k].Pos.Load())
		}
		if i+capacity/2 <= low+capacity || !wait && i < low+capacity {
			return low + capacity
		}
		time.Sleep(100 * time.Microsecond)
	}
}

type ringReaders struct {
	count int
	hold  bool // the writer waits for them
	b     *shmem.Box[copiedRing]
}

func (x *ringReaders) open() {
	var err error
	x.b, err = shmem.Attach[copiedRing](*base, &shmem.Options{Undo: shmem.UndoNever})
	must(err)
}

func (x *ringReaders) close() { x.b.Close() }

// run copies until the ring has ended. A reader with nothing to read yields.
func (x *ringReaders) run(int) {
	var wg sync.WaitGroup
	for i := range x.count {
		wg.Go(func() {
			hold := new(atomic.Uint64)
			if x.hold {
				hold = &x.b.Value().Holds[i].Pos
			}
			readRing(x.b.Value(), hold)
		})
	}
	wg.Wait()
}

// readRing stores its position to hold.
func readRing(r *copiedRing, hold *atomic.Uint64) {
	var v [8]uint64
	for pos := uint64(0); !r.Ended.Load(); {
		if t := r.Tail.Load(); t == pos {
			runtime.Gosched()
			continue
		} else if t-pos > capacity {
			pos = t - capacity
		}
		s := &r.Slots[pos%capacity]
		if s.Seq.Load() == 2*pos+2 {
			for k := range v {
				v[k] = s.Data[k].Load()
			}
			s.Seq.Load()
		}
		pos++
		hold.Store(pos)
	}
}

type publisher struct{ t *topic.Topic[line] }

func (x *publisher) open() {
	var err error
	x.t, err = topic.Create[line](*base, topicOptions())
	must(err)
}

func (x *publisher) close() { x.t.Close() }

func (x *publisher) run(n int) {
	for range n {
		must(x.t.Publish(ctx, line{}))
	}
	must(x.t.End())
}

// subscribersOf are goroutines of the other process, each with a subscription of its own.
type subscribersOf struct {
	count int
	held  int // so many of them hold publishers back
	t     *topic.Topic[line]
	all   []*topic.Subscription[line]
}

func (x *subscribersOf) open() {
	var err error
	x.t, err = topic.Attach[line](*base, topicOptions())
	must(err)
	for i := range x.count {
		how := topic.NoHold
		if i < x.held {
			how = topic.Hold
		}
		s, err := x.t.Subscribe(topic.Now, how)
		must(err)
		x.all = append(x.all, s)
	}
}

func (x *subscribersOf) close() { x.t.Close() }

// run receives until the topic ends.
func (x *subscribersOf) run(int) {
	var wg sync.WaitGroup
	for _, s := range x.all {
		wg.Go(func() {
			for _, err := range s.All(ctx) {
				must(err)
			}
		})
	}
	wg.Wait()
}
