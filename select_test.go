package shmem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
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
