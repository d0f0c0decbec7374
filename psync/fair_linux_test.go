package psync_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestHog: a goroutine that keeps a mutex for 2 ms each time, and locks it again at once, leaves it
// to one that waits, in another attachment as in its own.
func TestHog(t *testing.T) {
	path, _, v := newSeg(t)
	_, w := again(t, path)
	for name, victim := range map[string]*value{"another attachment": w, "the same": v} {
		t.Run(name, func(t *testing.T) {
			var stop atomic.Bool
			var hogged atomic.Int64
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for !stop.Load() {
					wantErr(t, "Lock", v.mu.Lock(context.Background()), nil)
					hogged.Add(1)
					time.Sleep(2 * time.Millisecond)
					wantErr(t, "Unlock", v.mu.Unlock(), nil)
				}
			}()
			for hogged.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			const turns = 30
			before := hogged.Load()
			for range turns {
				wantErr(t, "Lock", victim.mu.Lock(soon(t)), nil)
				wantErr(t, "Unlock", victim.mu.Unlock(), nil)
			}
			// About two without a load on the machine, and over a hundred each without a hand-over.
			if n := hogged.Load() - before; n > 20*turns {
				t.Errorf("the mutex was locked %d times meanwhile, for %d turns", n, turns)
			}
			stop.Store(true)
			<-ended
		})
	}
}
