//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/world"
)

// A several is what a process waits for by one Select: two events and a queue, each in a segment of
// its own.
type several struct {
	boxes [2]*shmem.Box[signal]
	queue *queue.Queue[uint64]
}

func openSeveral(p *world.Process) (s several) {
	s.boxes = [2]*shmem.Box[signal]{openNamed(p, "one"), openNamed(p, "two")}
	p.Do(func() {
		var err error
		s.queue, err = queue.Open[uint64]("q", &queue.Options{Capacity: 2, Slots: 8})
		must(err, "open the queue")
	})
	return s
}

// wait waits until one of them is ready.
func (s *several) wait(ctx context.Context) (int, error) {
	return shmem.Select(ctx, &s.boxes[0].Value().Ev, &s.boxes[1].Value().Ev, s.queue)
}

// makeReady makes one of them ready.
func (s *several) makeReady(i int) {
	if i < len(s.boxes) {
		must(s.boxes[i].Value().Ev.Set(), "Set")
		return
	}
	must(s.queue.Send(background, 1), "Send")
}

// take takes what has made one of them ready.
func (s *several) take(i int) {
	if i < len(s.boxes) {
		must(s.boxes[i].Value().Ev.Reset(), "Reset")
		return
	}
	_, err := s.queue.TryRecv()
	must(err, "TryRecv")
}

// selecting: process A waits for several; B makes one after the other ready. Beside it threads of A
// wait for the first event alone, so that they lead in turn.
func selecting(beside int) func(r *world.Run) {
	return func(r *world.Run) {
		a, b := r.Process("A").Spare(), r.Process("B").Spare()
		here, there := openSeveral(a), openSeveral(b)
		rounds, over := 0, 0
		for range beside {
			a.Go("beside", func() {
				must(here.boxes[0].Value().Ev.Wait(background), "Wait")
				over++
			})
		}
		a.Go("select", func() {
			for n := range 3 {
				i, err := here.wait(background)
				must(err, "Select")
				if i != n {
					world.Fail("%d is ready, not %d", n, i)
				}
				if i == 0 {
					world.Await(func() bool { return over == beside })
				}
				here.take(i)
				rounds++
			}
		})
		b.Go("main", func() {
			for n := range 3 {
				world.Await(func() bool { return rounds == n })
				there.makeReady(n)
			}
		})
	}
}

// selectingAway: of a Select and a thread that waits beside it one is canceled, and leaves the lead
// to the other.
func selectingAway(canceled bool) func(r *world.Run) {
	return func(r *world.Run) {
		a, b := r.Process("A").Spare(), r.Process("B").Spare()
		here, there := openSeveral(a), openSeveral(b)
		ctx, alone := cancelable(r, a), background
		if !canceled {
			ctx, alone = alone, ctx
		}
		first := a.Go("select", func() {
			switch i, err := here.wait(ctx); {
			case done(ctx, err):
			case err != nil || i != 0:
				world.Fail("%d, %v", i, err)
			}
		})
		second := a.Go("beside", func() {
			if err := here.boxes[0].Value().Ev.Wait(alone); !done(alone, err) {
				must(err, "Wait")
			}
		})
		b.Go("main", func() {
			for _, t := range []*world.Thread{first, second} {
				world.Await(func() bool { return t.Blocked() || t.Done() })
			}
			there.makeReady(0)
		})
	}
}

// selectingClosed: the box of an event is closed while a Select waits for it.
func selectingClosed(r *world.Run) {
	a := r.Process("A").Spare()
	here := openSeveral(a)
	t := a.Go("select", func() {
		i, err := here.wait(background)
		if i != 1 || !errors.Is(err, shmem.ErrClosed) {
			world.Fail("%d, %v", i, err)
		}
	})
	a.Go("close", func() {
		world.Await(t.Blocked)
		must(here.boxes[1].Close(), "Close")
	})
}

func init() {
	scenario("select", world.Config{Stops: 1, Local: true}, selecting(0))
	scenario("select-beside", world.Config{Local: true}, selecting(2))
	scenario("select-cancel", world.Config{Cancels: 1, Local: true}, selectingAway(true))
	scenario("select-left", world.Config{Cancels: 1, Local: true}, selectingAway(false))
	scenario("select-close", world.Config{Local: true}, selectingClosed)
}
