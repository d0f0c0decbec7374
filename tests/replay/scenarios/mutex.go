//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

type locked struct {
	Mu   psync.Mutex
	Cond psync.Cond
	N    uint64
}

// lock locks, and recovers where the holder has died. It reports false if ctx ended.
func lock(ctx context.Context, p *world.Process, mu *psync.Mutex, s *oracle.Section) bool {
	for {
		err := mu.Lock(ctx)
		switch {
		case err == nil:
			s.Enter(p)
			return true
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return false
		case !errors.Is(err, psync.ErrOwnerDied) || !world.Running().Killed():
			world.Fail("%s: Lock: %v", p.Name, err)
		}
		err = mu.Recover(ctx, func() error { s.Recovered(); return nil })
		if ctx.Err() == nil {
			must(err, "Recover")
		}
	}
}

// counting: processes count under a mutex, each in several goroutines. No two are in the section,
// none waits for nothing, and a death is told.
func counting(n, goroutines, rounds int) func(r *world.Run) {
	return func(r *world.Run) {
		var s oracle.Section
		var v *locked
		done := 0
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			b := open[locked](p)
			v = b.Value()
			mine := v
			for g := range goroutines {
				ctx := background
				if r.Config.Cancels > 0 && i != n-1 {
					ctx = p.Cancelable()
				}
				p.Go(fmt.Sprint(g), func() {
					for range rounds {
						if !lock(ctx, p, &mine.Mu, &s) {
							return
						}
						was := mine.N
						world.Yield("in the section")
						mine.N = was + 1
						done++
						s.Leave(p)
						must(mine.Mu.Unlock(), "Unlock")
					}
				})
			}
		}
		r.Check(func() error {
			if v.N != uint64(done) && !r.Killed() {
				return fmt.Errorf("counted %d, want %d", v.N, done)
			}
			return nil
		})
	}
}

// leaving: the holder of a mutex unlocks it and closes its box, which it does not own. The one that
// it has woken may die then, and no process watches that one.
func leaving(r *world.Run) {
	const sleeps, leaves = 0, 1
	var s oracle.Section
	begun, ended := 0, false
	for i := range 3 {
		p := r.Process(fmt.Sprintf("P%d", i))
		if i == sleeps || i == leaves {
			p.Spare()
		}
		b := open[locked](p)
		v := b.Value()
		if i == leaves {
			p.Do(func() { must(v.Mu.Lock(background), "Lock"); s.Enter(p) })
		}
		p.Go("main", func() {
			if i == leaves {
				world.Await(func() bool { return begun == 2 || r.Killed() })
			} else {
				begun++
				lock(background, p, &v.Mu, &s)
				world.Yield("in the section")
			}
			s.Leave(p)
			must(v.Mu.Unlock(), "Unlock")
			must(b.Close(), "Close")
			ended = ended || i == sleeps
			if i == leaves { // the process lives on
				world.Await(func() bool { return ended })
			}
		})
	}
}

// reusing: the holder of a mutex dies, and another process takes its slot.
func reusing(r *world.Run) {
	var s oracle.Section
	opts := &shmem.Options{Slots: 2}
	work := func(p *world.Process, v *locked) {
		lock(background, p, &v.Mu, &s)
		world.Yield("in the section")
		s.Leave(p)
		must(v.Mu.Unlock(), "Unlock")
	}
	for i := range 2 {
		p := r.Process(fmt.Sprintf("P%d", i))
		if i == 0 {
			p.Spare()
		}
		var b *shmem.Box[locked]
		p.Do(func() {
			var err error
			b, err = shmem.Open[locked]("box", opts)
			must(err, "Open")
		})
		p.Go("main", func() { work(p, b.Value()) })
	}
	late := r.Process("L").Spare()
	late.Go("main", func() {
		victim := r.Processes()[1]
		world.Await(func() bool { return victim.Over() && (victim.Alive() || victim.Told()) })
		// It stays attached, and leaves the lock alone: it would find out for the others.
		if _, err := shmem.Open[locked]("box", opts); err != nil &&
			!errors.Is(err, shmem.ErrNoSlot) {
			world.Fail("Open: %v", err)
		}
	})
}

// handing: processes take turns by a condition.
func handing(n uint64) func(r *world.Run) {
	return func(r *world.Run) {
		var s oracle.Section
		for me := range n {
			p := r.Process(fmt.Sprintf("P%d", me))
			v := open[locked](p).Value()
			p.Go("main", func() {
				for turn := range uint64(2) {
					waitFor(p, v, &s, func() bool { return v.N == turn*n+me })
					v.N++
					must(v.Cond.Broadcast(), "Broadcast")
					s.Leave(p)
					must(v.Mu.Unlock(), "Unlock")
				}
			})
		}
	}
}

// telling: two processes set a value and broadcast; a third waits until one has. One may die.
func telling(r *world.Run) {
	var s oracle.Section
	for i := range 2 {
		p := r.Process(fmt.Sprintf("S%d", i))
		v := open[locked](p).Value()
		p.Go("main", func() {
			lock(background, p, &v.Mu, &s)
			v.N++
			must(v.Cond.Signal(), "Signal")
			s.Leave(p)
			must(v.Mu.Unlock(), "Unlock")
		})
	}
	for i := range 2 {
		p := r.Process(fmt.Sprintf("W%d", i)).Spare()
		v := open[locked](p).Value()
		p.Go("main", func() {
			waitFor(p, v, &s, func() bool { return v.N > 0 })
			s.Leave(p)
			must(v.Mu.Unlock(), "Unlock")
		})
	}
}

// failing: Wait ends with an error, by its context or since another process died with the mutex. It
// has left the mutex then: others can lock it.
func failing(r *world.Run) {
	var s oracle.Section
	a, b, c := r.Process("A").Spare(), r.Process("B"), r.Process("C").Spare()
	va, vb, vc := open[locked](a).Value(), open[locked](b).Value(), open[locked](c).Value()
	ctx := a.Cancelable()
	waiter := a.Go("main", func() {
		lock(background, a, &va.Mu, &s)
		s.Leave(a)
		switch err := va.Cond.Wait(ctx, &va.Mu); {
		case err == nil:
			s.Enter(a)
			s.Leave(a)
			must(va.Mu.Unlock(), "Unlock")
		case !done(ctx, err) && (!errors.Is(err, psync.ErrOwnerDied) || !r.Killed()):
			world.Fail("Wait: %v", err)
		}
	})
	b.Go("main", func() {
		lock(background, b, &vb.Mu, &s)
		world.Yield("in the section")
		s.Leave(b)
		must(vb.Mu.Unlock(), "Unlock")
	})
	c.Go("main", func() {
		world.Await(func() bool { return waiter.Blocked() || waiter.Done() })
		for !waiter.Done() {
			lock(background, c, &vc.Mu, &s)
			must(vc.Cond.Signal(), "Signal")
			s.Leave(c)
			must(vc.Mu.Unlock(), "Unlock")
			world.Sleep(10 * time.Microsecond)
		}
		lock(background, c, &vc.Mu, &s)
		s.Leave(c)
		must(vc.Mu.Unlock(), "Unlock")
	})
}

// trying: tries at what another process holds ask the kernel once in a millisecond whether that
// process lives.
func trying(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	va, vb := open[everything](a).Value(), open[everything](b).Value()
	a.Do(func() {
		must(va.Mu.Lock(background), "Lock")
		must(va.RW.RLock(background), "RLock")
		must(va.RW2.Lock(background), "Lock")
	})
	var t *world.Thread
	t = b.Go("main", func() {
		calls := 0
		for n := range 4 {
			for _, try := range []func() (bool, error){
				vb.Mu.TryLock, vb.RW.TryLock, vb.RW2.TryLock, vb.RW2.TryRLock,
			} {
				if ok, err := try(); ok || err != nil {
					world.Fail("a try at a held lock: %v, %v", ok, err)
				}
				if n > 0 && t.Calls() > calls {
					world.Fail("a try at a held lock makes a system call each time")
				}
				calls = t.Calls()
			}
		}
	})
}

// waitFor locks the mutex when cond holds.
func waitFor(p *world.Process, v *locked, s *oracle.Section, cond func() bool) {
	lock(background, p, &v.Mu, s)
	for !cond() {
		s.Leave(p)
		switch err := v.Cond.Wait(background, &v.Mu); {
		case err == nil:
			s.Enter(p)
		case errors.Is(err, psync.ErrOwnerDied) && world.Running().Killed():
			lock(background, p, &v.Mu, s)
		default:
			world.Fail("%s: Wait: %v", p.Name, err)
		}
	}
}

func init() {
	scenario("mutex", world.Config{Stops: 1, Wakes: 1}, counting(3, 1, 2))
	scenario("mutex-kill", world.Config{Kills: 1, Stops: 1}, counting(3, 1, 2))
	scenario("mutex-cancel", world.Config{Cancels: 2, Stops: 1}, counting(3, 1, 2))
	scenario("mutex-goroutines",
		world.Config{Kills: 1, Cancels: 1, Local: true}, counting(2, 2, 2))
	scenario("mutex-spin", world.Config{Kills: 1, CPUs: 4}, counting(3, 1, 1))
	scenario("mutex-kernel", world.Config{Kills: 1, Errors: 3, Jumps: 1, Early: 40},
		counting(3, 1, 2))
	scenario("mutex-descriptors",
		world.Config{Kills: 1, Errors: 2, Errnos: []error{syscall.EMFILE},
			Idle: 150 * time.Millisecond}, counting(2, 1, 2))
	scenario("mutex-fork", world.Config{Kills: 1, Forks: 1, Idle: 150 * time.Millisecond},
		counting(3, 1, 2))
	// While the next one takes the slot, between its lock and its generation, the last one looks
	// alive: that is found by the look after 10 ms, or the next.
	scenario("mutex-reuse", world.Config{Kills: 1, Idle: 40 * time.Millisecond}, reusing)
	scenario("cond", world.Config{Stops: 1}, handing(3))
	scenario("cond-kill", world.Config{Kills: 1}, telling)
	scenario("cond-failing", world.Config{Kills: 1, Cancels: 1}, failing)
	scenario("mutex-leaving", world.Config{Kills: 1}, leaving)
	scenario("mutex-trying", world.Config{}, trying)
}
