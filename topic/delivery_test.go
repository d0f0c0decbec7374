package topic_test

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestBeyond: a start beyond what is there begins with what is there.
func TestBeyond(t *testing.T) {
	for _, holds := range []int{0, 2} {
		tp := open[int](t, shmemtest.Dir(t), 8, holds)
		check := func(name string, from topic.Start, first int, lost uint64) {
			t.Helper()
			s := subscribe(t, tp, from)
			defer s.Close()
			v, err := s.TryRecv()
			if first < 0 {
				want(t, err, topic.ErrEmpty)
			} else if v != first || err != nil || s.Lost() != lost {
				t.Errorf("holds %d, %s: %d, %v, lost %d; want %d, lost %d", holds, name, v, err, s.Lost(), first, lost)
			}
		}
		check("last 3 of none", topic.Last(3), -1, 0)
		published := uint64(0)
		publish := func(n int) {
			for range n {
				if err := tp.Publish(background, int(published)); err != nil {
					t.Fatal(err)
				}
				published++
			}
		}
		publish(3)
		check("after a number below 0", topic.After(published-1001), 0, 0)
		check("after -1", topic.After(math.MaxUint64), 0, 0)
		check("after -2^63", topic.After(1<<63), 0, 0)
		check("after the largest", topic.After(math.MaxInt64-1), -1, 0)
		check("after the next", topic.After(published), -1, 0)
		check("after the last", topic.After(published-1), -1, 0)
		check("last 0", topic.Last(0), -1, 0)
		check("last -1", topic.Last(-1), -1, 0)
		check("last 2", topic.Last(2), 1, 0)
		check("last 100", topic.Last(100), 0, 0)
		check("last of all", topic.Last(math.MaxInt), 0, 0)
		publish(10) // 5 to 12 are kept
		check("after a number below 0", topic.After(published-1001), 5, 5)
		check("after 1", topic.After(1), 5, 3)
		check("last 100", topic.Last(100), 5, 0)
		check("last 8", topic.Last(8), 5, 0)
		check("last 2", topic.Last(2), 11, 0)
		fail := errors.New("no")
		want(t, tp.PublishFunc(background, func(*int) error { return fail }), fail)
		check("last 2 and one that was given up", topic.Last(2), 11, 0)
	}
}

// TestNewest: a subscription receives the newest message, and blocks until there is a newer one.
func TestNewest(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 4, 1)
	ro, err := topic.Attach[int]("t", &topic.Options{Dir: dir, ReadOnly: true})
	check(t, err)
	defer ro.Close()
	for _, at := range []*topic.Topic[int]{tp, ro} {
		now, err := at.Subscribe(topic.Now, topic.Newest)
		check(t, err)
		_, err = now.TryRecv()
		want(t, err, topic.ErrEmpty)
		base := 0
		if _, seq, err := tp.Latest(); err == nil {
			base = int(seq) + 1
		}
		for i := range 10 { // more than a round
			check(t, tp.Publish(background, base+i))
		}
		last, err := at.Subscribe(topic.Last(1), topic.Newest)
		check(t, err)
		for _, s := range []*topic.Subscription[int]{now, last} {
			if v, err := s.Recv(background); v != base+9 || err != nil || s.Lost() != 0 {
				t.Error(v, err, s.Lost())
			}
			seq, ok := s.Seq()
			if !ok || seq != uint64(base+9) {
				t.Error(seq, ok)
			}
			_, err := s.TryRecv()
			want(t, err, topic.ErrEmpty)
			ctx, cancel := context.WithTimeout(background, 5*time.Millisecond)
			_, err = s.Recv(ctx)
			cancel()
			want(t, err, context.DeadlineExceeded)
		}
		// Begin again where another subscription has ended.
		seq, _ := last.Seq()
		check(t, last.Close())
		again, err := at.Subscribe(topic.After(seq), topic.Newest)
		check(t, err)
		got := make(chan int)
		go func() {
			v, err := again.Recv(background)
			if err != nil {
				t.Error(err)
			}
			got <- v
		}()
		select {
		case v := <-got:
			t.Errorf("%d is not newer", v)
		case <-time.After(20 * time.Millisecond):
		}
		check(t, tp.Publish(background, base+10))
		if v := <-got; v != base+10 {
			t.Errorf("got %d, want %d", v, base+10)
		}
		want(t, now.RecvFunc(background, func(v *int) error {
			if *v != base+10 {
				t.Error(*v)
			}
			return io.ErrUnexpectedEOF
		}), io.ErrUnexpectedEOF)
		if v, err := now.TryRecv(); v != base+10 || err != nil { // it was not received
			t.Error(v, err)
		}
		check(t, again.Close())
		check(t, now.Close())
	}
	if st, err := tp.Stats(); err != nil || st.Lost != 0 || st.Holds != 0 {
		t.Errorf("%+v %v", st, err)
	}
	s, err := tp.Subscribe(topic.Oldest, topic.Newest)
	check(t, err)
	check(t, tp.End())
	n := 0
	for _, err := range s.All(background) {
		check(t, err)
		n++
	}
	if _, err := s.Recv(background); n != 1 || err != io.EOF {
		t.Error(n, err)
	}
}

// TestNewestOfMany: with several publishers, each message received is newer than the one before, and
// whole.
func TestNewestOfMany(t *testing.T) {
	tp := open[[9]uint64](t, shmemtest.Dir(t), 4, 0)
	s, err := tp.Subscribe(topic.Now, topic.Newest)
	check(t, err)
	done := make(chan error, 2)
	for p := range uint64(2) {
		go func() {
			for i := range uint64(3000) {
				var v [9]uint64
				for j := range v {
					v[j] = p<<32 | i
				}
				if err := tp.Publish(background, v); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	go func() {
		check(t, errors.Join(<-done, <-done))
		check(t, tp.End())
	}()
	next, last := uint64(0), [2]uint64{}
	for v, err := range s.All(background) {
		check(t, err)
		for _, x := range v {
			if x != v[0] {
				t.Fatalf("torn: %v", v)
			}
		}
		seq, _ := s.Seq()
		p, i := v[0]>>32, v[0]&(1<<32-1)
		if seq < next || i < last[p] {
			t.Fatalf("%d after %d, %d after %d", seq, next, i, last[p])
		}
		next, last[p] = seq+1, i
	}
	if next != 6000 { // the newest message of all is received
		t.Errorf("up to %d", next)
	}
}

// TestDeliveries: subscriptions of every delivery share a topic.
func TestDeliveries(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 4, 1)
	all, err := tp.Subscribe(topic.Now, topic.Hold)
	check(t, err)
	_, err = tp.Subscribe(topic.Now, topic.Hold)
	want(t, err, topic.ErrNoHold)
	_, err = tp.Subscribe(topic.Now) // the default there
	want(t, err, topic.ErrNoHold)
	some, err := tp.Subscribe(topic.Now, topic.NoHold)
	check(t, err)
	newest, err := tp.Subscribe(topic.Now, topic.Newest)
	check(t, err)
	for i := range 4 {
		check(t, tp.TryPublish(i))
	}
	want(t, tp.TryPublish(4), topic.ErrFull)
	if v, err := newest.TryRecv(); v != 3 || err != nil {
		t.Error(v, err)
	}
	for i := range 12 { // the one that holds sets the pace
		if v, err := all.TryRecv(); v != i || err != nil {
			t.Fatal(v, err)
		}
		check(t, tp.TryPublish(i+4))
	}
	if v, err := some.TryRecv(); v != 12 || err != nil || some.Lost() != 12 {
		t.Error(v, err, some.Lost())
	}
	if v, err := newest.TryRecv(); v != 15 || err != nil || newest.Lost() != 0 {
		t.Error(v, err, newest.Lost())
	}
	if st, err := tp.Stats(); err != nil || st.Holds != 1 || all.Lost() != 0 {
		t.Errorf("%+v %v", st, err)
	}
	check(t, all.Close())
	check(t, some.Close())
	check(t, newest.Close())
	for i := range 9 {
		check(t, tp.TryPublish(i))
	}
	for _, how := range [][]topic.Delivery{{-1}, {9}, {topic.Hold, topic.Hold}, {topic.NoHold, topic.Newest, topic.Hold}} {
		_, err = tp.Subscribe(topic.Now, how...)
		want(t, err, shmem.ErrBadOption)
	}
	ro, err := topic.Attach[int]("t", &topic.Options{Dir: dir, ReadOnly: true})
	check(t, err)
	defer ro.Close()
	_, err = ro.Subscribe(topic.Now, topic.Hold)
	want(t, err, shmem.ErrReadOnly)
	free, err := ro.Subscribe(topic.Last(2), topic.NoHold)
	check(t, err)
	if v, err := free.TryRecv(); v != 7 || err != nil {
		t.Error(v, err)
	}
	none := open[int](t, shmemtest.Dir(t), 4, 0)
	_, err = none.Subscribe(topic.Now, topic.Hold)
	want(t, err, topic.ErrNoHold)
}

func init() { roles = append(roles, shmemtest.Role{Name: "holder", Run: holder}) }

// holder subscribes with a hold and receives what it is told to.
func holder(c *shmemtest.Conn) error {
	t, err := topic.Attach[int]("t", &topic.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	defer t.Close()
	s, err := t.Subscribe(topic.Now, topic.Hold)
	if err != nil {
		return err
	}
	c.Send("holds")
	for {
		if _, err := c.Recv(); err == io.EOF {
			return s.Close()
		}
		v, err := s.Recv(background)
		if err != nil {
			return err
		}
		c.Send("%d", v)
	}
}

// TestHolder: publishers wait for a holder that is stopped, which Stats names, and no longer than
// their context says. Other subscriptions receive what was published. When it goes on so do they,
// and when it dies its hold is released.
func TestHolder(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 4, 1)
	h := shmemtest.Start(t, "holder", dir)
	h.Expect(t, "holds")
	newest, err := tp.Subscribe(topic.Now, topic.Newest)
	check(t, err)
	defer newest.Close()
	free, err := tp.Subscribe(topic.Now, topic.NoHold)
	check(t, err)
	defer free.Close()
	check(t, h.Stop())
	for i := range 4 {
		check(t, tp.TryPublish(i))
	}
	for range 3 {
		want(t, tp.TryPublish(9), topic.ErrFull)
	}
	ctx, cancel := context.WithTimeout(background, 150*time.Millisecond)
	defer cancel()
	want(t, tp.Publish(ctx, 9), context.DeadlineExceeded)
	st, err := tp.Stats()
	check(t, err)
	if st.Holds != 1 || st.Released != 0 || st.Lag != 4 || st.Slowest < 0 {
		t.Errorf("%+v", st)
	}
	info, err := shmem.Stat(dir, "t")
	check(t, err)
	for _, p := range info.Peers {
		if p.Slot == st.Slowest && p.PID != h.Pid() {
			t.Errorf("the slowest is pid %d, not %d", p.PID, h.Pid())
		}
	}
	if v, err := newest.TryRecv(); v != 3 || err != nil {
		t.Error(v, err)
	}
	if v, err := free.TryRecv(); v != 0 || err != nil {
		t.Error(v, err)
	}
	published := make(chan error, 1)
	go func() { published <- tp.Publish(background, 4) }()
	check(t, h.Continue())
	if got := h.Ask(t, "next"); got != "0" {
		t.Errorf("it received %s", got)
	}
	check(t, <-published)
	check(t, h.Stop()) // killed while it is stopped
	go func() {
		for i := 5; i < 20; i++ {
			if err := tp.Publish(background, i); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	h.Kill()
	check(t, <-published)
	if st, err := tp.Stats(); err != nil || st.Released != 1 || st.Holds != 0 || st.Slowest != -1 {
		t.Errorf("%+v %v", st, err)
	}
	again, err := tp.Subscribe(topic.Now, topic.Hold)
	check(t, err)
	check(t, again.Close())
}
