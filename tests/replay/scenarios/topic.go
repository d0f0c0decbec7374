//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"encoding/binary"
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
	bytes                                bool // a topic.Bytes
}

// A newsTopic is an attachment to the topic.
type newsTopic interface {
	publish(ctx context.Context, m uint64) error
	subscribe() (newsSubscription, error)
	End() error
}

// A newsSubscription receives both halves of a message.
type newsSubscription interface {
	recv() (a, b uint64, err error)
	Lost() uint64
}

type itemTopic struct{ *topic.Topic[news] }

type itemSubscription struct{ *topic.Subscription[news] }

func (t itemTopic) publish(ctx context.Context, m uint64) error {
	return t.PublishFunc(ctx, func(v *news) error {
		v.A = m
		world.Yield("writes")
		v.B = m
		return nil
	})
}

func (t itemTopic) subscribe() (newsSubscription, error) {
	s, err := t.Subscribe(topic.Now)
	return itemSubscription{s}, err
}

func (s itemSubscription) recv() (a, b uint64, err error) {
	m, err := s.Recv(background)
	return m.A, m.B, err
}

// In a bytesTopic the halves are the first and the last 8 bytes of a message of 16 or 24 bytes. It
// has more slots than messages fit in, so that bytes run out and not slots.
type bytesTopic struct{ *topic.Bytes }

type bytesSubscription struct{ *topic.BytesSubscription }

func (t bytesTopic) publish(ctx context.Context, m uint64) error {
	return t.PublishFunc(ctx, 16+8*int(m%2), func(b []byte) error {
		binary.NativeEndian.PutUint64(b, m)
		world.Yield("writes")
		binary.NativeEndian.PutUint64(b[len(b)-8:], m)
		return nil
	})
}

func (t bytesTopic) subscribe() (newsSubscription, error) {
	s, err := t.Subscribe(topic.Now)
	return bytesSubscription{s}, err
}

func (s bytesSubscription) recv() (a, b uint64, err error) {
	m, err := s.Recv(background, nil)
	if err != nil {
		return 0, 0, err
	}
	if len(m) < 16 {
		world.Fail("a message of %d bytes", len(m))
	}
	return binary.NativeEndian.Uint64(m), binary.NativeEndian.Uint64(m[len(m)-8:]), nil
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
func (x publication) open(p *world.Process) (t newsTopic) {
	p.Do(func() {
		if x.bytes {
			b, err := topic.OpenBytes("t",
				&topic.BytesOptions{Capacity: 4, Bytes: 40, Holds: x.holds, Slots: 8})
			must(err, "open the topic")
			t = bytesTopic{b}
			return
		}
		i, err := topic.Open[news]("t", &topic.Options{Capacity: 2, Holds: x.holds, Slots: 8})
		must(err, "open the topic")
		t = itemTopic{i}
	})
	return t
}

// subscriber makes a process that subscribes, and receives to the end. It returns its books.
func (x publication) subscriber(r *world.Run, i int) *oracle.Messages {
	p := r.Process(fmt.Sprintf("S%d", i)).Spare()
	t := x.open(p)
	var s newsSubscription
	p.Do(func() {
		var err error
		s, err = t.subscribe()
		must(err, "Subscribe")
	})
	b := &oracle.Messages{Order: true}
	p.Go("main", func() {
		for {
			first, second, err := s.recv()
			if errors.Is(err, io.EOF) {
				break
			}
			must(err, "Recv")
			if first != second {
				world.Fail("half a message: %#x, %#x", first, second)
			}
			b.Got(i, first)
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
			err := t.publish(ctx, m)
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
	scenario("topic", world.Config{Stops: 1, Wakes: 1}, publication{2, 2, 3, 0, false}.setup)
	scenario("topic-kill", world.Config{Kills: 1, Idle: looked},
		publication{2, 1, 3, 0, false}.setup)
	scenario("topic-holds", world.Config{Stops: 1}, publication{2, 2, 3, 2, false}.setup)
	scenario("topic-holds-kill", world.Config{Kills: 1, Stops: 1, Idle: looked},
		publication{2, 1, 3, 2, false}.setup)
	scenario("topic-holds-cancel", world.Config{Cancels: 1}, publication{2, 1, 3, 1, false}.setup)
	scenario("topic-bytes", world.Config{Stops: 1}, publication{2, 1, 3, 0, true}.setup)
	scenario("topic-bytes-kill", world.Config{Kills: 1, Idle: looked},
		publication{2, 1, 3, 0, true}.setup)
	// A publisher polls until the kernel has reported a death, which takes more steps here.
	scenario("topic-bytes-holds-kill", world.Config{Kills: 1, Idle: looked, Steps: 200_000},
		publication{2, 1, 3, 1, true}.setup)
}
