package wait_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/wait"
)

// TestLeadReleasedInUse: Release frees the lead also while another goroutine is in Attend, or in a
// wait that then ends. Without a leader no waiter of the process would be rung.
func TestLeadReleasedInUse(t *testing.T) {
	wait.WithoutBackstop(t)
	for _, waits := range []bool{false, true} {
		_, s, v := newSeg(t)
		x := wait.NewLead(s.M)
		var uses atomic.Bool
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ready := func() bool { // called by who has the lead
			if uses.Swap(false) {
				v.o[1].word.Store(1)
				wait.RingOwn(s.M)
				x.Release()
			}
			return v.o[0].word.Load() != 0
		}
		ended := make(chan error, 1)
		go func() {
			ended <- wait.Until(ctx, s.M, &v.o[0].armed, ready, wait.Options{NoSpin: true})
		}()
		for wait.Waiting(s.M) == 0 {
			time.Sleep(time.Millisecond)
		}
		uses.Store(true)
		wait.RingOwn(s.M)
		if waits {
			err := wait.Until(ctx, s.M, &v.o[1].armed, v.o[1].isNot(0),
				wait.Options{NoSpin: true, Lead: x})
			if err != nil {
				t.Fatal(err)
			}
		} else {
			x.Attend()
		}
		v.o[0].word.Store(1)
		wait.RingOwn(s.M) // as other processes do
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(rung):
			t.Errorf("waits %v: no waiter leads", waits)
			cancel()
			<-ended
		}
	}
}
