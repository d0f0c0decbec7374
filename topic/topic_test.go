package topic_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// roles are those of child processes; each file adds its own in init.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

var background = context.Background()

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func open[T any](t testing.TB, dir string, capacity, hold int) *topic.Topic[T] {
	t.Helper()
	tp, err := topic.Open[T]("t", &topic.Options{Dir: dir, Capacity: capacity, Holds: hold})
	check(t, err)
	t.Cleanup(func() { check(t, tp.Close()) })
	return tp
}

func subscribe[T any](t testing.TB, tp *topic.Topic[T], from topic.Start) *topic.Subscription[T] {
	t.Helper()
	s, err := tp.Subscribe(from)
	check(t, err)
	return s
}

func TestStarts(t *testing.T) {
	tp := open[[3]byte](t, shmemtest.Dir(t), 4, 0)
	_, _, err := tp.Latest()
	want(t, err, topic.ErrEmpty)
	for i := range byte(6) {
		check(t, tp.Publish(background, [3]byte{i, i, i}))
	}
	if v, seq, err := tp.Latest(); v != [3]byte{5, 5, 5} || seq != 5 || err != nil {
		t.Error(v, seq, err)
	}
	for _, c := range []struct {
		from  topic.Start
		first byte
		lost  uint64
	}{
		{topic.Oldest, 2, 0}, {topic.Now, 9, 0},
		{topic.After(3), 4, 0}, {topic.After(0), 2, 1}, {topic.After(99), 9, 0},
	} {
		s := subscribe(t, tp, c.from)
		v, err := s.TryRecv()
		if c.first == 9 {
			want(t, err, topic.ErrEmpty)
			continue
		}
		check(t, err)
		seq, _ := s.Seq()
		if v[2] != c.first || s.Lost() != c.lost || seq != uint64(c.first) {
			t.Errorf("%v: %v lost %d seq %d", c.from, v, s.Lost(), seq)
		}
		check(t, s.Close())
	}
	s := subscribe(t, tp, topic.Now)
	for i := range byte(10) {
		check(t, tp.Publish(background, [3]byte{i}))
	}
	if _, err := s.TryRecv(); err != nil || s.Lost() < 6 {
		t.Error(s.Lost(), err)
	}
	check(t, tp.End())
	want(t, tp.Publish(background, [3]byte{}), topic.ErrEnded)
	n := s.Lost() + 1
	for _, err := range s.All(background) {
		check(t, err)
		n++
	}
	if n != 10 {
		t.Errorf("%d", n)
	}
	_, err = s.Recv(background)
	want(t, err, io.EOF)
}

func TestHold(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 4, 2)
	for i := range 6 {
		check(t, tp.TryPublish(i))
	}
	s := subscribe(t, tp, topic.Oldest)
	for i := 6; i < 10; i++ {
		check(t, tp.TryPublish(i))
	}
	want(t, tp.TryPublish(10), topic.ErrFull)
	ctx, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	want(t, tp.Publish(ctx, 10), context.DeadlineExceeded)
	st, err := tp.Stats()
	check(t, err)
	if st.Holds != 1 || st.MaxHolds != 2 || st.Lag != 4 || st.Published != 10 || st.Slowest < 0 {
		t.Errorf("%+v", st)
	}
	go func() { // waits for the subscriber
		for i := 10; i < 1000; i++ {
			check(t, tp.Publish(background, i))
		}
		check(t, tp.End())
	}()
	next := 6
	for v, err := range s.All(background) {
		check(t, err)
		if v < 6 {
			t.Error("the old ones are overwritten")
		}
		if v != next {
			t.Fatalf("got %d, want %d", v, next)
		}
		next++
	}
	if st, err := tp.Stats(); err != nil || next != 1000 || s.Lost() != 4 || st.Lost != 4 {
		t.Errorf("up to %d, lost %d, %+v %v", next, s.Lost(), st, err)
	}
	s2 := subscribe(t, tp, topic.Now)
	_, err = tp.Subscribe(topic.Now)
	want(t, err, topic.ErrNoHold)
	check(t, s.Close())
	check(t, s.Close())
	s3 := subscribe(t, tp, topic.Now)
	check(t, s2.Close())
	check(t, s3.Close())
}

func TestInPlace(t *testing.T) {
	for _, hold := range []int{0, 3} {
		tp := open[[10000]byte](t, shmemtest.Dir(t), 3, hold)
		s := subscribe(t, tp, topic.Now)
		oops := errors.New("oops")
		want(t, tp.PublishFunc(background, func(*[10000]byte) error { return oops }), oops)
		check(t, tp.PublishFunc(background, func(v *[10000]byte) error { v[77] = 7; return nil }))
		want(t, s.RecvFunc(background, func(v *[10000]byte) error { return oops }), oops)
		check(t, s.RecvFunc(background, func(v *[10000]byte) error {
			if v[77] != 7 {
				t.Error(v[77])
			}
			return nil
		}))
		if hold == 0 {
			check(t, tp.Publish(background, [10000]byte{}))
			want(t, s.RecvFunc(background, func(v *[10000]byte) error {
				for range 4 {
					check(t, tp.Publish(background, [10000]byte{}))
				}
				return nil
			}), topic.ErrLost)
		}
		check(t, s.Close())
		check(t, tp.Close())
	}
}

// TestMany runs publishers and subscribers of all kinds at once: no message is torn, out of order
// or unaccounted for.
func TestMany(t *testing.T) {
	for _, hold := range []int{0, 8} {
		dir := shmemtest.Dir(t)
		a := open[[20]int](t, dir, 16, hold)
		b := open[[20]int](t, dir, 0, 0)
		const each = 3000
		var wg, sg sync.WaitGroup
		for i := range 4 {
			tp := []*topic.Topic[[20]int]{a, b}[i%2]
			s := subscribe(t, tp, topic.Now)
			sg.Go(func() {
				n, last := uint64(0), [2]int{-1, -1}
				for v, err := range s.All(background) {
					check(t, err)
					for _, x := range v {
						if x != v[0] {
							t.Errorf("torn: %v", v)
						}
					}
					p, i := v[0]&1, v[0]>>1
					if i <= last[p] {
						t.Errorf("%d after %d", i, last[p])
					}
					last[p] = i
					n++
				}
				if n+s.Lost() != 2*each || hold > 0 && s.Lost() > 0 {
					t.Errorf("hold %d: got %d, lost %d", hold, n, s.Lost())
				}
				check(t, s.Close())
			})
		}
		for p := range 2 {
			tp := []*topic.Topic[[20]int]{a, b}[p]
			wg.Go(func() {
				for i := range each {
					var v [20]int
					for j := range v {
						v[j] = i<<1 | p
					}
					check(t, tp.Publish(background, v))
				}
			})
		}
		wg.Wait()
		check(t, a.End())
		sg.Wait()
		check(t, a.Close())
		check(t, b.Close())
	}
}

func TestClose(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 2, 1)
	s := subscribe(t, tp, topic.Now)
	var wg sync.WaitGroup
	wg.Go(func() { _, err := s.Recv(background); want(t, err, shmem.ErrClosed) })
	time.Sleep(10 * time.Millisecond)
	check(t, tp.Close())
	wg.Wait()
	want(t, tp.Publish(background, 1), shmem.ErrClosed)
	check(t, s.Close())
}

func TestReadOnly(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 8, 0)
	ro, err := topic.Attach[int]("t", &topic.Options{Dir: dir, ReadOnly: true})
	check(t, err)
	defer ro.Close()
	s := subscribe(t, ro, topic.Now)
	check(t, tp.Publish(background, 5))
	if v, err := s.Recv(background); v != 5 || err != nil {
		t.Error(v, err)
	}
	want(t, ro.Publish(background, 1), shmem.ErrReadOnly)
	if v, _, err := ro.Latest(); v != 5 || err != nil {
		t.Error(v, err)
	}
	_, err = topic.Attach[uint8]("t", &topic.Options{Dir: dir})
	want(t, err, shmem.ErrMismatch)
}

// TestSize checks that the memory is what the documentation says, to the byte.
func TestSize(t *testing.T) {
	up := func(n, to int) int { return (n + to - 1) / to * to }
	for _, n := range []int{1, 10, 999} {
		for _, hold := range []int{0, 5} {
			tp := open[[11]byte](t, shmemtest.Dir(t), n, hold)
			want := up(up(512+128*hold+8*n, 128)+up(11, strconv.IntSize/8)*n, 8)
			if got := tp.Segment().Size(); got != want {
				t.Errorf("%d messages, %d holds: %d bytes, want %d", n, hold, got, want)
			}
			check(t, tp.Close())
		}
	}
}

// TestOvertaken checks that publishers that overwrite every message during its copy do not keep a
// subscriber for ever.
func TestOvertaken(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 4, 0)
	s := subscribe(t, tp, topic.Now)
	check(t, tp.Publish(background, 1))
	step.Hook(func(p step.Point) {
		if p == step.TopicRead {
			for range 4 {
				check(t, tp.Publish(background, 1))
			}
		}
	})
	defer step.Hook(nil)
	_, err := s.TryRecv() // or the test ends by its time limit
	want(t, err, topic.ErrEmpty)
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	_, err = s.Recv(ctx)
	want(t, err, context.DeadlineExceeded)
}

// TestCanceled checks that a publisher that has come round to a message is rung when that message
// is given up: it need not find out by polling.
func TestCanceled(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 1, 0)
	fail, armed, published := errors.New("no"), make(chan struct{}, 8), make(chan error, 1)
	var canceled, rung atomic.Bool
	step.Hook(func(p step.Point) {
		switch p {
		case step.WaitArmed:
			armed <- struct{}{}
		case step.TopicCanceled:
			canceled.Store(true)
		case step.WakeArmed:
			if canceled.Load() {
				rung.Store(true)
			}
		}
	})
	defer step.Hook(nil)
	want(t, tp.PublishFunc(background, func(*int) error {
		go func() { published <- tp.Publish(background, 7) }()
		<-armed
		return fail
	}), fail)
	if !rung.Load() {
		t.Error("no waiter was rung")
	}
	check(t, <-published)
}

// TestLittleRoom: a publisher that waits gets the room for one message where no more comes.
func TestLittleRoom(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 1024, 2)
	s := subscribe(t, tp, topic.Now)
	for i := range tp.Cap() {
		check(t, tp.TryPublish(i))
	}
	for i := range 3 {
		done := make(chan error)
		go func() { done <- tp.Publish(background, 1024+i) }()
		time.Sleep(time.Millisecond) // until it waits, likely
		v, err := s.TryRecv()
		if v != i || err != nil {
			t.Fatal(v, err)
		}
		select {
		case err := <-done:
			check(t, err)
		case <-time.After(20 * time.Second):
			t.Fatal("the publisher waits though there is room for a message")
		}
	}
}
