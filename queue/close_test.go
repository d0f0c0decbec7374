package queue_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// A late context preempts a call where it waits for its turn.
type late struct {
	context.Context
	there, goOn chan struct{}
}

func (l late) Done() <-chan struct{} {
	select {
	case l.there <- struct{}{}:
	default:
	}
	<-l.goOn
	return l.Context.Done()
}

// TestCloseEndsCallsThatComeLate has a call that is admitted before Close, and gets its turn when
// Close has given the end up. It must not send, because another attachment has the end by then.
func TestCloseEndsCallsThatComeLate(t *testing.T) {
	for range 20 {
		dir := shmemtest.Dir(t)
		o := &queue.Options{Lifetime: shmem.Owned, Dir: dir, Single: true, Capacity: 8}
		a, err := queue.Create[int]("late", o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := queue.Attach[int]("late", o)
		if err != nil {
			t.Fatal(err)
		}
		in, out := make(chan struct{}), make(chan struct{})
		go a.SendFunc(context.Background(), func(p *int) error { close(in); <-out; *p = 1; return nil })
		<-in
		ctx := late{context.Background(), make(chan struct{}, 1), make(chan struct{})}
		sent, closed := make(chan error, 1), make(chan error, 1)
		go func() { sent <- a.Send(ctx, 2) }()
		<-ctx.there
		go func() { closed <- a.Close() }()
		for {
			if _, err := a.Stats(); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		close(out)
		var s *queue.Sender[int]
		for {
			if s, err = b.Sender(); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := s.TrySend(3); err != nil {
			t.Fatal(err)
		}
		close(ctx.goOn)
		if err := <-sent; !errors.Is(err, shmem.ErrClosed) {
			t.Errorf("Send after the end was left: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for _, want := range []int{1, 3} {
			if v, err := b.TryRecv(); v != want || err != nil {
				t.Errorf("received %d, %v; want %d", v, err, want)
			}
		}
		b.Close()
	}
}

// TestCloseEndsAfterTruncation closes a queue whose file was truncated. Close gives ends up in a
// goroutine of its own, where a fault would end the process.
func TestCloseEndsAfterTruncation(t *testing.T) {
	if os.Getenv(shmemtest.WrapEnv) != "" {
		t.Skip("an emulator does not say at which address a fault was: needs a real processor")
	}
	for _, handle := range []bool{true, false} {
		dir := shmemtest.Dir(t)
		q, err := queue.Create[int]("cut", &queue.Options{Lifetime: shmem.Owned, Dir: dir, Single: true, Capacity: 8})
		if err != nil {
			t.Fatal(err)
		}
		if handle {
			_, err = q.Sender()
		} else {
			err = q.TrySend(1)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, "cut"), 0); err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err == nil {
			t.Error("Close of a truncated segment is nil")
		}
		if err := os.Remove(filepath.Join(dir, "cut")); err != nil {
			t.Error(err)
		}
	}
}

// TestEndsThatAreLeftAreNotDead checks that ends that are closed and taken again count no death.
func TestEndsThatAreLeftAreNotDead(t *testing.T) {
	o := &queue.Options{Lifetime: shmem.Owned, Dir: shmemtest.Dir(t), Single: true, Capacity: 8}
	a, err := queue.Create[int]("left", o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var wg sync.WaitGroup
	until := time.Now().Add(300 * time.Millisecond)
	for range 2 {
		b, err := queue.Attach[int]("left", o)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer b.Close()
			for time.Now().Before(until) {
				if s, err := b.Sender(); err == nil {
					s.Close()
				}
			}
		})
	}
	wg.Wait()
	if s, err := a.Stats(); err != nil || s.Skipped != 0 {
		t.Errorf("%d senders died, %v; none has", s.Skipped, err)
	}
}
