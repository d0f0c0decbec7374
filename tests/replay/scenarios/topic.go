//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
	"github.com/shmembox/shmem/topic"
)

// A news is a message in two equal halves: one that is half overwritten shows.
type news struct{ A, B uint64 }

// publishing: processes publish to subscribers that have subscribed before. Each gets the messages
// of a publisher in order, none twice, none half; with holds it gets all of them.
func publishing(publishers, subscribers, each, holds int) func(r *world.Run) {
	return func(r *world.Run) {
		opts := &topic.Options{Capacity: 2, Holds: holds, Slots: 8}
		join := func(p *world.Process) (t *topic.Topic[news]) {
			p.Do(func() {
				var err error
				t, err = topic.Open[news]("t", opts)
				must(err, "open the topic")
			})
			return t
		}
		last := r.Process("E").Spare()
		end := join(last)
		var books []*oracle.Messages
		for i := range subscribers {
			p := r.Process(fmt.Sprintf("S%d", i)).Spare()
			t := join(p)
			var s *topic.Subscription[news]
			p.Do(func() {
				var err error
				s, err = t.Subscribe(topic.Now)
				must(err, "Subscribe")
			})
			b := &oracle.Messages{Order: true}
			books = append(books, b)
			p.Go("main", func() {
				for {
					m, err := s.Recv(background)
					if errors.Is(err, io.EOF) {
						break
					}
					must(err, "Recv")
					if m.A != m.B {
						world.Fail("half a message: %#x, %#x", m.A, m.B)
					}
					b.Got(i, m.A)
				}
				if holds > 0 && s.Lost() > 0 {
					world.Fail("%d messages are lost in spite of a hold", s.Lost())
				}
			})
		}
		var ps []*world.Process
		for i := range publishers {
			p := r.Process(fmt.Sprintf("P%d", i))
			ps = append(ps, p)
			t := join(p)
			ctx := cancelable(r, p)
			p.Go("main", func() {
				for n := range each {
					m := oracle.Message(i+1, n)
					for _, b := range books {
						b.Begin(m)
					}
					err := t.PublishFunc(ctx, func(v *news) error {
						v.A = m
						world.Yield("writes")
						v.B = m
						return nil
					})
					if done(ctx, err) {
						return
					}
					must(err, "Publish")
					for _, b := range books {
						b.Sent(m)
					}
				}
			})
		}
		last.Go("main", func() {
			for _, p := range ps {
				world.Await(func() bool { return !p.Alive() || p.Over() })
			}
			must(end.End(), "End")
		})
		if holds > 0 {
			r.Check(func() error {
				for _, b := range books {
					if err := b.Missing(0); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
}

func init() {
	scenario("topic", world.Config{Stops: 1, Wakes: 1}, publishing(2, 2, 3, 0))
	scenario("topic-kill", world.Config{Kills: 1, Idle: looked}, publishing(2, 1, 3, 0))
	scenario("topic-holds", world.Config{Stops: 1}, publishing(2, 2, 3, 2))
	scenario("topic-holds-kill", world.Config{Kills: 1, Stops: 1, Idle: looked},
		publishing(2, 1, 3, 2))
	scenario("topic-holds-cancel", world.Config{Cancels: 1}, publishing(2, 1, 3, 1))
}
