package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// A fan is a way to tell many at once. Messages have 64 bytes.
type fan struct {
	name, needs string
	kind        Kind
	publisher   func(t *Trial) (publish func(*[8]uint64) error, err error)
	// the i-th, counts what it got, for ever
	reader func(t *Trial, i int, got *atomic.Int64) error
}

var fans = []fan{
	topicFan("Topic, the slow lose the oldest", 0),
	topicFan("Topic, the slow hold the one back", 64),
	{"Box.Store, Watch (latest only)", "", Ours, func(t *Trial) (func(*[8]uint64) error, error) {
		box, err := openBox[[8]uint64](t, "value")
		return func(v *[8]uint64) error { return box.StoreFrom(context.Background(), v) }, err
	}, func(t *Trial, i int, got *atomic.Int64) error {
		box, err := valueBox(t)
		if err != nil {
			return err
		}
		got.Add(1)
		for _, err := range box.Watch(context.Background()) {
			if err != nil {
				return err
			}
			got.Add(1)
		}
		return nil
	}},
	{"a Unix socket for each", "", Peer, func(t *Trial) (func(*[8]uint64) error, error) {
		l, err := net.Listen("unix", t.Path("socket"))
		var ws []io.Writer
		for range t.N {
			if err == nil {
				var c net.Conn
				c, err = l.Accept()
				ws = append(ws, c)
			}
		}
		return writeAll(ws), err
	}, func(t *Trial, i int, got *atomic.Int64) error {
		c, err := dial("unix", t.Await("socket"))
		if err != nil {
			return err
		}
		return readAll(c.(stream), got)
	}},
	{"a pipe for each", "", Peer, func(t *Trial) (func(*[8]uint64) error, error) {
		var ws []io.Writer
		for i := range t.N {
			f, err := openFIFO(t, i)
			if err != nil {
				return nil, err
			}
			ws = append(ws, f)
		}
		return writeAll(ws), nil
	}, func(t *Trial, i int, got *atomic.Int64) error {
		f, err := openFIFO(t, i)
		if err != nil {
			return err
		}
		return readAll(f, got)
	}},
	{"Redis PUBLISH", "redis", Peer, func(t *Trial) (func(*[8]uint64) error, error) {
		c, err := startRedis(t)
		return func(v *[8]uint64) error {
			_, err := c.Do("PUBLISH", "topic", string(bytesOf(v)))
			return err
		}, err
	}, func(t *Trial, i int, got *atomic.Int64) error {
		c, err := dialRedis(t)
		for err == nil {
			if got.Load() == 0 {
				_, err = c.Do("SUBSCRIBE", "topic")
			} else {
				_, err = c.Read()
			}
			got.Add(1)
		}
		return err
	}},
	{"a Go channel for each", "", Note, func(t *Trial) (func(*[8]uint64) error, error) {
		return func(v *[8]uint64) error {
			for i := range t.N {
				fanChans[i] <- *v
			}
			return nil
		}, nil
	}, func(t *Trial, i int, got *atomic.Int64) error {
		got.Add(1)
		for range fanChans[i] {
			got.Add(1)
		}
		return nil
	}},
	{"bare ring, no readers", "", Limit, func(t *Trial) (func(*[8]uint64) error, error) {
		m, err := mapOpen(t, "ring", 64*ringSlots+4096)
		if err != nil {
			return nil, err
		}
		tail, items, n := as[atomic.Uint64](m), slice[[8]uint64](m[4096:], ringSlots), uint64(0)
		return func(v *[8]uint64) error {
			items[n%ringSlots] = *v
			n++
			storeRelease(tail, n)
			return nil
		}, nil
	}, func(t *Trial, i int, got *atomic.Int64) error { got.Add(1); select {} }},
}

// shared opens what the readers of one process share, once.
func shared[T any](open func(*Trial) (T, error)) func(*Trial) (T, error) {
	var once sync.Once
	var v T
	var err error
	return func(t *Trial) (T, error) {
		once.Do(func() { v, err = open(t) })
		return v, err
	}
}

var valueBox = shared(func(t *Trial) (*shmem.Box[[8]uint64], error) {
	return openBox[[8]uint64](t, "value")
})

func topicFan(name string, hold int) fan {
	open := shared(func(t *Trial) (*topic.Topic[[8]uint64], error) {
		return topic.Open[[8]uint64]("topic",
			&topic.Options{Dir: t.Dir, Lifetime: shmem.Kept, Capacity: 1024, Holds: hold})
	})
	return fan{name, "", Ours, func(t *Trial) (func(*[8]uint64) error, error) {
		tp, err := open(t)
		return func(v *[8]uint64) error { return tp.Publish(context.Background(), *v) }, err
	}, func(t *Trial, i int, got *atomic.Int64) error {
		tp, err := open(t)
		if err != nil {
			return err
		}
		sub, err := tp.Subscribe(topic.Now)
		for got.Add(1); err == nil; got.Add(1) {
			_, err = sub.Recv(context.Background())
		}
		return err
	}}
}

var fanChans = func() (c [64]chan [8]uint64) {
	for i := range c {
		c[i] = make(chan [8]uint64, 1024)
	}
	return c
}()

func openFIFO(t *Trial, i int) (*os.File, error) {
	name := t.Path(fmt.Sprint("pipe", i))
	mkfifo(name) // the first process makes it
	return os.OpenFile(name, os.O_RDWR, 0)
}

func writeAll(ws []io.Writer) func(*[8]uint64) error {
	return func(v *[8]uint64) error {
		for _, w := range ws {
			if _, err := w.Write(bytesOf(v)); err != nil {
				return err
			}
		}
		return nil
	}
}

func readAll(r io.Reader, got *atomic.Int64) error {
	got.Add(1) // ready
	b := make([]byte, 64)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		got.Add(1)
	}
}

// fanProcesses is how many processes the readers are spread over.
const fanProcesses = 8

type fanCounts [64]struct {
	n atomic.Int64
	_ [120]byte
}

var fanReaders = role("readers", func(t *Trial) error {
	counts := as[fanCounts](must(mapOpen(t, "counts", 8192)))
	var first int
	fmt.Sscan(t.Args[1], &first)
	var wg sync.WaitGroup
	for _, f := range fans {
		for i := first; f.name == t.Args[0] && i < t.N; i += fanProcesses {
			wg.Go(func() {
				if err := f.reader(t, i, &counts[i].n); err != nil {
					fail(err)
				}
			})
		}
	}
	wg.Wait()
	return nil
})

func (f fan) contender() Contender {
	return Contender{Name: f.name, Kind: f.kind, Needs: f.needs, Run: func(t *Trial) error {
		counts := as[fanCounts](must(mapOpen(t, "counts", 8192)))
		for i := range min(t.N, fanProcesses) {
			if f.kind == Note {
				other := *t
				other.Args = []string{f.name, fmt.Sprint(i)}
				go roles[fanReaders](&other)
			} else if _, err := t.Start(fanReaders, f.name, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		publish, err := f.publisher(t)
		if err != nil {
			return err
		}
		sum := func() (n int64) {
			for i := range t.N {
				n += counts[i].n.Load()
			}
			return n
		}
		for i := range t.N {
			until(&counts[i].n)
		}
		var v [8]uint64
		published := 0
		before, start, cpu := sum(), time.Now(), processCPU(selfPID)
		err = t.Each(func() error {
			v[0]++
			published++
			return publish(&v)
		})
		if f.kind != Limit {
			t.Extra("the publisher's CPU, ns", float64(processCPU(selfPID)-cpu)/float64(published))
			t.Extra("received by each per s",
				float64(sum()-before)/float64(t.N)/time.Since(start).Seconds())
			t.Extra("received of published, %",
				100*float64(sum()-before)/float64(t.N)/float64(published))
		}
		return err
	}}
}

func fanCases() (cases []Case) {
	for _, n := range []int{1, 8, 64} {
		c := Case{Item: "g", Name: fmt.Sprintf("fanout-%d", n), N: n, Bytes: 64,
			Unit: "publication", Full: n == 64,
			About: fmt.Sprintf("64 bytes from one to %d that read, in up to %d processes; what "+
				"it costs the one", n, fanProcesses)}
		for _, f := range fans {
			c.Who = append(c.Who, f.contender())
		}
		c.Who = append(c.Who, mangos, aeron)
		cases = append(cases, c)
	}
	return cases
}
