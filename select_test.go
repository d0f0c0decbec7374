package shmem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	internal "github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// selected is what TestSelect waits for: a queue of each kind, a topic, an event and a box.
type selected struct {
	many, single *queue.Queue[int]
	handle       *queue.Receiver[int]
	bytes        *queue.Bytes
	topic        *topic.Topic[int]
	sub          *topic.Subscription[int]
	box          *shmem.Box[selectBox]
	seen         atomic.Uint64
}

type selectBox struct {
	Event psync.Event
	N     int64
}

func (s *selected) all() []shmem.Waitable {
	return []shmem.Waitable{
		s.many, s.handle, s.bytes, s.sub, &s.box.Value().Event,
		shmem.WaitFunc(func(ctx context.Context) error { return s.box.Wait(ctx, s.seen.Load()) }),
	}
}

func openSelected(t *testing.T) *selected {
	t.Helper()
	dir := shmemtest.Dir(t)
	s := new(selected)
	o := func(single bool) *queue.Options { return &queue.Options{Dir: dir, Single: single} }
	var err error
	s.many, err = queue.Open[int]("many", o(false))
	ok(t, err)
	s.single, err = queue.Open[int]("single", o(true))
	ok(t, err)
	s.handle, err = s.single.Receiver()
	ok(t, err)
	s.bytes, err = queue.OpenBytes("bytes", &queue.BytesOptions{Dir: dir})
	ok(t, err)
	s.topic, err = topic.Open[int]("topic", &topic.Options{Dir: dir})
	ok(t, err)
	s.sub, err = s.topic.Subscribe(topic.Now)
	ok(t, err)
	s.box, err = shmem.Open[selectBox]("box", &shmem.Options{Dir: dir})
	ok(t, err)
	s.seen.Store(s.box.Version())
	t.Cleanup(func() {
		for _, c := range []io.Closer{s.many, s.single, s.bytes, s.topic, s.box} {
			ok(t, c.Close())
		}
	})
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeReady makes each of them ready, and takes what made it so.
func (s *selected) makeReady(t *testing.T) []struct{ ready, over func() } {
	ctx := context.Background()
	e := &s.box.Value().Event
	return []struct{ ready, over func() }{
		{func() { ok(t, s.many.Send(ctx, 1)) }, func() { _, err := s.many.TryRecv(); ok(t, err) }},
		{func() { ok(t, s.single.Send(ctx, 1)) }, func() { _, err := s.handle.TryRecv(); ok(t, err) }},
		{func() { ok(t, s.bytes.Send(ctx, []byte("1"))) },
			func() { _, err := s.bytes.TryRecv(nil); ok(t, err) }},
		{func() { ok(t, s.topic.Publish(ctx, 1)) }, func() { _, err := s.sub.TryRecv(); ok(t, err) }},
		{func() { ok(t, e.Set()) }, func() { ok(t, e.Reset()) }},
		{func() { ok(t, s.box.Update(ctx, func(v *selectBox) error { v.N++; return nil })) },
			func() { s.seen.Store(s.box.Version()) }},
	}
}

// TestSelect: Select returns what is ready, whether that is so before or only later, and receives
// nothing.
func TestSelect(t *testing.T) {
	s := openSelected(t)
	ctx := context.Background()
	for i, c := range s.makeReady(t) {
		for _, later := range []time.Duration{0, time.Millisecond} {
			t.Run(fmt.Sprintf("%d after %v", i, later), func(t *testing.T) {
				done := make(chan struct{})
				go func() {
					time.Sleep(later)
					c.ready()
					close(done)
				}()
				if later == 0 {
					<-done
				}
				if got, err := shmem.Select(ctx, s.all()...); got != i || err != nil {
					t.Errorf("Select: %d, %v; want %d", got, err, i)
				}
				<-done
				c.over()
				select {
				case err := <-shmem.Ready(canceledContext(), s.all()[i]):
					if !errors.Is(err, context.Canceled) {
						t.Errorf("afterwards it is ready: %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Error("Ready")
				}
			})
		}
	}
}

func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestSelectErrors: a context that is done, what cannot be waited for, the end and Close.
func TestSelectErrors(t *testing.T) {
	s := openSelected(t)
	if i, err := shmem.Select(canceledContext(), s.all()...); i != -1 || !errors.Is(err, context.Canceled) {
		t.Error(i, err)
	}
	if i, err := shmem.Select(context.Background()); i != -1 || !errors.Is(err, shmem.ErrBadOption) {
		t.Error(i, err)
	}
	i, err := shmem.Select(context.Background(), s.many, nil)
	if i != -1 || !errors.Is(err, shmem.ErrBadOption) {
		t.Error(i, err)
	}
	if err := <-shmem.Ready(context.Background(), nil); !errors.Is(err, shmem.ErrBadOption) {
		t.Error(err)
	}
	var none context.Context
	if i, err := shmem.Select(none, s.many); i != -1 || !errors.Is(err, shmem.ErrBadOption) {
		t.Error(i, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if i, err := shmem.Select(ctx, s.all()...); i != -1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(i, err)
	}
	for k, w := range []struct {
		shmem.Waitable
		end  func() error
		recv func() error
	}{
		{s.many, s.many.End, func() error { _, err := s.many.TryRecv(); return err }},
		{s.handle, s.single.End, func() error { _, err := s.handle.TryRecv(); return err }},
		{s.bytes, s.bytes.End, func() error { _, err := s.bytes.TryRecv(nil); return err }},
		{s.sub, s.topic.End, func() error { _, err := s.sub.TryRecv(); return err }},
	} {
		ok(t, w.end())
		if i, err := shmem.Select(context.Background(), w); i != 0 || err != nil || w.recv() != io.EOF {
			t.Errorf("%d at the end: %d, %v; then %v", k, i, err, w.recv())
		}
	}
	ok(t, s.many.Close())
	if i, err := shmem.Select(context.Background(), s.box2(), s.many); i != 1 || !errors.Is(err, shmem.ErrClosed) {
		t.Error(i, err)
	}
}

// box2 waits for a change that does not come.
func (s *selected) box2() shmem.Waitable {
	return shmem.WaitFunc(func(ctx context.Context) error { return s.box.Wait(ctx, s.box.Version()) })
}

// TestSelectMany: hundreds are waited for, and what is canceled loses no message.
func TestSelectMany(t *testing.T) {
	const n = 200
	dir := shmemtest.Dir(t)
	var all []shmem.Waitable
	var qs []*queue.Queue[int]
	for i := range n {
		q, err := queue.Open[int](fmt.Sprint("q", i), &queue.Options{Dir: dir, Capacity: 2, Slots: 4})
		ok(t, err)
		defer q.Close()
		qs, all = append(qs, q), append(all, q)
	}
	for _, i := range []int{0, 17, n - 1, 100} {
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan int, 1)
		go func() {
			got, _ := shmem.Select(ctx, all...)
			result <- got
		}()
		if i == 100 {
			cancel()
			<-result
			got, err := shmem.Select(canceledContext(), all...)
			if got != -1 {
				t.Errorf("got %d, %v", got, err)
			}
		}
		ok(t, qs[i].Send(context.Background(), i))
		if i != 100 {
			if got := <-result; got != i {
				t.Errorf("got %d, want %d", got, i)
			}
		}
		cancel()
		if v, err := qs[i].TryRecv(); v != i || err != nil {
			t.Error(v, err)
		}
	}
}

// selectQueues opens n queues, each by two attachments: a message that one sends rings the other.
func selectQueues(t testing.TB, n int) (here, there []*queue.Queue[int], all []shmem.Waitable) {
	t.Helper()
	dir := shmemtest.Dir(t)
	for i := range n {
		var qs [2]*queue.Queue[int]
		for k := range qs {
			q, err := queue.Open[int](fmt.Sprint("q", i), &queue.Options{Dir: dir, Capacity: 2, Slots: 4})
			ok(t, err)
			t.Cleanup(func() { ok(t, q.Close()) })
			qs[k] = q
		}
		here, there, all = append(here, qs[0]), append(there, qs[1]), append(all, qs[0])
	}
	return here, there, all
}

// interests returns in how many buckets of the segment goroutines of this attachment wait.
func interests(s *shmem.Segment) int {
	p := internal.Shmem.Attachment(s).Mapping().Peers
	return bits.OnesCount64(p.Slot(int(p.Self.Slot())).Interest.Load())
}

// TestSelectIsFlat: a Select that waits for a hundred queues has no goroutine for each, allocates
// no more than one for a single queue, and leaves nothing registered when it is canceled.
func TestSelectIsFlat(t *testing.T) {
	const n = 100
	here, there, all := selectQueues(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	before := runtime.NumGoroutine()
	result := make(chan error, 1)
	go func() {
		_, err := shmem.Select(ctx, all...)
		result <- err
	}()
	for interests(here[n-1].Segment()) == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	if more := runtime.NumGoroutine() - before; more > 10 {
		t.Errorf("%d goroutines more", more)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for i, q := range here {
		if k := interests(q.Segment()); k != 0 {
			t.Errorf("queue %d: %d buckets are registered", i, k)
		}
	}
	perWake := func(n int) float64 {
		return testing.AllocsPerRun(50, func() {
			done := make(chan struct{})
			go func() {
				for interests(here[n-1].Segment()) == 0 {
					runtime.Gosched()
				}
				ok(t, there[n-1].Send(context.Background(), 1))
				close(done)
			}()
			if i, err := shmem.Select(context.Background(), all[:n]...); i != n-1 || err != nil {
				t.Error(i, err)
			}
			<-done
			_, err := here[n-1].TryRecv()
			ok(t, err)
		})
	}
	one, many := perWake(1), perWake(n)
	if !raced && many > one+n/4 {
		t.Errorf("%.0f allocations for %d queues, %.0f for one", many, n, one)
	}
	t.Logf("%.0f allocations for %d queues, %.0f for one", many, n, one)
}

// BenchmarkSelect waits for the last of several queues, the messages of another attachment.
func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		here, there, all := selectQueues(b, n)
		b.Run(fmt.Sprintf("ready/%d", n), func(b *testing.B) {
			ok(b, there[n-1].Send(context.Background(), 1))
			b.ReportAllocs()
			for b.Loop() {
				if i, err := shmem.Select(context.Background(), all...); i != n-1 || err != nil {
					b.Fatal(i, err)
				}
			}
			_, err := here[n-1].TryRecv()
			ok(b, err)
		})
		b.Run(fmt.Sprintf("waiting/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			go func() {
				for range b.N {
					for here[n-1].Len() > 0 || interests(here[n-1].Segment()) == 0 {
						runtime.Gosched()
					}
					ok(b, there[n-1].Send(context.Background(), 1))
				}
			}()
			for range b.N {
				if _, err := shmem.Select(context.Background(), all...); err != nil {
					b.Fatal(err)
				}
				_, err := here[n-1].TryRecv()
				ok(b, err)
			}
		})
	}
}
