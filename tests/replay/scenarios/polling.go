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

// polling: one process receives in place, and may die with a message. Another one polls, also when
// the queue is empty, and gets that message.
func polling(r *world.Run) {
	open := func(p *world.Process) (q *queue.Queue[uint64]) {
		p.Do(func() {
			var err error
			q, err = queue.Open[uint64]("q", &queue.Options{Capacity: 2, Slots: 8})
			must(err, "open the queue")
		})
		return q
	}
	sender, user, poller := r.Process("S").Spare(), r.Process("U"), r.Process("P").Spare()
	qs, qu, qp := open(sender), open(user), open(poller)
	sent, used := map[uint64]bool{}, map[uint64]bool{}
	polled := false
	sender.Go("main", func() {
		world.Await(func() bool { return polled })
		for n := range 2 {
			m := oracle.Message(1, n)
			must(qs.Send(background, m), "Send")
			sent[m] = true
		}
		world.Await(func() bool { return len(used) == len(sent) })
		must(qs.End(), "End")
	})
	user.Go("main", func() {
		for {
			err := qu.RecvFunc(background, func(m *uint64) error {
				world.Yield("uses a message")
				used[*m] = true
				return nil
			})
			if errors.Is(err, io.EOF) {
				return
			}
			must(err, "RecvFunc")
		}
	})
	poller.Go("main", func() {
		for {
			m, err := qp.TryRecv()
			switch polled = true; {
			case errors.Is(err, io.EOF):
				return
			case errors.Is(err, queue.ErrEmpty):
				world.Sleep(11 * time.Millisecond)
			default:
				must(err, "TryRecv")
				used[m] = true
			}
		}
	})
	r.Check(func() error {
		for m := range sent {
			if !used[m] {
				return fmt.Errorf("message %#x was not used", m)
			}
		}
		return nil
	})
}

func init() {
	scenario("queue-polling", world.Config{Kills: 1, Idle: time.Second}, polling)
}
