package topic_test

import (
	"errors"
	"testing"

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
