//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

// cancelable is a context of p that the scheduler may cancel, if the scenario wants that.
func cancelable(r *world.Run, p *world.Process) context.Context {
	if r.Config.Cancels > 0 {
		return p.Cancelable()
	}
	return background
}

// done reports whether a call ended by its context.
func done(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

type shared struct {
	RW psync.RWMutex
	N  uint64
}

// sharing: each process writes under an RWMutex, then reads.
func sharing(n int) func(r *world.Run) {
	return func(r *world.Run) {
		var s oracle.Section
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			v := open[shared](p).Value()
			ctx := cancelable(r, p)
			write := func() {
				if !free(ctx, v, &s, func() error { return v.RW.Lock(ctx) }) {
					return
				}
				s.Enter(p)
				v.N++
				world.Yield("writes")
				v.N++
				s.Leave(p)
				must(v.RW.Unlock(), "Unlock")
			}
			read := func() {
				if !free(ctx, v, &s, func() error { return v.RW.RLock(ctx) }) {
					return
				}
				s.EnterShared(p)
				if v.N%2 != 0 && !r.Killed() {
					world.Fail("%s reads what is half written", p.Name)
				}
				world.Yield("reads")
				s.LeaveShared(p)
				must(v.RW.RUnlock(), "RUnlock")
			}
			p.Go("main", func() {
				if i%2 == 0 {
					write()
					read()
				} else {
					read()
					write()
				}
			})
		}
	}
}

// sharedWaiting: goroutines of a process wait to read while a writer holds the lock, who may die;
// one of them may be cancelled.
func sharedWaiting(r *world.Run) {
	b := r.Process("B")
	vb := open[shared](b).Value()
	b.Do(func() { must(vb.RW.Lock(background), "Lock") })
	a := r.Process("A").Spare()
	va := open[shared](a).Value()
	blocked := 0
	for i := range 3 {
		var ctx context.Context = background
		if i < 2 {
			ctx = a.Cancelable()
		}
		a.Go(fmt.Sprint("read", i), func() {
			blocked++
			err := va.RW.RLock(ctx)
			switch {
			case err == nil:
				must(va.RW.RUnlock(), "RUnlock")
			case !done(ctx, err) && (!errors.Is(err, psync.ErrOwnerDied) || !r.Killed()):
				world.Fail("RLock: %v", err)
			}
		})
	}
	b.Go("main", func() {
		world.Await(func() bool { return blocked == 3 })
		for range 60 {
			world.Yield("holds the lock")
		}
		must(vb.RW.Unlock(), "Unlock")
	})
}

// free locks, and recovers as often as a writer has died. It reports false if ctx ended.
func free(ctx context.Context, v *shared, s *oracle.Section, lock func() error) bool {
	for {
		switch err := lock(); {
		case err == nil:
			return true
		case done(ctx, err):
			return false
		case !errors.Is(err, psync.ErrOwnerDied) || !world.Running().Killed():
			world.Fail("lock: %v", err)
		}
		err := v.RW.Recover(ctx, func() error {
			s.Recovered()
			v.N &^= 1
			return nil
		})
		if !done(ctx, err) {
			must(err, "Recover")
		}
	}
}

type permits struct{ Sem psync.Semaphore }

// permitting: processes take permits of a semaphore. There are never more in use than its limit.
func permitting(n int, limit, each uint32) func(r *world.Run) {
	return func(r *world.Run) {
		used := map[*world.Process]uint32{}
		for i := range n {
			p := r.Process(fmt.Sprintf("P%d", i))
			if i == n-1 {
				p.Spare()
			}
			v := open[permits](p).Value()
			if i == 0 {
				p.Do(func() { must(v.Sem.SetLimit(limit), "SetLimit") })
			}
			ctx := cancelable(r, p)
			p.Go("main", func() {
				for range 2 {
					if err := v.Sem.Acquire(ctx, each); done(ctx, err) {
						return
					} else {
						must(err, "Acquire")
					}
					used[p] += each
					sum := uint32(0)
					for q, n := range used {
						if q.Alive() {
							sum += n
						}
					}
					if sum > limit {
						world.Fail("%d permits are in use, of %d", sum, limit)
					}
					world.Yield("has permits")
					used[p] -= each
					must(v.Sem.Release(each), "Release")
				}
			})
		}
	}
}

type signal struct{ Ev psync.Event }

type signals struct{ Ev [2]psync.Event }

// setting: two processes wait for an event, two set it. One of these may die.
func setting(r *world.Run) {
	for i := range 2 {
		p := r.Process(fmt.Sprintf("W%d", i)).Spare()
		v := open[signal](p).Value()
		p.Go("main", func() { must(v.Ev.Wait(background), "Wait") })
	}
	for i := range 2 {
		p := r.Process(fmt.Sprintf("S%d", i))
		v := open[signal](p).Value()
		p.Go("main", func() { must(v.Ev.Set(), "Set") })
	}
}

// promising: a process promises to set an event and may die before it does; those who wait are
// told.
func promising(r *world.Run) {
	s := r.Process("S")
	v := open[signal](s).Value()
	s.Do(func() { must(v.Ev.Promise(), "Promise") })
	s.Go("main", func() {
		world.Yield("works")
		must(v.Ev.Set(), "Set")
	})
	for i := range 2 {
		p := r.Process(fmt.Sprintf("W%d", i)).Spare()
		v := open[signal](p).Value()
		p.Go("main", func() {
			if err := v.Ev.Wait(background); !errors.Is(err, psync.ErrOwnerDied) || !r.Killed() {
				must(err, "Wait")
			}
		})
	}
}

// promisingLate: a process promises to set an event for which others wait already.
func promisingLate(r *world.Run) {
	s := r.Process("S")
	s.Unkillable()
	v := open[signal](s).Value()
	var waiting []*world.Thread
	for i := range 2 {
		p := r.Process(fmt.Sprintf("W%d", i)).Spare()
		v := open[signal](p).Value()
		waiting = append(waiting, p.Go("main", func() {
			if err := v.Ev.Wait(background); !errors.Is(err, psync.ErrOwnerDied) || !r.Killed() {
				must(err, "Wait")
			}
		}))
	}
	s.Go("main", func() {
		for _, t := range waiting {
			world.Await(t.Blocked)
		}
		must(v.Ev.Promise(), "Promise")
		s.Killable()
		world.Yield("works")
		world.Yield("works")
		s.Unkillable() // not where it has set the event and has not yet woken
		must(v.Ev.Set(), "Set")
	})
}

// promises: Set of one process leaves the promise that another has made for the next time.
func promises(r *world.Run) {
	a, b, c := r.Process("A").Spare(), r.Process("B"), r.Process("C").Spare()
	va, vb, vc := open[signal](a).Value(), open[signal](b).Value(), open[signal](c).Value()
	promised := false
	a.Go("main", func() { must(va.Ev.Set(), "Set") })
	b.Go("main", func() {
		must(vb.Ev.Wait(background), "Wait of B")
		must(vb.Ev.Reset(), "Reset")
		must(vb.Ev.Promise(), "Promise")
		promised = true
		world.Yield("works")
		must(vb.Ev.Set(), "Set")
	})
	c.Go("main", func() {
		world.Await(func() bool { return promised || b.Over() })
		if !promised {
			return
		}
		if err := vc.Ev.Wait(background); !errors.Is(err, psync.ErrOwnerDied) || !r.Killed() {
			must(err, "Wait of C")
		}
	})
}

// settingLocally: two goroutines of a process wait for an event that a third sets; so do those of a
// second process.
func settingLocally(r *world.Run) {
	a, b := r.Process("A"), r.Process("B")
	a.Spare()
	va, vb := open[signal](a).Value(), open[signal](b).Value()
	for i := range 2 {
		a.Go(fmt.Sprint("wait", i), func() { must(va.Ev.Wait(background), "Wait") })
		b.Go(fmt.Sprint("wait", i), func() { must(vb.Ev.Wait(background), "Wait") })
	}
	a.Go("set", func() { must(va.Ev.Set(), "Set") })
}

// settingInTurn: goroutines of a process wait for two events, one of which is set much later.
func settingInTurn(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	va, vb := open[signals](a).Value(), open[signals](b).Value()
	second := 0
	for i := range 2 {
		a.Go(fmt.Sprint("first", i), func() { must(va.Ev[0].Wait(background), "Wait") })
	}
	t := a.Go("second", func() {
		must(va.Ev[0].Wait(cancelable(r, a)), "Wait")
		second++
		must(va.Ev[1].Wait(background), "Wait")
	})
	b.Go("main", func() {
		must(vb.Ev[0].Set(), "Set")
		world.Await(t.Blocked)
		must(vb.Ev[1].Set(), "Set")
	})
}

// eventClosing: a goroutine waits for an event that no process sets; another one closes the box.
func eventClosing(r *world.Run) {
	a := r.Process("A").Spare()
	b := open[signal](a)
	v := b.Value()
	t := a.Go("wait", func() {
		if err := v.Ev.Wait(background); !errors.Is(err, shmem.ErrClosed) {
			world.Fail("Wait: %v", err)
		}
	})
	a.Go("close", func() {
		world.Await(t.Blocked)
		must(b.Close(), "Close")
	})
}

// cancelling: goroutines wait for what does not come before their contexts end.
func cancelling(r *world.Run) {
	a, b := r.Process("A").Spare(), r.Process("B").Spare()
	va, vb := open[everything](a).Value(), open[everything](b).Value()
	b.Do(func() { must(vb.Mu.Lock(background), "Lock"); must(vb.RW.Lock(background), "Lock") })
	calls := []func(ctx context.Context) error{
		va.Mu.Lock, va.RW.RLock, va.Ev.Wait, func(ctx context.Context) error {
			return va.Sem.Acquire(ctx, 1)
		},
	}
	for i, call := range calls {
		ctx := a.Cancelable()
		t := a.Go(fmt.Sprint("call", i), func() {
			if err := call(ctx); !done(ctx, err) {
				world.Fail("call %d: %v", i, err)
			}
		})
		a.Go(fmt.Sprint("cancel", i), func() {
			world.Await(t.Blocked)
			ctx.Cancel()
		})
	}
}

type once struct{ Once psync.Once }

// onces: the function of a Once runs to its end once, and no call returns before.
func onces(r *world.Run) {
	ended, running := 0, 0
	for i := range 3 {
		p := r.Process(fmt.Sprintf("P%d", i))
		if i == 2 {
			p.Spare()
		}
		v := open[once](p).Value()
		p.Go("main", func() {
			err := v.Once.Do(background, func() error {
				if running++; running > 1 && !r.Killed() {
					world.Fail("the function runs twice")
				}
				world.Yield("runs")
				ended++
				return nil
			})
			must(err, "Do")
			if ended == 0 || ended > 1 && !r.Killed() {
				world.Fail("Do returns, and the function has ended %d times", ended)
			}
		})
	}
}

func init() {
	scenario("rwmutex", world.Config{Stops: 1, Wakes: 1}, sharing(3))
	scenario("rwmutex-kill", world.Config{Kills: 1, Stops: 1}, sharing(3))
	scenario("rwmutex-cancel", world.Config{Cancels: 2}, sharing(3))
	scenario("rwmutex-goroutines",
		world.Config{Kills: 1, Forks: 1, Cancels: 2, Local: true, Idle: 150 * time.Millisecond},
		sharedWaiting)
	scenario("rwmutex-told", world.Config{Kills: 1, Cancels: 2, Local: true}, sharedWaiting)
	scenario("semaphore", world.Config{Stops: 1}, permitting(3, 1, 1))
	scenario("semaphore-kill", world.Config{Kills: 1, Stops: 1}, permitting(3, 1, 1))
	scenario("semaphore-many", world.Config{Kills: 1}, permitting(4, 4, 2))
	scenario("semaphore-cancel", world.Config{Cancels: 2}, permitting(3, 1, 1))
	scenario("event", world.Config{Kills: 1, Stops: 1}, setting)
	scenario("event-local", world.Config{Stops: 1, Local: true}, settingLocally)
	scenario("event-local-turn", world.Config{Local: true}, settingInTurn)
	scenario("event-close", world.Config{Local: true}, eventClosing)
	scenario("cancel", world.Config{Local: true}, cancelling)
	scenario("event-promise", world.Config{Kills: 1}, promising)
	scenario("event-promises", world.Config{Kills: 1}, promises)
	scenario("event-promise-late", world.Config{Kills: 1}, promisingLate)
	scenario("once", world.Config{Kills: 1, Stops: 1}, onces)
}
