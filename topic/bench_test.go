package topic_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// BenchmarkAlone measures calls without contention: one goroutine publishes and receives. See
// bench/queues for several processes.
func BenchmarkAlone(b *testing.B) {
	tp := open[[8]uint64](b, shmemtest.Dir(b), 1024, 0)
	defer tp.Close()
	s := subscribe(b, tp, topic.Now)
	defer s.Close()
	var v [8]uint64
	f := func(*[8]uint64) error { return nil }
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"publish", func() error { return tp.Publish(background, v) }},
		{"publish-recv", func() error {
			_, err := s.Recv(background)
			return errors.Join(tp.Publish(background, v), err)
		}},
		{"publishfunc-recvfunc", func() error { return errors.Join(tp.PublishFunc(background, f), s.RecvFunc(background, f)) }},
		{"latest", func() error { _, _, err := tp.Latest(); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			check(b, tp.Publish(background, v)) // so that there is a message
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const heldCapacity = 1024

// BenchmarkHeld measures what a publisher pays for subscriptions with holds where it waits for none:
// it publishes half of what the topic keeps, then all of them receive that. Only publishing counts,
// as ns/publish.
func BenchmarkHeld(b *testing.B) {
	for _, readers := range []int{1, 8, 64} {
		for _, held := range []int{0, 1, readers} {
			if held == readers && readers == 1 {
				continue
			}
			b.Run(fmt.Sprintf("readers=%d/held=%d", readers, held), func(b *testing.B) {
				benchmarkHeld(b, readers, held)
			})
		}
	}
}

func benchmarkHeld(b *testing.B, readers, held int) {
	tp := open[[8]uint64](b, shmemtest.Dir(b), heldCapacity, 64)
	subs := make([]*topic.Subscription[[8]uint64], readers)
	for i := range subs {
		how := topic.NoHold
		if i < held {
			how = topic.Hold
		}
		s, err := tp.Subscribe(topic.Now, how)
		check(b, err)
		subs[i] = s
	}
	p, err := tp.Publisher()
	check(b, err)
	var v [8]uint64
	took := time.Duration(0)
	for done := 0; done < b.N; {
		k := min(heldCapacity/2, b.N-done)
		start := time.Now()
		for range k {
			if err := p.Publish(background, v); err != nil {
				b.Fatal(err)
			}
		}
		took += time.Since(start)
		for _, s := range subs {
			for range k {
				if _, err := s.TryRecv(); err != nil {
					b.Fatal(err)
				}
			}
		}
		done += k
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/publish")
}
