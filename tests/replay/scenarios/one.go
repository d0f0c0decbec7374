//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/world"
)

// neighbours has mutexes of which Mu[0] and Mu[same] are waited for in the same bucket.
type neighbours struct {
	Mu [512]psync.Mutex
	In [512]uint32 // goroutines that hold the mutex
}

// sameBucket returns the index of a mutex that shares the bucket of the first one.
func sameBucket(v *neighbours) int {
	m := mem.Of(&v.Mu[0])
	bucket := func(i int) int {
		return layout.Bucket(uintptr(mem.Offset(m, &v.Mu[i]) + layout.MutexArmed))
	}
	for i := 1; i < len(v.Mu); i++ {
		if bucket(i) == bucket(0) {
			return i
		}
	}
	panic("no two mutexes share a bucket")
}

// A one is a scenario of waking one: each process has goroutines that lock a mutex once, half of
// them another one of the same bucket. Contexts of all but the last process may end. With closing,
// the first process closes its box at some time.
type one struct {
	processes, goroutines int
	closing               bool
}

func (o one) setup(r *world.Run) {
	for i := range o.processes {
		p := r.Process(fmt.Sprintf("P%d", i))
		last := i == o.processes-1
		if last {
			p.Spare()
		}
		b := open[neighbours](p)
		v := b.Value()
		second := 0
		var threads []*world.Thread
		p.Do(func() { second = sameBucket(v) })
		for g := range o.goroutines {
			k := []int{0, second}[(i+g)%2]
			ctx := background
			if r.Config.Cancels > 0 && !last {
				ctx = p.Cancelable()
			}
			threads = append(threads, p.Go(fmt.Sprint(g), func() {
				o.use(ctx, p, &v.Mu[k], &v.In[k])
			}))
		}
		if o.closing && i == 0 {
			p.Go("close", func() {
				for _, t := range threads { // a call that begins while Close ends may fault
					world.Await(func() bool { return t.Blocked() || t.Done() })
				}
				must(b.Close(), "Close")
			})
		}
	}
}

// use locks the mutex and unlocks it.
func (o one) use(ctx context.Context, p *world.Process, mu *psync.Mutex, in *uint32) {
	err := mu.Lock(ctx)
	switch {
	case done(ctx, err), o.closing && errors.Is(err, shmem.ErrClosed):
		return
	case errors.Is(err, psync.ErrOwnerDied) && world.Running().Killed():
		must(mu.Recover(background, func() error { return nil }), "Recover")
		return
	}
	must(err, "Lock")
	if !world.Running().Killed() && !o.closing {
		if *in++; *in != 1 {
			world.Fail("%s: %d goroutines hold a mutex", p.Name, *in)
		}
		world.Yield("holds the mutex")
		*in--
	}
	if err := mu.Unlock(); !o.closing {
		must(err, "Unlock")
	}
}

// oneEach: a process sends messages, in one batch or one by one. Goroutines of the other processes
// receive one each, of which some may give up. The others get all messages.
func oneEach(receivers []int, patient, messages int, batch bool) func(r *world.Run) {
	return func(r *world.Run) {
		s := r.Process("S").Spare()
		var q *queue.Queue[uint64]
		open := func(p *world.Process) (q *queue.Queue[uint64]) {
			p.Do(func() {
				var err error
				q, err = queue.Open[uint64]("q", &queue.Options{Capacity: 4, Slots: 8})
				must(err, "open the queue")
			})
			return q
		}
		q = open(s)
		received, left := 0, patient
		for i, n := range receivers {
			p := r.Process(fmt.Sprintf("R%d", i)).Spare()
			q := open(p)
			for g := range n {
				var ctx context.Context = background
				if i == 0 && g == 0 || left == 0 {
					ctx = p.Cancelable()
				} else {
					left--
				}
				p.Go(fmt.Sprint(g), func() {
					switch _, err := q.Recv(ctx); {
					case err == nil:
						received++
					case !done(ctx, err) && !errors.Is(err, io.EOF):
						world.Fail("Recv: %v", err)
					}
				})
			}
		}
		s.Go("main", func() {
			if batch {
				_, err := q.SendBatch(background, make([]uint64, messages))
				must(err, "SendBatch")
			} else {
				for range messages {
					must(q.Send(background, 1), "Send")
				}
			}
			world.Await(func() bool { return received == messages })
			must(q.End(), "End")
		})
	}
}

// givingUp: process A gives up waiting for a mutex at about the time at which its holder unlocks
// it. Process B, which waits as well, gets the mutex. With led, a goroutine of A that waits for
// another mutex leads.
func givingUp(led bool) func(r *world.Run) {
	return func(r *world.Run) {
		s, a, b := r.Process("S").Spare(), r.Process("A").Spare(), r.Process("B").Spare()
		vs, va := open[neighbours](s).Value(), open[neighbours](a).Value()
		vb := open[neighbours](b).Value()
		s.Do(func() {
			must(vs.Mu[0].Lock(background), "Lock")
			must(vs.Mu[1].Lock(background), "Lock")
		})
		var waiting []*world.Thread
		if led {
			leader := a.Go("leads", func() {
				must(va.Mu[1].Lock(background), "Lock")
			})
			waiting = append(waiting, leader)
		}
		ctx := a.Cancelable()
		waiting = append(waiting, a.Go("gives up", func() {
			if led {
				world.Await(waiting[0].Blocked)
			}
			if err := va.Mu[0].Lock(ctx); !done(ctx, err) {
				must(err, "Lock")
				must(va.Mu[0].Unlock(), "Unlock")
			}
		}))
		patient := b.Go("waits", func() {
			must(vb.Mu[0].Lock(background), "Lock")
			must(vb.Mu[0].Unlock(), "Unlock")
		})
		waiting = append(waiting, patient)
		s.Go("ends", func() {
			world.Await(patient.Done)
			must(vs.Mu[1].Unlock(), "Unlock")
		})
		unlock := func() { must(vs.Mu[0].Unlock(), "Unlock") }
		for i, f := range []func(){unlock, ctx.Cancel} {
			s.Go(fmt.Sprint("main", i), func() {
				for _, t := range waiting {
					world.Await(func() bool { return t.Blocked() || t.Done() })
				}
				f()
			})
		}
	}
}

// tenant: process A, which is woken for a mutex, may die, and the next process takes its slot
// before or after others are told of the death. Process B gets the mutex.
func tenant(r *world.Run) {
	s, a, b := r.Process("S").Spare(), r.Process("A"), r.Process("B").Spare()
	var vs, va, vb *neighbours
	opts := &shmem.Options{Slots: 3}
	for i, p := range []*world.Process{s, a, b} {
		p.Do(func() {
			box, err := shmem.Open[neighbours]("box", opts)
			must(err, "Open")
			*[]**neighbours{&vs, &va, &vb}[i] = box.Value()
		})
	}
	s.Do(func() { must(vs.Mu[0].Lock(background), "Lock") })
	lock := func(v *neighbours) func() {
		return func() {
			err := v.Mu[0].Lock(background)
			if errors.Is(err, psync.ErrOwnerDied) {
				return
			}
			must(err, "Lock")
			must(v.Mu[0].Unlock(), "Unlock")
		}
	}
	waiting := []*world.Thread{a.Go("waits", lock(va)), b.Go("waits", lock(vb))}
	s.Go("unlocks", func() {
		for _, t := range waiting {
			world.Await(func() bool { return t.Blocked() || t.Done() })
		}
		must(vs.Mu[0].Unlock(), "Unlock")
	})
	late := r.Process("L").Spare()
	late.Go("attaches", func() {
		world.Await(a.Over)
		for range 30 { // until the kernel has freed the slot
			_, err := shmem.Open[neighbours]("box", opts)
			if a.Alive() || !errors.Is(err, shmem.ErrNoSlot) {
				break
			}
			world.Yield("finds no slot")
		}
	})
}

// hogged: process H keeps a lock for 2 ms each time, and locks it again at once. Process V waits
// for it: it gets the lock when H unlocks it.
func hogged[T any](hog, victim func(b *shmem.Box[T], f func() error) error) func(r *world.Run) {
	return func(r *world.Run) {
		h, v := r.Process("H").Spare(), r.Process("V").Spare()
		bh, bv := open[T](h), open[T](v)
		var due, served bool
		waits := v.Go("waits", func() {
			for range 2 {
				must(victim(bv, func() error { due = false; return nil }), "lock")
			}
			served = true
		})
		h.Go("hog", func() {
			for !served {
				must(hog(bh, func() error {
					if due {
						world.Fail("H has the lock again before V")
					}
					world.Sleep(2 * time.Millisecond)
					due = waits.Blocked()
					return nil
				}), "lock")
			}
		})
	}
}

// between calls f between a call that locks and one that unlocks.
func between(lock func(context.Context) error, unlock, f func() error) error {
	if err := lock(background); err != nil {
		return err
	}
	return errors.Join(f(), unlock())
}

func hogs() {
	mutex := func(b *shmem.Box[neighbours], f func() error) error {
		mu := &b.Value().Mu[0]
		return between(mu.Lock, mu.Unlock, f)
	}
	write := func(b *shmem.Box[shared], f func() error) error {
		rw := &b.Value().RW
		return between(rw.Lock, rw.Unlock, f)
	}
	read := func(b *shmem.Box[shared], f func() error) error {
		rw := &b.Value().RW
		return between(rw.RLock, rw.RUnlock, f)
	}
	update := func(b *shmem.Box[shared], f func() error) error {
		return b.Update(background, func(*shared) error { return f() })
	}
	view := func(b *shmem.Box[shared], f func() error) error {
		return b.View(background, func(*shared) error { return f() })
	}
	local := world.Config{Local: true, Idle: 10 * time.Millisecond}
	scenario("one-hog", local, hogged(mutex, mutex))
	scenario("one-hog-write", local, hogged(write, write))
	scenario("one-hog-read", local, hogged(write, read))
	scenario("one-hog-update", local, hogged(update, update))
	scenario("one-hog-view", local, hogged(update, view))
}

// freed: process S has what the goroutines of two other processes wait for. When it has released it
// all of them go on, though few are woken.
func freed[T any](take, release func(v *T) error, waits ...func(v *T) error) func(r *world.Run) {
	return func(r *world.Run) {
		s := r.Process("S").Spare()
		vs := open[T](s).Value()
		s.Do(func() { must(take(vs), "take") })
		var waiting []*world.Thread
		for i := range 2 {
			p := r.Process(fmt.Sprintf("P%d", i)).Spare()
			v := open[T](p).Value()
			for k := i; k < len(waits); k += 2 {
				w := waits[k]
				waiting = append(waiting, p.Go(fmt.Sprint("waits", k), func() {
					must(w(v), "wait")
				}))
			}
		}
		s.Go("releases", func() {
			for _, t := range waiting {
				world.Await(func() bool { return t.Blocked() || t.Done() })
			}
			must(release(vs), "release")
		})
	}
}

// tooFew: one permit is released, too few for a request for two. A request for one gets it,
// whichever of them is woken.
func tooFew(r *world.Run) {
	served := false
	one := func(v *permits) error {
		err := ofPermits(1)(v)
		served = true
		return err
	}
	release := func(v *permits) error {
		if err := v.Sem.Release(1); err != nil {
			return err
		}
		world.Await(func() bool { return served })
		return v.Sem.Release(3)
	}
	freed(setPermits, release, ofPermits(2), one)(r)
}

type doors struct{ RW psync.RWMutex }

func writes(v *doors) error {
	if err := v.RW.Lock(background); err != nil {
		return err
	}
	return v.RW.Unlock()
}

func reads(v *doors) error {
	if err := v.RW.RLock(background); err != nil {
		return err
	}
	return v.RW.RUnlock()
}

// viewing: goroutines wait until a box that is changed can be read.
func viewing(r *world.Run) {
	s := r.Process("S").Spare()
	b := open[register](s)
	var waiting []*world.Thread
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i)).Spare()
		b := open[register](p)
		v := b.Value()
		for k := range 2 {
			waiting = append(waiting, p.Go(fmt.Sprint("views", k), func() {
				world.Await(func() bool { return v.A == 1 })
				must(b.View(background, func(*register) error { return nil }), "View")
			}))
		}
	}
	s.Go("updates", func() {
		must(b.Update(background, func(v *register) error {
			v.A = 1
			for _, t := range waiting {
				world.Await(func() bool { return t.Blocked() || t.Done() })
			}
			return nil
		}), "Update")
	})
}

func ofPermits(n uint32) func(v *permits) error {
	return func(v *permits) error { return v.Sem.Acquire(background, n) }
}

func setPermits(v *permits) error {
	if err := v.Sem.SetLimit(4); err != nil {
		return err
	}
	return v.Sem.Acquire(background, 4)
}

// roomy: a queue of bytes is full by one message. When it is received there is room for all that
// wait.
func roomy(r *world.Run) {
	s := r.Process("S").Spare()
	open := func(p *world.Process) (q *queue.Bytes) {
		p.Do(func() {
			var err error
			q, err = queue.OpenBytes("q", &queue.BytesOptions{Capacity: 4, Bytes: 64, Slots: 4})
			must(err, "open the queue")
		})
		return q
	}
	q := open(s)
	s.Do(func() { must(q.Send(background, make([]byte, 64)), "Send") })
	var waiting []*world.Thread
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i)).Spare()
		q := open(p)
		for k := range 2 {
			waiting = append(waiting, p.Go(fmt.Sprint("sends", k), func() {
				must(q.Send(background, make([]byte, 8)), "Send")
			}))
		}
	}
	s.Go("receives", func() {
		for _, t := range waiting {
			world.Await(func() bool { return t.Blocked() || t.Done() })
		}
		_, err := q.Recv(background, nil)
		must(err, "Recv")
	})
}

func init() {
	local := world.Config{Local: true}
	lockRW := func(v *doors) error { return v.RW.Lock(background) }
	unlockRW := func(v *doors) error { return v.RW.Unlock() }
	scenario("one-readers", local, freed(lockRW, unlockRW, reads, reads, reads, reads))
	scenario("one-mixed", local, freed(lockRW, unlockRW, reads, writes, writes, reads))
	scenario("one-viewers", local, viewing)
	release := func(n uint32) func(v *permits) error {
		return func(v *permits) error { return v.Sem.Release(n) }
	}
	scenario("one-permits", local,
		freed(setPermits, release(4), ofPermits(1), ofPermits(1), ofPermits(2)))
	scenario("one-permits-few", local,
		freed(setPermits, release(2), ofPermits(1), ofPermits(1)))
	scenario("one-permit", local, tooFew)
	scenario("one-room", local, roomy)
	hogs()
	scenario("one-tenant", world.Config{Kills: 1}, tenant)
	scenario("one-pass", world.Config{Local: true}, givingUp(true))
	scenario("one-strand", world.Config{Local: true}, givingUp(false))
	scenario("one-batch", world.Config{Local: true}, oneEach([]int{3}, 2, 2, true))
	scenario("one-each", world.Config{Cancels: 1, Local: true}, oneEach([]int{2}, 1, 1, false))
	scenario("one-apart", world.Config{Cancels: 1, Local: true}, oneEach([]int{1, 1}, 1, 1, false))
	scenario("one-both", world.Config{Cancels: 1, Stops: 1, Local: true},
		oneEach([]int{2, 2}, 2, 2, false))
	scenario("one", world.Config{Stops: 1, Local: true}, one{3, 2, false}.setup)
	scenario("one-cancel", world.Config{Cancels: 2, Local: true}, one{2, 3, false}.setup)
	scenario("one-kill", world.Config{Kills: 1}, one{3, 2, false}.setup)
	scenario("one-close", world.Config{Local: true}, one{3, 2, true}.setup)
}
