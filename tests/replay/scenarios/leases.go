//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

// losing: receivers have messages on leases that outlive calls, and some of them for too long: by
// their own fault, or because they are stopped. Such a lease ends, and the message goes to another
// receiver, perhaps of the same process. A lease that ends with Done is the last one on its
// message, and each message has one. The order of leases is that of their deliveries: a process
// that is stopped in Take may return a lease that is lost already.
func losing(r *world.Run) {
	const limit = 20 * time.Millisecond
	o := &queue.Options{Capacity: 2, Slots: 8, LeaseTimeout: limit}
	open := func(p *world.Process) (q *queue.Queue[uint64]) {
		p.Do(func() {
			var err error
			q, err = queue.Open[uint64]("q", o)
			must(err, "open the queue")
		})
		return q
	}
	sender := r.Process("S").Spare()
	out := open(sender)
	sender.Go("main", func() {
		for n := range 3 {
			must(out.Send(background, oracle.Message(1, n)), "Send")
		}
		must(out.End(), "End")
	})
	last, done := map[uint64]int{}, map[uint64]int{}
	receive := func(q *queue.Queue[uint64]) {
		for {
			l, err := q.Take(background)
			if errors.Is(err, io.EOF) {
				return
			}
			must(err, "Take")
			m := *l.Value()
			last[m] = max(last[m], l.Deliveries())
			if l.Deliveries() <= 3 {
				world.Sleep(time.Duration(world.Choose(4)) * 3 * limit / 2)
			}
			world.Yield("has a lease")
			switch err := l.Done(); {
			case errors.Is(err, queue.ErrLeaseLost):
			case err != nil:
				must(err, "Done")
			case l.Deliveries() < last[m]:
				world.Fail("lease %d of %d on message %#x is done with", l.Deliveries(), last[m], m)
			default:
				done[m]++
			}
		}
	}
	a, b := r.Process("A").Spare(), r.Process("B")
	inA, inB := open(a), open(b)
	a.Go("one", func() { receive(inA) })
	a.Go("two", func() { receive(inA) })
	b.Go("main", func() { receive(inB) })
	r.Check(func() error {
		for n := range 3 {
			if m := oracle.Message(1, n); done[m] != 1 {
				return fmt.Errorf("message %#x is done with %d times", m, done[m])
			}
		}
		return nil
	})
}

// lookingOn: process A waits for a message and receives none, process B receives it. A may be woken
// as the only one.
func lookingOn(r *world.Run) {
	open := func(p *world.Process) (q *queue.Queue[uint64]) {
		p.Do(func() {
			var err error
			q, err = queue.Open[uint64]("q", &queue.Options{Capacity: 2, Slots: 8})
			must(err, "open the queue")
		})
		return q
	}
	sender, a, b := r.Process("S").Spare(), r.Process("A"), r.Process("B").Spare()
	out, inA, inB := open(sender), open(a), open(b)
	received := false
	a.Go("main", func() { must(inA.Wait(background), "Wait") })
	b.Go("main", func() {
		_, err := inB.Recv(background)
		must(err, "Recv")
		received = true
	})
	sender.Go("main", func() {
		must(out.Send(background, 1), "Send")
		world.Await(func() bool { return received })
		must(out.End(), "End")
	})
}

func init() {
	scenario("queue-wait", world.Config{Stops: 1}, lookingOn)
	scenario("queue-lost-lease", world.Config{Stops: 1, Local: true, Idle: time.Second}, losing)
}
