package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
)

// page is a value that is only right as a whole: all its words are equal.
type page [512]uint64

// A keeper keeps a page that one writes all the time and another reads.
type keeper struct {
	name  string
	kind  Kind
	needs string
	open  func(t *Trial) (write, read func(*page) error, err error)
}

func pageBox(name string, write, read func(*shmem.Box[page], *page) error) keeper {
	return keeper{name, Ours, "", func(t *Trial) (w, r func(*page) error, err error) {
		box, err := openBox[page](t, "page")
		if err != nil {
			return nil, nil, err
		}
		w = func(p *page) error { return write(box, p) }
		r = func(p *page) error { return read(box, p) }
		return w, r, nil
	}}
}

type lockedPage struct {
	mu psync.RWMutex
	_  [120]byte
	page
}

var thePage atomic.Pointer[page]

var keepers = []keeper{
	pageBox("Box.LoadTo, StoreFrom",
		func(b *shmem.Box[page], p *page) error { return b.StoreFrom(context.Background(), p) },
		func(b *shmem.Box[page], p *page) error { return b.LoadTo(context.Background(), p) }),
	pageBox("Box.View, Update",
		func(b *shmem.Box[page], p *page) error {
			return b.Update(context.Background(), func(v *page) error { *v = *p; return nil })
		},
		func(b *shmem.Box[page], p *page) error {
			return b.View(context.Background(), func(v *page) error { *p = *v; return nil })
		}),
	{"psync.RWMutex by hand", Ours, "", func(t *Trial) (w, r func(*page) error, err error) {
		box, err := openBox[lockedPage](t, "page")
		if err != nil {
			return nil, nil, err
		}
		v := box.Value()
		return func(p *page) error {
				if err := v.mu.Lock(context.Background()); err != nil {
					return err
				}
				v.page = *p
				return v.mu.Unlock()
			}, func(p *page) error {
				if err := v.mu.RLock(context.Background()); err != nil {
					return err
				}
				*p = v.page
				return v.mu.RUnlock()
			}, nil
	}},
	{"Redis SET, GET", Peer, "redis", func(t *Trial) (w, r func(*page) error, err error) {
		c, err := dialRedis(t)
		w = func(p *page) error {
			_, err := c.Do("SET", "page", string(bytesOf(p)))
			return err
		}
		r = func(p *page) error {
			s, err := c.Do("GET", "page")
			copy(bytesOf(p), s)
			return err
		}
		return w, r, err
	}},
	{"atomic.Pointer to a new copy", Note, "", func(t *Trial) (w, r func(*page) error, err error) {
		return func(p *page) error { c := *p; thePage.Store(&c); return nil },
			func(p *page) error {
				if c := thePage.Load(); c != nil {
					*p = *c
				}
				return nil
			}, nil
	}},
	{"copy(), no writer", Limit, "", func(t *Trial) (w, r func(*page) error, err error) {
		from := new(page)
		w = func(*page) error { time.Sleep(time.Hour); return nil }
		r = func(p *page) error { *p = *from; return nil }
		return w, r, nil
	}},
}

var pageWriter = role("page writer", func(t *Trial) error {
	for _, k := range keepers {
		if k.name != t.Args[0] {
			continue
		}
		write, _, err := k.open(t)
		m, err2 := mapOpen(t, "writes", 4096)
		if err != nil || err2 != nil {
			return err
		}
		var p page
		for n := uint64(1); err == nil; n++ {
			for i := range p {
				p[i] = n
			}
			err = write(&p)
			as[atomic.Uint64](m).Store(n)
		}
		return err
	}
	return nil
})

func (k keeper) contender() Contender {
	return Contender{Name: k.name, Kind: k.kind, Needs: k.needs, Run: func(t *Trial) error {
		if k.needs == "redis" {
			if _, err := startRedis(t); err != nil {
				return err
			}
		}
		m, err := mapOpen(t, "writes", 4096)
		if err != nil {
			return err
		}
		writes := as[atomic.Uint64](m)
		if k.kind == Note {
			other := *t
			other.Args = []string{k.name}
			go roles[pageWriter](&other)
		} else if _, err := t.Start(pageWriter, k.name); err != nil {
			return err
		}
		_, read, err := k.open(t)
		if err != nil {
			return err
		}
		for k.kind != Limit && writes.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		var p page
		before, start := writes.Load(), time.Now()
		torn := 0
		err = t.Each(func() error {
			err := read(&p)
			if p[0] != p[511] || p[0] != p[255] {
				torn++
			}
			return err
		})
		if k.kind != Limit {
			t.Extra("written per s", float64(writes.Load()-before)/time.Since(start).Seconds())
		}
		if torn > 0 {
			t.Extra("TORN", float64(torn))
		}
		return err
	}}
}

func snapshotCases() []Case {
	c := Case{Item: "f", Name: "snapshot-4KiB",
		About: "a consistent copy of 4 KiB that another process writes without a pause",
		Bytes: 4096, Unit: "read"}
	for _, k := range keepers {
		c.Who = append(c.Who, k.contender())
	}
	c.Who = append(c.Who,
		external("pthread mutex, shared and robust (C)", Peer, "c", "snapshot"),
		external("Python SharedMemory under a Lock", Peer, "python", "snapshot"))
	return []Case{c, watchCase()}
}

// watchCase: how long until one who sleeps has the new value.
func watchCase() Case {
	watcher := role("watcher", func(t *Trial) error {
		box, err := openBox[page](t, "page")
		if err != nil {
			return err
		}
		answer, err := openBox[page](t, "answer")
		for v, err := range box.Watch(context.Background()) {
			if err == nil {
				err = answer.StoreFrom(context.Background(), &v)
			}
			if err != nil {
				return err
			}
		}
		return err
	})
	watch := Contender{Name: "Box.Store, Watch", Kind: Ours, Run: func(t *Trial) error {
		box, err := openBox[page](t, "page")
		if err != nil {
			return err
		}
		answer, err := openBox[page](t, "answer")
		if err != nil {
			return err
		}
		if _, err := t.Start(watcher); err != nil {
			return err
		}
		var p, q page
		return t.Each(func() error {
			p[0]++
			if err := box.StoreFrom(context.Background(), &p); err != nil {
				return err
			}
			for q[0] != p[0] {
				seen := answer.Version()
				if err := answer.LoadTo(context.Background(), &q); err != nil || q[0] == p[0] {
					return err
				}
				if err := answer.Wait(context.Background(), seen); err != nil {
					return err
				}
			}
			return nil
		})
	}}
	c := Case{Item: "f", Name: "latest-4KiB",
		About: "a new value of 4 KiB to a process that sleeps until there is one, and its answer " +
			"back", Bytes: 4096, Unit: "round trip", Who: []Contender{watch}}
	for _, tr := range []transport{unixSocket, pipe, rawFutex} {
		c.Who = append(c.Who, tr.roundTrip())
	}
	for i := range c.Who {
		c.Who[i].Name = strings.TrimSpace(c.Who[i].Name)
	}
	return c
}
