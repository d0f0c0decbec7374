//go:build linux

package main

import (
	"fmt"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// fanOut is what it costs the publisher to publish to so many subscribers.
func fanOut(subscribers int) bench {
	return bench{
		group: "publishing 64 bytes, the publisher alone",
		name:  fmt.Sprintf("%d subscribers", subscribers),
		n:     1_000_000, ownCPU: true,
		here: &publisher{}, there: &subscribersOf{count: subscribers},
	}
}

func topicOptions() *topic.Options { return &topic.Options{Capacity: capacity, Lifetime: shmem.Owned} }

type publisher struct{ t *topic.Topic[line] }

func (x *publisher) open() {
	var err error
	x.t, err = topic.Create[line](*base, topicOptions())
	must(err)
}

func (x *publisher) close() { x.t.Close() }

func (x *publisher) run(n int) {
	for range n {
		must(x.t.Publish(ctx, line{}))
	}
	must(x.t.End())
}

// subscribersOf are goroutines of the other process, each with a subscription of its own.
type subscribersOf struct {
	count int
	t     *topic.Topic[line]
	all   []*topic.Subscription[line]
}

func (x *subscribersOf) open() {
	var err error
	x.t, err = topic.Attach[line](*base, topicOptions())
	must(err)
	for range x.count {
		s, err := x.t.Subscribe(topic.Now)
		must(err)
		x.all = append(x.all, s)
	}
}

func (x *subscribersOf) close() { x.t.Close() }

// run receives until the topic ends.
func (x *subscribersOf) run(int) {
	var wg sync.WaitGroup
	for _, s := range x.all {
		wg.Go(func() {
			for _, err := range s.All(ctx) {
				must(err)
			}
		})
	}
	wg.Wait()
}
