package topic_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// names checks that err is a *shmem.Error of that operation with that cause, on the topic "t".
func names(t testing.TB, err error, op string, cause error) {
	t.Helper()
	e, ok := err.(*shmem.Error)
	if !ok || e.Op != "topic "+op || e.Name != "t" || !errors.Is(err, cause) {
		t.Errorf("error %v, want one of %q on t: %v", err, "topic "+op, cause)
	}
	if ok && !strings.HasPrefix(err.Error(), "shmem: topic "+op+" t: ") {
		t.Errorf("text %q", err)
	}
}

// publishErrors checks the errors of all methods that publish.
func publishErrors(t *testing.T, tp *topic.Topic[int], cause error) {
	t.Helper()
	names(t, tp.Publish(background, 1), "publish", cause)
	names(t, tp.TryPublish(1), "publish", cause)
	names(t, tp.PublishFunc(background, func(*int) error { return nil }), "publish", cause)
}

// receiveErrors checks the errors of all methods that receive.
func receiveErrors(t *testing.T, s *topic.Subscription[int], cause error) {
	t.Helper()
	_, err := s.Recv(background)
	names(t, err, "receive", cause)
	_, err = s.TryRecv()
	names(t, err, "receive", cause)
	names(t, s.RecvFunc(background, func(*int) error { return nil }), "receive", cause)
	for _, err := range s.All(background) {
		names(t, err, "receive", cause)
	}
}

// TestErrors has the errors of every method: of a topic that is full, has ended, is read-only, is
// closed, and of subscriptions to it.
func TestErrors(t *testing.T) {
	for _, holds := range []int{0, 1} {
		dir := shmemtest.Dir(t)
		tp := open[int](t, dir, 2, holds)
		_, _, err := tp.Latest()
		names(t, err, "latest", topic.ErrEmpty)
		s := subscribe(t, tp, topic.Now)
		_, err = s.TryRecv()
		names(t, err, "receive", topic.ErrEmpty)
		if holds > 0 {
			_, err := tp.Subscribe(topic.Now)
			names(t, err, "subscribe", topic.ErrNoHold)
			for tp.TryPublish(1) == nil {
			}
			names(t, tp.TryPublish(1), "publish", topic.ErrFull)
			ctx, cancel := context.WithCancel(background)
			cancel()
			names(t, tp.Publish(ctx, 1), "publish", context.Canceled)
		}
		check(t, tp.End())
		publishErrors(t, tp, topic.ErrEnded)
		for range s.All(background) {
		}
		if _, err := s.Recv(background); err != io.EOF {
			t.Errorf("%v at the end, want io.EOF itself", err)
		}
		ro, err := topic.Attach[int]("t", &topic.Options{Dir: dir, ReadOnly: true})
		check(t, err)
		publishErrors(t, ro, shmem.ErrReadOnly)
		names(t, ro.End(), "end", shmem.ErrReadOnly)
		if holds > 0 {
			_, err := ro.Subscribe(topic.Now)
			names(t, err, "subscribe", shmem.ErrReadOnly)
		}
		check(t, ro.Close())
		check(t, s.Close())
		receiveErrors(t, s, shmem.ErrClosed)
		s = subscribe(t, tp, topic.Now)
		check(t, tp.Close())
		publishErrors(t, tp, shmem.ErrClosed)
		receiveErrors(t, s, shmem.ErrClosed)
		check(t, s.Close())
		names(t, tp.End(), "end", shmem.ErrClosed)
		_, _, err = tp.Latest()
		names(t, err, "latest", shmem.ErrClosed)
		_, err = tp.Stats()
		names(t, err, "stats", shmem.ErrClosed)
		_, err = tp.Subscribe(topic.Now)
		names(t, err, "subscribe", shmem.ErrClosed)
	}
}

// TestErrorsOfFunctions checks that the error of a caller's function comes back as it is.
func TestErrorsOfFunctions(t *testing.T) {
	oops := errors.New("oops")
	tp := open[int](t, shmemtest.Dir(t), 4, 1)
	s := subscribe(t, tp, topic.Now)
	if err := tp.PublishFunc(background, func(*int) error { return oops }); err != oops {
		t.Error(err)
	}
	check(t, tp.Publish(background, 1))
	if err := s.RecvFunc(background, func(*int) error { return oops }); err != oops {
		t.Error(err)
	}
	if v, err := s.Recv(background); v != 1 || err != nil {
		t.Errorf("%d, %v: the message is not received before f returns nil", v, err)
	}
}

// TestCanceledContext checks the one rule: a call that need not block does not look at the context,
// and All looks at it before every message.
func TestCanceledContext(t *testing.T) {
	for _, holds := range []int{0, 1} {
		tp := open[int](t, shmemtest.Dir(t), 4, holds)
		s := subscribe(t, tp, topic.Now)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		for i := range 3 {
			check(t, tp.Publish(ctx, i))
		}
		n := 0
		for _, err := range s.All(ctx) {
			if n++; n == 2 {
				names(t, err, "receive", context.Canceled)
				continue
			}
			check(t, err)
			cancel()
		}
		if n != 2 {
			t.Errorf("All yielded %d times, want a message and an error", n)
		}
		if v, err := s.Recv(ctx); v != 1 || err != nil {
			t.Errorf("%d, %v, want the message that is ready", v, err)
		}
		check(t, tp.Publish(ctx, 3))
		if _, err := s.Recv(ctx); err != nil {
			t.Error(err)
		}
		_, err := s.Recv(ctx)
		if err == nil {
			_, err = s.Recv(ctx)
		}
		names(t, err, "receive", context.Canceled)
		check(t, s.Close())
		check(t, tp.Close())
	}
}

// TestErrorTexts has the texts of a topic that is full or closed, and of a closed subscription.
func TestErrorTexts(t *testing.T) {
	tp := open[int](t, shmemtest.Dir(t), 2, 1)
	s := subscribe(t, tp, topic.Now)
	says := func(err, cause error, text string) {
		t.Helper()
		if !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "shmem: topic "+text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
	_, err := tp.Subscribe(topic.Now)
	says(err, topic.ErrNoHold, "subscribe t: every hold is taken; close a subscription, or create")
	for err = nil; err == nil; err = tp.TryPublish(1) {
	}
	says(err, topic.ErrFull, "publish t: the topic is full; use Publish, close the subscription")
	p, err := tp.Publisher()
	check(t, err)
	check(t, p.Close())
	says(p.TryPublish(1), shmem.ErrClosed, "publish t: the publisher is closed")
	s.Close()
	_, err = s.TryRecv()
	says(err, shmem.ErrClosed, "receive t: the subscription is closed")
	tp.Close()
	says(tp.TryPublish(1), shmem.ErrClosed, "publish t: the topic is closed")
	says(tp.End(), shmem.ErrClosed, "end t: the topic is closed")
}
