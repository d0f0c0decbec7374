package topic_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// A timed is a subscription of either form.
type timed interface {
	Time() time.Time
	Seq() (uint64, bool)
	Close() error
}

// TestStamps: every way to publish stamps a message, and every way to receive one tells the stamp.
func TestStamps(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, holds := range []int{0, 1} {
		tp, err := topic.Create[int]("items", &topic.Options{
			Dir: dir, Capacity: 8, Holds: holds, Stamped: true, Lifetime: shmem.Owned,
		})
		check(t, err)
		p, err := tp.Publisher()
		check(t, err)
		s := subscribe(t, tp, topic.Now)
		if !s.Time().IsZero() {
			t.Errorf("%v before the first message", s.Time())
		}
		var one [1]int
		stamps(t, dir, "items", s, []func() error{
			func() error { return tp.Publish(background, 1) },
			func() error { return tp.TryPublish(1) },
			func() error { return p.Publish(background, 1) },
			func() error { return p.PublishFunc(background, func(*int) error { return nil }) },
			func() error { _, err := tp.PublishBatch(background, []int{1}); return err },
		}, []func() error{
			func() error { _, err := s.Recv(background); return err },
			func() error { return s.RecvFunc(background, func(*int) error { return nil }) },
			func() error { _, err := s.RecvBatch(background, one[:]); return err },
		})
		check(t, tp.Close())

		tb, err := topic.CreateBytes("bytes", &topic.BytesOptions{
			Dir: dir, Capacity: 8, Bytes: 64, Holds: holds, Stamped: true, Lifetime: shmem.Owned,
		})
		check(t, err)
		b, err := tb.Subscribe(topic.Now)
		check(t, err)
		stamps(t, dir, "bytes", b, []func() error{
			func() error { return tb.Publish(background, []byte("x")) },
			func() error {
				return tb.PublishFunc(background, 3, func([]byte) error { return nil })
			},
		}, []func() error{
			func() error { _, err := b.Recv(background, nil); return err },
			func() error { return b.RecvFunc(background, func([]byte) error { return nil }) },
		})
		check(t, tb.Close())
	}
}

// stamps publishes and receives in each pair of ways, and compares what s and inspect tell with the
// clock.
func stamps(t *testing.T, dir, name string, s timed, publish, receive []func() error) {
	t.Helper()
	o, err := inspect.Open(dir, name)
	check(t, err)
	defer o.Close()
	f, err := o.Follow(inspect.FromNow)
	check(t, err)
	for i, pub := range publish {
		for k, recv := range receive {
			before := time.Now().Round(0)
			check(t, pub())
			after := time.Now().Round(0)
			time.Sleep(time.Microsecond)
			check(t, recv())
			at := s.Time()
			if at.Before(before) || at.After(after) {
				t.Errorf("%s %d, %d: %v, published from %v to %v", name, i, k, at, before, after)
			}
			m, err := f.Next(context.Background())
			check(t, err)
			if seq, _ := s.Seq(); m.Seq != seq || !m.Published.Equal(at) {
				t.Errorf("%s: inspect follows %d, %v, want %d, %v", name, m.Seq, m.Published, seq, at)
			}
			all, err := o.Messages(1)
			check(t, err)
			if len(all) != 1 || !all[0].Published.Equal(at) {
				t.Errorf("%s: inspect has %v, want %v", name, all, at)
			}
		}
	}
	check(t, s.Close())
}

// TestTimeInPlace: inside the function of RecvFunc the time is that of its message, which counts
// afterwards only if the message is received.
func TestTimeInPlace(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, holds := range []int{0, 1} {
		tp, err := topic.Create[int]("items", &topic.Options{
			Dir: dir, Capacity: 2, Holds: holds, Stamped: true, Lifetime: shmem.Owned,
		})
		check(t, err)
		s := subscribe(t, tp, topic.Now)
		timesInPlace(t, s, func() error { return tp.Publish(background, 1) },
			func(f func() error) error {
				return s.RecvFunc(background, func(*int) error { return f() })
			})
		check(t, tp.Close())

		tb, err := topic.CreateBytes("bytes", &topic.BytesOptions{
			Dir: dir, Capacity: 2, Bytes: 64, Holds: holds, Stamped: true, Lifetime: shmem.Owned,
		})
		check(t, err)
		b, err := tb.Subscribe(topic.Now)
		check(t, err)
		timesInPlace(t, b, func() error { return tb.Publish(background, []byte("x")) },
			func(f func() error) error {
				return b.RecvFunc(background, func([]byte) error { return f() })
			})
		check(t, tb.Close())
	}
}

// timesInPlace receives two messages in place, each at the second try.
func timesInPlace(
	t *testing.T, s timed, publish func() error, receive func(func() error) error,
) {
	t.Helper()
	oops := errors.New("oops")
	var last time.Time
	for range 2 {
		before := time.Now().Round(0)
		check(t, publish())
		after := time.Now().Round(0)
		var inside time.Time
		want(t, receive(func() error { inside = s.Time(); return oops }), oops)
		if inside.Before(before) || inside.After(after) || !s.Time().Equal(last) {
			t.Errorf("inside %v, published from %v to %v; then %v, want %v", inside, before, after,
				s.Time(), last)
		}
		again := inside
		check(t, receive(func() error { again = s.Time(); return nil }))
		if last = s.Time(); !again.Equal(inside) || !last.Equal(inside) {
			t.Errorf("%v, then %v and %v", inside, again, last)
		}
	}
	check(t, s.Close())
}

// TestNotStamped: without the option there are no times, and it cannot be had later.
func TestNotStamped(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp, err := topic.Create[int]("t", &topic.Options{Dir: dir})
	check(t, err)
	defer tp.Close()
	s := subscribe(t, tp, topic.Now)
	check(t, tp.Publish(background, 1))
	_, err = s.Recv(background)
	check(t, err)
	if !s.Time().IsZero() {
		t.Errorf("%v", s.Time())
	}
	_, err = topic.Attach[int]("t", &topic.Options{Dir: dir, Stamped: true})
	want(t, err, shmem.ErrMismatch)
	stamped, err := topic.Create[int]("stamped", &topic.Options{Dir: dir, Stamped: true})
	check(t, err)
	defer stamped.Close()
	for _, o := range []*topic.Options{{Dir: dir, Stamped: true}, {Dir: dir}} {
		a, err := topic.Attach[int]("stamped", o) // of a topic that has stamps both do
		check(t, err)
		sub := subscribe(t, a, topic.Now)
		check(t, a.Publish(background, 1))
		_, err = sub.Recv(background)
		check(t, err)
		if sub.Time().IsZero() {
			t.Error("no time stamp")
		}
		check(t, a.Close())
	}
}
