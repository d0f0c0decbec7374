package main

import (
	"context"
	"os"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem/psync"
	"golang.org/x/sys/unix"
)

// guarded is a counter under each of our locks.
type guarded struct {
	count atomic.Int64
	_     [120]byte
	mu    psync.Mutex
	_     [120]byte
	rw    psync.RWMutex
	_     [120]byte
	plain uint64
}

// A locker locks, counts and unlocks.
type locker struct {
	name string
	kind Kind
	open func(t *Trial) (add func() error, err error)
}

func inBox(name string, add func(v *guarded) error) locker {
	return locker{name, Ours, func(t *Trial) (func() error, error) {
		box, err := openBox[guarded](t, "guarded")
		if err != nil {
			return nil, err
		}
		v := box.Value()
		return func() error { return add(v) }, nil
	}}
}

var (
	mutex = inBox("psync.Mutex", func(v *guarded) error {
		if err := v.mu.Lock(context.Background()); err != nil {
			return err
		}
		v.plain++
		return v.mu.Unlock()
	})
	writeLock = inBox("psync.RWMutex, write", func(v *guarded) error {
		if err := v.rw.Lock(context.Background()); err != nil {
			return err
		}
		v.plain++
		return v.rw.Unlock()
	})
	readLock = inBox("psync.RWMutex, read", func(v *guarded) error {
		if err := v.rw.RLock(context.Background()); err != nil {
			return err
		}
		sink += byte(v.plain)
		return v.rw.RUnlock()
	})
	boxAtomic = inBox("Box, atomic.Int64 in it", func(v *guarded) error {
		v.count.Add(1)
		return nil
	})
	boxUpdate = locker{"Box.Update of 64 B", Ours, func(t *Trial) (func() error, error) {
		box, err := openBox[[8]uint64](t, "small")
		if err != nil {
			return nil, err
		}
		inc := func(v *[8]uint64) error { v[0]++; return nil }
		return func() error { return box.Update(context.Background(), inc) }, nil
	}}
	goMutex = locker{"sync.Mutex", Note, func(t *Trial) (func() error, error) {
		return func() error {
			localMutex.Lock()
			localCount++
			localMutex.Unlock()
			return nil
		}, nil
	}}
	fileLock = locker{"lock of a file (OFD)", Peer, func(t *Trial) (func() error, error) {
		f, err := os.OpenFile(t.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		return func() error {
			for _, typ := range []int16{unix.F_WRLCK, unix.F_UNLCK} {
				l := unix.Flock_t{Type: typ, Len: 1}
				if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &l); err != nil &&
					err != unix.EINTR {
					return err
				}
			}
			return nil
		}, nil
	}}
	bareAtomic = locker{"atomic add, mmap by hand", Limit, func(t *Trial) (func() error, error) {
		m, err := mapOpen(t, "bare", 4096)
		if err != nil {
			return nil, err
		}
		v := as[atomic.Int64](m)
		return func() error { v.Add(1); return nil }, nil
	}}
	bareLock = locker{"compare-and-swap, then swap", Limit, func(t *Trial) (func() error, error) {
		m, err := mapOpen(t, "bare", 4096)
		if err != nil {
			return nil, err
		}
		w, spin := as[atomic.Uint32](m), new(spinner)
		return func() error {
			for !w.CompareAndSwap(0, 1) {
				spin.once()
			}
			w.Swap(0)
			return nil
		}, nil
	}}
	lockers = []locker{mutex, writeLock, readLock, boxAtomic, boxUpdate, fileLock, flockLock,
		bareAtomic, bareLock, goMutex}

	localMutex sync.Mutex
	localCount int
)

// alone measures a lock that no other process takes.
func (l locker) alone() Contender {
	return Contender{Name: l.name, Kind: l.kind, Run: func(t *Trial) error {
		add, err := l.open(t)
		if err != nil {
			return err
		}
		return t.Loop(func(n int) error { return repeat(n, add) })
	}}
}

// two measures two processes at one lock (or goroutines, if it is no lock between processes): each
// counts in memory of its own how often it had it.
func (l locker) two() Contender {
	return Contender{Name: l.name, Kind: l.kind, Run: func(t *Trial) error {
		m, err := mapShared(t, 0, "counts", 4096)
		if err != nil {
			return err
		}
		for _, side := range []string{"0", "1"} {
			if l.kind == Note {
				other := *t
				other.Args = []string{l.name, side}
				go roles[hammer](&other)
				continue
			}
			if _, err := t.Start(hammer, l.name, side); err != nil {
				return err
			}
		}
		a, b := as[atomic.Int64](m), as[atomic.Int64](m[128:])
		until(a)
		until(b)
		a0, b0 := a.Load(), b.Load()
		err = t.Count(func() int { return int(a.Load() + b.Load()) })
		da, db := float64(a.Load()-a0), float64(b.Load()-b0)
		t.Extra("share of the one who had it less", min(da, db)/(da+db))
		return err
	}}
}

var hammer = role("hammer", func(t *Trial) error {
	m, err := mapShared(t, 1, "counts", 4096)
	if err != nil {
		return err
	}
	count := as[atomic.Int64](m[map[string]int{"0": 0, "1": 128}[t.Args[1]]:])
	for _, l := range lockers {
		if l.name != t.Args[0] {
			continue
		}
		add, err := l.open(t)
		for err == nil {
			err = repeat(16, add) // seldom enough not to cost the others
			count.Add(16)
		}
		return err
	}
	return nil
})

func repeat(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func lockCases() []Case {
	alone := Case{Item: "d", Name: "lock-alone",
		About: "lock, count and unlock, no other process there", Unit: "lock"}
	for _, l := range []locker{mutex, readLock, writeLock, boxUpdate, fileLock, flockLock, goMutex,
		bareLock} {
		alone.Who = append(alone.Who, l.alone())
	}
	two := Case{Item: "d", Name: "lock-two",
		About: "two processes at one lock, without a pause; locks of both together", Unit: "lock"}
	for _, l := range []locker{mutex, writeLock, boxUpdate, fileLock, flockLock, goMutex,
		bareLock} {
		two.Who = append(two.Who, l.two())
	}
	for i, c := range []*Case{&alone, &two} {
		how := []string{"alone", "two"}[i]
		c.Who = append(c.Who, goIPC,
			external("pthread mutex, shared and robust (C)", Peer, "c", "lock", how, "robust"),
			external("pthread mutex, shared (C)", Peer, "c", "lock", how, "shared"),
			external("POSIX semaphore (C)", Peer, "c", "lock", how, "semaphore"),
			external("Boost interprocess_mutex (C++)", Peer, "boost", "lock", how),
			external("Python multiprocessing.Lock", Peer, "python", "lock", how))
	}
	counter := Case{Item: "e", Name: "counter-two",
		About: "two processes add to one counter; additions of both together", Unit: "addition"}
	for _, l := range []locker{boxAtomic, mutex, boxUpdate, bareAtomic} {
		counter.Who = append(counter.Who, l.two())
	}
	counter.Who = append(counter.Who,
		external("pthread mutex, shared and robust (C)", Peer, "c", "lock", "two", "robust"),
		external("Python multiprocessing.Value", Peer, "python", "counter"),
		redisCounter)
	return []Case{alone, two, counter}
}
