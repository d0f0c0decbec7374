package wait_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
)

// TestTurn: one goroutine at a time has its turn, all get one, and the turnstile is removed.
func TestTurn(t *testing.T) {
	_, s, v := newSeg(t)
	for _, m := range []*mem.Mapping{s.M, nil} {
		armed := &v.o[3].armed
		if m == nil {
			armed = new(atomic.Uint32)
		}
		var inside, turns atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 50 {
					turn, err := wait.Turn(context.Background(), m, armed)
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Error("two goroutines have their turn")
					}
					turns.Add(1)
					inside.Add(-1)
					turn.Done()
				}
			})
		}
		wg.Wait()
		if turns.Load() != 20*50 {
			t.Errorf("%d turns", turns.Load())
		}
		if n := wait.Turnstiles(m); n != 0 {
			t.Errorf("%d turnstiles are left", n)
		}
	}
}

// TestTurnEnds: a goroutine that waits for its turn returns when its context is done, or when the
// mapping closes.
func TestTurnEnds(t *testing.T) {
	path, s, v := newSeg(t)
	armed := &v.o[3].armed
	turn, err := wait.Turn(context.Background(), s.M, armed)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := wait.Turn(ctx, s.M, armed); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	turn.Done()
	if turn, err = wait.Turn(ctx, s.M, armed); err != nil {
		t.Errorf("a turn that is free, with a context that is done: %v", err)
	} else {
		turn.Done()
	}

	other, w, err := attach(path, waittest.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	word := &w.o[3].armed
	if _, err := wait.Turn(context.Background(), other.M, word); err != nil {
		t.Fatal(err)
	}
	if !other.M.Pin() {
		t.Fatal("closed")
	}
	done := make(chan error, 1)
	go func() {
		_, err := wait.Turn(context.Background(), other.M, word)
		done <- err
		other.M.Unpin()
	}()
	other.Close() // waits for the goroutine
	select {
	case err := <-done:
		if !errors.Is(err, wait.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	case <-time.After(rung):
		t.Fatal("Close does not end the wait for a turn")
	}

	only, r, err := attach(path, waittest.ReadPermission)
	if err != nil {
		t.Fatal(err)
	}
	defer only.Close()
	if _, err := wait.Turn(context.Background(), only.M, &r.o[3].armed); !errors.Is(err, errs.ReadOnly) {
		t.Errorf("without a slot: %v", err)
	}
}
