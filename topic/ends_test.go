package topic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// A waiting call blocks until it is ended in one of the ways that endings has.
type waiting struct {
	name string
	call func(ctx context.Context, s *topic.Subscription[int], p *topic.Publisher[int]) error
	send bool // it publishes, else it receives
	all  bool // it looks at ctx before anything else
}

var waitingCalls = []waiting{
	{name: "Recv", call: func(ctx context.Context, s *topic.Subscription[int], _ *topic.Publisher[int]) error {
		_, err := s.Recv(ctx)
		return err
	}},
	{name: "RecvFunc", call: func(ctx context.Context, s *topic.Subscription[int], _ *topic.Publisher[int]) error {
		return s.RecvFunc(ctx, func(*int) error { return nil })
	}},
	{name: "RecvBatch", call: func(ctx context.Context, s *topic.Subscription[int], _ *topic.Publisher[int]) error {
		_, err := s.RecvBatch(ctx, make([]int, 3))
		return err
	}},
	{name: "All", all: true, call: func(ctx context.Context, s *topic.Subscription[int], _ *topic.Publisher[int]) error {
		for _, err := range s.All(ctx) {
			return err
		}
		return io.EOF
	}},
	{name: "Select", call: func(ctx context.Context, s *topic.Subscription[int], _ *topic.Publisher[int]) error {
		if _, err := shmem.Select(ctx, s); err != nil {
			return err
		}
		_, err := s.TryRecv()
		return err
	}},
	{name: "Publish", send: true, call: func(ctx context.Context, _ *topic.Subscription[int], p *topic.Publisher[int]) error {
		return p.Publish(ctx, 1)
	}},
	{name: "PublishFunc", send: true, call: func(ctx context.Context, _ *topic.Subscription[int], p *topic.Publisher[int]) error {
		return p.PublishFunc(ctx, func(*int) error { return nil })
	}},
	{name: "PublishBatch", send: true, call: func(ctx context.Context, _ *topic.Subscription[int], p *topic.Publisher[int]) error {
		_, err := p.PublishBatch(ctx, make([]int, 9))
		return err
	}},
}

// An ending is a way to end a call that waits.
type ending struct {
	name       string
	do         func(tp *topic.Topic[int], s *topic.Subscription[int], p *topic.Publisher[int], cancel func())
	recv, send error // of calls that receive and that publish; nil: it does not end these
}

var endings = []ending{
	{"cancel", func(_ *topic.Topic[int], _ *topic.Subscription[int], _ *topic.Publisher[int], cancel func()) {
		cancel()
	},
		context.Canceled, context.Canceled},
	{"close the topic", func(tp *topic.Topic[int], _ *topic.Subscription[int], _ *topic.Publisher[int], _ func()) { tp.Close() },
		shmem.ErrClosed, shmem.ErrClosed},
	{"close the end", func(_ *topic.Topic[int], s *topic.Subscription[int], p *topic.Publisher[int], _ func()) {
		s.Close()
		p.Close()
	}, shmem.ErrClosed, shmem.ErrClosed},
	{"end", func(tp *topic.Topic[int], _ *topic.Subscription[int], _ *topic.Publisher[int], _ func()) { tp.End() },
		io.EOF, topic.ErrEnded},
}

// TestWaitingCallsEnd: each way to end a call ends each call that waits, before it began or while
// it waits, and later calls return the same.
func TestWaitingCallsEnd(t *testing.T) {
	for _, c := range waitingCalls {
		for _, how := range []topic.Delivery{topic.Hold, topic.NoHold, topic.Newest} {
			if c.send && how != topic.Hold {
				continue // such a publisher does not wait
			}
			for _, e := range endings {
				for _, first := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%d/%s/%v", c.name, how, e.name, first), func(t *testing.T) {
						waitingCall(t, c, how, e, first)
					})
				}
			}
		}
	}
}

func waitingCall(t *testing.T, c waiting, how topic.Delivery, e ending, first bool) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 2, 2)
	defer tp.Close()
	s, err := tp.Subscribe(topic.Now, how)
	check(t, err)
	p, err := tp.Publisher()
	check(t, err)
	cause := e.recv
	if c.send {
		cause = e.send
		other := open[int](t, dir, 2, 2) // holds publishers back beyond the end of tp
		defer other.Close()
		behind := subscribe(t, other, topic.Now)
		defer behind.Close()
		for tp.TryPublish(1) == nil {
		}
	}
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	if first {
		e.do(tp, s, p, cancel)
	}
	result := make(chan error, 1)
	go func() { result <- c.call(ctx, s, p) }()
	if !first {
		time.Sleep(time.Millisecond) // usually it waits by now
		e.do(tp, s, p, cancel)
	}
	select {
	case err := <-result:
		if !errors.Is(err, cause) {
			t.Errorf("%v, want %v", err, cause)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the call does not end")
	}
	if e.name != "cancel" {
		if err := c.call(background, s, p); !errors.Is(err, cause) {
			t.Errorf("later: %v, want %v", err, cause)
		}
	}
}

// TestNilContexts: a nil context is an error of a call that would wait, and of All.
func TestNilContexts(t *testing.T) {
	var none context.Context
	for _, c := range waitingCalls {
		tp := open[int](t, shmemtest.Dir(t), 2, 1)
		s := subscribe(t, tp, topic.Now)
		p, err := tp.Publisher()
		check(t, err)
		if c.send {
			for tp.TryPublish(1) == nil {
			}
		}
		want(t, c.call(none, s, p), shmem.ErrBadOption)
		if c.all {
			check(t, tp.Publish(background, 1))
			want(t, c.call(none, s, p), shmem.ErrBadOption)
			ctx, cancel := context.WithCancel(background)
			cancel()
			want(t, c.call(ctx, s, p), context.Canceled) // although a message is there
		}
		check(t, tp.Close())
	}
}

// TestCloseLetsPublishersGoOn: a subscription that is closed while its Recv or its RecvFunc is in
// flight no longer holds publishers back, and harms no other hold.
func TestCloseLetsPublishersGoOn(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 2, 1)
	defer tp.Close()
	s := subscribe(t, tp, topic.Now)
	check(t, tp.Publish(background, 1))
	check(t, s.RecvFunc(background, func(*int) error { return s.Close() }))
	for i := range 9 {
		check(t, tp.TryPublish(i))
	}
	for range 100 {
		s := subscribe(t, tp, topic.Now)
		done := make(chan struct{})
		go func() { _, err := s.Recv(background); want(t, err, shmem.ErrClosed); close(done) }()
		check(t, s.Close())
		<-done
		next := subscribe(t, tp, topic.Now) // there is one hold
		check(t, tp.TryPublish(7))
		if v, err := next.TryRecv(); v != 7 || err != nil {
			t.Fatal(v, err)
		}
		check(t, next.Close())
	}
}

// TestBatches: batches come in order, several at once, also where they are larger than the topic,
// and a NoHold subscription counts what it has lost.
func TestBatches(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 8, 1)
	defer tp.Close()
	p, err := tp.Publisher()
	check(t, err)
	held := subscribe(t, tp, topic.Now)
	loose, err := tp.Subscribe(topic.Now, topic.NoHold)
	check(t, err)
	newest, err := tp.Subscribe(topic.Now, topic.Newest)
	check(t, err)
	const total = 50
	sent := make(chan error, 1)
	go func() {
		vs := make([]int, total)
		for i := range vs {
			vs[i] = i
		}
		n, err := p.PublishBatch(background, vs)
		if n != total {
			t.Errorf("%d are published", n)
		}
		sent <- err
	}()
	got := make([]int, 5)
	for next := 0; next < total; {
		n, err := held.RecvBatch(background, got)
		check(t, err)
		for _, v := range got[:n] {
			if v != next {
				t.Fatalf("got %d, want %d", v, next)
			}
			next++
		}
	}
	check(t, <-sent)
	n, err := loose.RecvBatch(background, make([]int, total))
	if n != 8 || err != nil || loose.Lost() != total-8 {
		t.Errorf("%d, %v, lost %d", n, err, loose.Lost())
	}
	if n, err := newest.RecvBatch(background, got); n != 1 || err != nil || got[0] != total-1 {
		t.Errorf("%d, %v, %d", n, err, got[0])
	}
	for _, vs := range [][]int{nil, {}} {
		n, err := tp.PublishBatch(nil, vs)
		k, err2 := held.RecvBatch(nil, vs)
		if n+k != 0 || err != nil || err2 != nil {
			t.Error(n, k, err, err2)
		}
	}
}
