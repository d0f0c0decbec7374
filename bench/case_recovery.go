package main

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem/psync"
	"golang.org/x/sys/unix"
)

// scene is what the three processes of a recovery share besides the lock.
type scene struct {
	// got: when the waiter had the lock, on the system's monotonic clock
	held, ready, got atomic.Int64
}

// A victim takes a lock, says so and waits for its death; a waiter then wants it.
type victim struct {
	name string
	kind Kind
	hold func(t *Trial, held func()) error
	wait func(t *Trial) error
}

var victims = []victim{
	{"psync.Mutex, ErrOwnerDied", Ours, func(t *Trial, held func()) error {
		box, err := openBox[guarded](t, "guarded")
		if err == nil {
			err = box.Value().mu.Lock(context.Background())
		}
		held()
		return err
	}, func(t *Trial) error {
		box, err := openBox[guarded](t, "guarded")
		if err != nil {
			return err
		}
		if err := box.Value().mu.Lock(context.Background()); !errors.Is(err, psync.ErrOwnerDied) {
			return errors.New("death was not seen")
		}
		return nil
	}},
	{"psync.Mutex, Recover and Lock", Ours, func(t *Trial, held func()) error {
		box, err := openBox[guarded](t, "guarded")
		if err == nil {
			err = box.Value().mu.Lock(context.Background())
		}
		held()
		return err
	}, func(t *Trial) error {
		box, err := openBox[guarded](t, "guarded")
		if err != nil {
			return err
		}
		mu := &box.Value().mu
		ctx := context.Background()
		for err = mu.Lock(ctx); errors.Is(err, psync.ErrOwnerDied); err = mu.Lock(ctx) {
			if err := mu.Recover(context.Background(), func() error { return nil }); err != nil {
				return err
			}
		}
		return err
	}},
	{"Box.Update, rolled back", Ours, func(t *Trial, held func()) error {
		box, err := openBox[page](t, "page")
		if err != nil {
			return err
		}
		return box.Update(context.Background(), func(p *page) error { p[0] = 1; held(); select {} })
	}, func(t *Trial) error {
		box, err := openBox[page](t, "page")
		if err != nil {
			return err
		}
		return box.Update(context.Background(), func(p *page) error {
			if p[0] != 0 {
				return errors.New("not rolled back")
			}
			return nil
		})
	}},
	{"lock of a file (OFD), released by the kernel", Limit, func(t *Trial, held func()) error {
		err := lockFile(t)
		held()
		return err
	}, lockFile},
}

func lockFile(t *Trial) error {
	f, err := os.OpenFile(t.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	leaked = f
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &l)
	}
	return err
}

var leaked *os.File

func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

func theVictim(t *Trial) (victim, *scene) {
	m := must(mapOpen(t, "scene", 4096))
	for _, v := range victims {
		if v.name == t.Args[0] {
			return v, as[scene](m)
		}
	}
	panic(t.Args[0])
}

var (
	holderRole = role("holder", func(t *Trial) error {
		v, s := theVictim(t)
		err := v.hold(t, func() { s.held.Store(1) })
		if err == nil {
			time.Sleep(time.Hour)
		}
		return err
	})
	waiterRole = role("waiter", func(t *Trial) error {
		v, s := theVictim(t)
		s.ready.Store(1)
		err := v.wait(t)
		s.got.Store(monotonic())
		return err
	})
)

// contender measures the time from SIGKILL of the holder until the waiter, an unrelated process,
// has the lock or knows.
func (v victim) contender() Contender {
	return Contender{Name: v.name, Kind: v.kind, Run: func(t *Trial) error {
		m, err := mapOpen(t, "scene", 4096)
		if err != nil {
			return err
		}
		s := as[scene](m)
		holder, err := t.Start(holderRole, v.name)
		if err != nil {
			return err
		}
		until(&s.held)
		if _, err := t.Start(waiterRole, v.name); err != nil {
			return err
		}
		until(&s.ready)
		time.Sleep(20 * time.Millisecond) // now it waits
		t0 := monotonic()
		syscall.Kill(holder.Process.Pid, syscall.SIGKILL)
		for start := time.Now(); s.got.Load() == 0; time.Sleep(100 * time.Microsecond) {
			if time.Since(start) > 5*time.Second {
				return errors.New("never: still waiting 5 s after the holder's death")
			}
		}
		d := time.Duration(s.got.Load() - t0)
		t.Record(d)
		t.sample.Ops, t.sample.NS = 1, float64(d)
		t.sample.Threads, t.sample.RSS = t.usage()
		return holder.Process.Release()
	}}
}

func until(w *atomic.Int64) {
	for w.Load() == 0 {
		time.Sleep(100 * time.Microsecond)
	}
}

func recoveryCases() []Case {
	c := Case{Item: "j", Name: "recovery",
		About: "from SIGKILL of the process that holds the lock until one that waits for it has it",
		Unit:  "death"}
	for _, v := range victims {
		c.Who = append(c.Who, v.contender())
	}
	c.Who = append(c.Who, external("pthread mutex, shared and robust (C)", Peer, "c", "recovery"),
		external("Boost interprocess_mutex (C++)", Peer, "boost", "recovery"))
	return []Case{c}
}
