package topic_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() { roles = append(roles, shmemtest.Role{Name: "taker", Run: taker}) }

// taker takes the name of the topic, as the owner or by Remove, and may die in between.
func taker(c *shmemtest.Conn) error {
	dir, how, at := c.Args()[0], c.Args()[1], step.Point(c.Args()[2])
	s, err := shmem.AttachSegment("t", &shmem.Options{Dir: dir})
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if p == at {
			shmemtest.Die()
		}
	})
	if how == "remove" {
		return shmem.Remove(dir, "t")
	}
	return errors.Join(s.Own(), s.Close())
}

// A parking context tells when a call that has it begins to wait.
type parking struct {
	context.Context
	there chan struct{}
}

func (p parking) Done() <-chan struct{} {
	select {
	case p.there <- struct{}{}:
	default:
	}
	return p.Context.Done()
}

// blocked starts a call and returns when it waits.
func blocked(t *testing.T, call func(context.Context) error) <-chan error {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, shmemtest.DefaultLimit)
	t.Cleanup(cancel)
	p, done := parking{ctx, make(chan struct{}, 1)}, make(chan error, 1)
	go func() { done <- call(p) }()
	select {
	case <-p.there:
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	return done
}

func wantUnlinked(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, topic.ErrUnlinked) || errors.Is(err, io.EOF) {
		t.Errorf("%s: %v, want ErrUnlinked", what, err)
	}
}

// untilUnlinked polls a subscription until it is told.
func untilUnlinked(t *testing.T, s *topic.Subscription[int]) {
	t.Helper()
	for end := time.Now().Add(shmemtest.DefaultLimit); ; {
		_, err := s.TryRecv()
		if !errors.Is(err, topic.ErrEmpty) {
			wantUnlinked(t, "TryRecv", err)
			return
		}
		if time.Now().After(end) {
			t.Fatal("TryRecv is not told")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// TestUnlinked takes the name of a topic while subscribers wait, one of them read-only, and a
// publisher is held back.
func TestUnlinked(t *testing.T) {
	for _, w := range []struct {
		how  string
		dies step.Point
	}{
		{"close", ""}, {"remove", ""}, {"rm", ""},
		{"close", step.DetachUnlink}, {"remove", step.RemoveUnlink},
	} {
		take := func(t *testing.T, dir string) {
			t.Helper()
			if w.how == "rm" {
				check(t, os.Remove(filepath.Join(dir, "t")))
				return
			}
			err := shmemtest.Start(t, "taker", dir, w.how, string(w.dies)).Wait()
			if killed := shmemtest.Killed(err); killed != (w.dies != "") {
				t.Fatalf("the process that takes the name: %v", err)
			}
		}
		recv := func(s *topic.Subscription[int]) func(context.Context) error {
			return func(ctx context.Context) error { _, err := s.Recv(ctx); return err }
		}
		t.Run(w.how+" "+string(w.dies), func(t *testing.T) {
			t.Run("subscriber", func(t *testing.T) {
				dir := shmemtest.Dir(t)
				tp := open[int](t, dir, 4, 0)
				check(t, tp.Publish(background, 7))
				done := blocked(t, recv(subscribe(t, tp, topic.Now)))
				late := subscribe(t, tp, topic.Oldest)
				take(t, dir)
				wantUnlinked(t, "the subscriber that waits", <-done)
				if v, err := late.Recv(background); v != 7 || err != nil {
					t.Errorf("the message that is left: %d, %v", v, err)
				}
				wantUnlinked(t, "the subscriber after the last message", recv(late)(background))
				wantUnlinked(t, "Publish", tp.Publish(background, 8))
				if s, err := tp.Stats(); err != nil || s.Ended {
					t.Errorf("ended %v (%v)", s.Ended, err)
				}
			})
			t.Run("reader", func(t *testing.T) {
				dir := shmemtest.Dir(t)
				open[int](t, dir, 4, 0)
				r, err := topic.Attach[int]("t", &topic.Options{Dir: dir, ReadOnly: true})
				check(t, err)
				defer r.Close()
				done := blocked(t, recv(subscribe(t, r, topic.Now)))
				take(t, dir)
				wantUnlinked(t, "the read-only subscriber", <-done)
			})
			t.Run("tries", func(t *testing.T) {
				dir := shmemtest.Dir(t)
				tp := open[int](t, dir, 4, 0)
				r, err := topic.Attach[int]("t", &topic.Options{Dir: dir, ReadOnly: true})
				check(t, err)
				defer r.Close()
				subs := []*topic.Subscription[int]{subscribe(t, r, topic.Now),
					subscribe(t, tp, topic.Now)}
				take(t, dir)
				for _, s := range subs {
					untilUnlinked(t, s)
				}
			})
			t.Run("publisher", func(t *testing.T) {
				dir := shmemtest.Dir(t)
				tp := open[int](t, dir, 4, 1)
				s := subscribe(t, tp, topic.Now)
				for i := range 4 {
					check(t, tp.TryPublish(i))
				}
				done := blocked(t, func(ctx context.Context) error { return tp.Publish(ctx, 4) })
				take(t, dir)
				wantUnlinked(t, "the publisher that waits", <-done)
				for i := range 4 {
					if v, err := s.Recv(background); v != i || err != nil {
						t.Errorf("message %d: %d, %v", i, v, err)
					}
				}
				wantUnlinked(t, "the subscriber", recv(s)(background))
			})
		})
	}
}
