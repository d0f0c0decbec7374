//go:build !race

package topic_test

import (
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestNoAllocations holds every call that moves a message, by itself.
func TestNoAllocations(t *testing.T) {
	for _, hold := range []int{0, 2} {
		tp := open[[64]byte](t, shmemtest.Dir(t), 8, hold)
		s := subscribe(t, tp, topic.Now)
		var v [64]byte
		vs := make([][64]byte, 3)
		p, err := tp.Publisher()
		check(t, err)
		see := func(*[64]byte) error { return nil }
		got := func(_ [64]byte, err error) { check(t, err) }
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"Publish, Recv", func() {
				check(t, tp.Publish(background, v))
				got(s.Recv(background))
			}},
			{"TryPublish, TryRecv", func() { check(t, tp.TryPublish(v)); got(s.TryRecv()) }},
			{"PublishFunc, RecvFunc", func() {
				check(t, tp.PublishFunc(background, see))
				check(t, s.RecvFunc(background, see))
			}},
			{"Publisher", func() {
				check(t, p.Publish(background, v))
				check(t, p.PublishFunc(background, see))
				check(t, p.TryPublish(v))
				for range 3 {
					got(s.Recv(background))
				}
			}},
			{"PublishBatch, RecvBatch", func() {
				_, err := p.PublishBatch(background, vs)
				check(t, err)
				_, err = s.RecvBatch(background, vs)
				check(t, err)
			}},
			{"TryRecv of nothing", func() { _, err := s.TryRecv(); want(t, err, topic.ErrEmpty) }},
			{"Latest", func() { _, _, err := tp.Latest(); check(t, err) }},
			{"Lost, Seq", func() { s.Lost(); s.Seq() }},
		} {
			if n := testing.AllocsPerRun(100, c.f); n != 0 {
				t.Errorf("hold %d: %s: %v allocations", hold, c.name, n)
			}
		}
		check(t, s.Close())
		check(t, tp.Close())
	}
}

// TestFailuresAllocateNothing checks that the errors of calls that do not block are made once.
func TestFailuresAllocateNothing(t *testing.T) {
	none := func(what string, cause error, f func() error) {
		t.Helper()
		want(t, f(), cause)
		if n := testing.AllocsPerRun(100, func() { _ = f() }); n != 0 {
			t.Errorf("%s: %v allocations for %v", what, n, cause)
		}
	}
	tp := open[int](t, shmemtest.Dir(t), 2, 1)
	s := subscribe(t, tp, topic.Now)
	publish := func() error { return tp.TryPublish(1) }
	recv := func() error { _, err := s.TryRecv(); return err }
	latest := func() error { _, _, err := tp.Latest(); return err }
	none("Latest", topic.ErrEmpty, latest)
	none("TryRecv", topic.ErrEmpty, recv)
	for publish() == nil {
	}
	none("TryPublish", topic.ErrFull, publish)
	check(t, tp.End())
	none("TryPublish", topic.ErrEnded, publish)
	check(t, s.Close())
	none("TryRecv", shmem.ErrClosed, recv)
	check(t, tp.Close())
	none("TryPublish", shmem.ErrClosed, publish)
	none("Latest", shmem.ErrClosed, latest)
}
