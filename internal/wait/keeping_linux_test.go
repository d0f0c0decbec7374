//go:build !portable

package wait

import (
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/mem"
)

// TestSlices: a sleep in slices lasts as long as it was asked for, and a ring ends it. When sleeps
// have been longer than their slices, the next ones have none, up to a trial.
func TestSlices(t *testing.T) {
	var k keeping
	slot := new(mem.Slot)
	for _, d := range []time.Duration{time.Millisecond, slice, 2*slice + time.Millisecond} {
		began := time.Now()
		k.sleep(slot, 0, d)
		if took := time.Since(began); took < d {
			t.Errorf("slept for %v, not %v", took, d)
		}
	}
	if k.slept != 3*slice+2*time.Millisecond || k.rest != 0 {
		t.Fatalf("slept %v, rest %d", k.slept, k.rest)
	}
	rung := make(chan struct{})
	go func() {
		defer close(rung)
		time.Sleep(2 * slice)
		slot.Bell.Add(1)
		slot.Rouse()
	}()
	k.sleep(slot, 0, time.Hour)
	<-rung
	if k.slept != 0 || k.next != 0 {
		t.Fatalf("after a ring: slept %v, next rest %d", k.slept, k.next)
	}
	for want, rests := 1, 0; rests < 8; rests++ {
		k.sleep(slot, 1, sliced-k.slept) // no ring comes
		if k.rest != want {
			t.Fatalf("rest %d of %d, not %d", rests, k.rest, want)
		}
		for range want {
			k.sleep(slot, 2, time.Hour) // it was rung before
		}
		if k.rest != 0 || k.slept != 0 {
			t.Fatalf("after %d rings: rest %d, slept %v", want, k.rest, k.slept)
		}
		want = min(2*want+1, longRest)
	}
}
