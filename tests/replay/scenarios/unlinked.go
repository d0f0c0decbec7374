//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"io"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

// unlinking: a process takes the name of a queue while another one sends and a third receives. Both
// find out, also if that process dies in between, and what was sent is received.
func unlinking(
	open func(p *world.Process) mailbox, remove bool, spare int,
) func(r *world.Run) {
	return func(r *world.Run) {
		books := &oracle.Messages{Order: true}
		last := r.Process("E").Spare() // ends the stream if the name stays
		box := open(last)
		taker := r.Process("C")
		var s *shmem.Segment
		taker.Do(func() {
			var err error
			s, err = shmem.AttachSegment("q", nil)
			must(err, "AttachSegment")
		})
		taker.Go("main", func() {
			if remove {
				must(shmem.Remove("", "q"), "Remove")
				return
			}
			must(s.Own(), "Own")
			must(s.Close(), "Close")
		})
		sender, receiver := r.Process("S").Spare(), r.Process("R").Spare()
		from, to := open(sender), open(receiver)
		sender.Go("main", func() {
			for n := range 5 { // more than there is room for
				m := oracle.Message(1, n)
				books.Begin(m)
				err := from.send(background, m)
				if errors.Is(err, queue.ErrUnlinked) || errors.Is(err, queue.ErrEnded) {
					return
				}
				must(err, "Send")
				books.Sent(m)
			}
		})
		receiver.Go("main", func() {
			for {
				m, err := to.recv(background)
				if errors.Is(err, queue.ErrUnlinked) || errors.Is(err, io.EOF) {
					return
				}
				must(err, "Recv")
				books.Got(0, m)
			}
		})
		last.Go("main", func() {
			world.Await(func() bool { return !taker.Alive() || taker.Over() })
			if kernel.InodeOf("/dev/shm/q") != 0 {
				must(box.end(), "End")
			}
		})
		r.Check(func() error { return books.Missing(spare) })
	}
}

func init() {
	many := func(p *world.Process) mailbox { return typed(p, false, false) }
	single := func(p *world.Process) mailbox { return typed(p, true, false) }
	bytes := func(p *world.Process) mailbox { return raw(p, false, false) }
	scenario("unlinked", world.Config{Stops: 1}, unlinking(many, false, 0))
	scenario("unlinked-kill", world.Config{Kills: 1, Idle: looked}, unlinking(many, false, 0))
	scenario("unlinked-removed", world.Config{Kills: 1, Idle: looked}, unlinking(many, true, 0))
	scenario("unlinked-bytes", world.Config{Kills: 1, Idle: looked}, unlinking(bytes, false, 0))
	// A receiver does not wait for a message that is being sent when the name is taken.
	scenario("unlinked-single", world.Config{Kills: 1, Idle: looked}, unlinking(single, false, 1))
}
