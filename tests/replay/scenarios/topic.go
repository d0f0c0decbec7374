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

// A publication is a topic with processes that publish to subscribers that have subscribed before.
// Each subscriber gets the messages of a publisher in order, none twice, none half; with holds it
// gets all of them.
type publication struct {
	publishers, subscribers, each, holds int
}

func (x publication) setup(r *world.Run) {
	last := r.Process("E").Spare()
	end := x.open(last)
	var books []*oracle.Messages
	for i := range x.subscribers {
		books = append(books, x.subscriber(r, i))
	}
	var ps []*world.Process
	for i := range x.publishers {
		ps = append(ps, x.publisher(r, i+1, books))
	}
	last.Go("main", func() {
		for _, p := range ps {
			world.Await(func() bool { return !p.Alive() || p.Over() })
		}
		must(end.End(), "End")
	})
	if x.holds == 0 {
		return
	}
	r.Check(func() error {
		for _, b := range books {
			if err := b.Missing(0); err != nil {
				return err
			}
		}
		return nil
	})
}

// open opens the topic for p.
func (x publication) open(p *world.Process) (t *topic.Topic[news]) {
	p.Do(func() {
		var err error
		t, err = topic.Open[news]("t", &topic.Options{Capacity: 2, Holds: x.holds, Slots: 8})
		must(err, "open the topic")
	})
	return t
}

// subscriber makes a process that subscribes, and receives to the end. It returns its books.
func (x publication) subscriber(r *world.Run, i int) *oracle.Messages {
	p := r.Process(fmt.Sprintf("S%d", i)).Spare()
	t := x.open(p)
	var s *topic.Subscription[news]
	p.Do(func() {
		var err error
		s, err = t.Subscribe(topic.Now)
		must(err, "Subscribe")
	})
	b := &oracle.Messages{Order: true}
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
		if x.holds > 0 && s.Lost() > 0 {
			world.Fail("%d messages are lost in spite of a hold", s.Lost())
		}
	})
	return b
}

// publisher makes a process that publishes, and notes it in all books.
func (x publication) publisher(r *world.Run, i int, books []*oracle.Messages) *world.Process {
	p := r.Process(fmt.Sprintf("P%d", i-1))
	t := x.open(p)
	ctx := cancelable(r, p)
	p.Go("main", func() {
		for n := range x.each {
			m := oracle.Message(i, n)
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
	return p
}

func init() {
	scenario("topic", world.Config{Stops: 1, Wakes: 1}, publication{2, 2, 3, 0}.setup)
	scenario("topic-kill", world.Config{Kills: 1, Idle: looked}, publication{2, 1, 3, 0}.setup)
	scenario("topic-holds", world.Config{Stops: 1}, publication{2, 2, 3, 2}.setup)
	scenario("topic-holds-kill", world.Config{Kills: 1, Stops: 1, Idle: looked},
		publication{2, 1, 3, 2}.setup)
	scenario("topic-holds-cancel", world.Config{Cancels: 1}, publication{2, 1, 3, 1}.setup)
}
