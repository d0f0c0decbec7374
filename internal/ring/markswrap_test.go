package ring

import (
	"sync/atomic"
	"testing"
)

// lapsOfMarks is after how many laps a mark has the same bits of the lap again.
const lapsOfMarks = markLapMask + 1

// redeliver takes a message, returns it, and takes it again so often. It returns how often the
// message was delivered, and consumes it.
func redeliver(t *testing.T, r *MPMC, times int) (deliveries int) {
	t.Helper()
	const me = 6
	pos, err := r.Take(me)
	if err == nil {
		err = r.Return(me, pos, 0)
	}
	for k := range times {
		var ok bool
		if pos, deliveries, ok = r.Retake(me, 0); !ok || err != nil {
			t.Fatalf("not delivered again: %v", err)
		}
		if k < times-1 {
			err = r.ReturnAgain(me, pos, 0)
		}
	}
	if err := r.ReleaseAgain(me, pos); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := r.Retake(me, 0); ok { // Take goes on when this has found none
		t.Fatal("delivered again after its release")
	}
	return deliveries
}

// TestMarksWrap: a mark says nothing of the message that comes to its slot 2^18 laps later, however
// that is claimed.
func TestMarksWrap(t *testing.T) {
	const me = 5
	next := func(r *MPMC) error {
		n, ok := r.ClaimNext(me)
		if !ok {
			return ErrBusy
		}
		return r.PublishNext(n)
	}
	try := func(r *MPMC) error {
		n, ok := r.TryClaim(me)
		if !ok {
			return next(r)
		}
		r.PublishTried(n)
		return nil
	}
	batch := func(r *MPMC) error {
		pos, k, err := r.ClaimN(me, 2)
		if err != nil {
			return err
		}
		return r.PublishN(me, pos, k)
	}
	for name, send := range map[string]func(*MPMC) error{
		"one": next, "batch": batch, "try": try,
	} {
		for _, n := range []uint64{1, 2} {
			r := withMarks(startAt(int(n), lapsOfMarks-2))
			if err := send(r); err != nil {
				t.Fatal(err)
			}
			pos := r.h.Head.Load()
			if d := redeliver(t, r, 3); d != 4 {
				t.Fatalf("%d deliveries, want 4", d)
			}
			for pos += n * lapsOfMarks; r.h.Head.Load() < pos; {
				if r.Len() == 0 {
					if err := send(r); err != nil {
						t.Fatal(err)
					}
				}
				consume(t, r)
			}
			if r.Len() == 0 {
				if err := send(r); err != nil {
					t.Fatal(err)
				}
			}
			if d := redeliver(t, r, 1); d != 2 || r.h.Head.Load() != pos+1 {
				t.Errorf("%s, %d slots: %d deliveries after %d laps, want 2", name, n, d,
					lapsOfMarks)
			}
		}
	}
}

// consume takes a message that is there, and releases it.
func consume(t *testing.T, r *MPMC) {
	const me = 5
	pos, err := r.Take(me)
	if err == nil {
		err = r.ReleaseFence(me, pos)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMarksOfBytesWrap is TestMarksWrap for messages of any length.
func TestMarksOfBytesWrap(t *testing.T) {
	const me = 5
	r, err := NewMPMCBytes(new(MPMCBytesHeader), make([]atomic.Uint64, 1), make([]Extent, 1), 8)
	if err == nil {
		err = r.SetMarks(make([]atomic.Uint64, 1))
	}
	send := func() {
		pos, _, e := r.Claim(me, 1)
		if err == nil {
			err = e
		}
		if err == nil {
			err = r.Publish(me, pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send()
	if d := redeliver(t, r.q, 3); d != 4 {
		t.Fatalf("%d deliveries, want 4", d)
	}
	for range lapsOfMarks - 1 {
		send()
		consume(t, r.q)
	}
	send()
	if d := redeliver(t, r.q, 1); d != 2 {
		t.Errorf("%d deliveries after %d laps, want 2", d, lapsOfMarks)
	}
}

// TestMarksWrapEveryOrder: in the laps in which marks are cleared, messages are sent, returned and
// delivered again in every order, with kills. No delivery counts those of an old message.
func TestMarksWrapEveryOrder(t *testing.T) {
	const lap, old = cleanLaps - 1, 50
	for _, c := range []struct {
		name         string
		kills, slots int
		consumers    int
	}{
		{"1 slot, 2 consumers", 0, 1, 2}, {"1 slot, 1 consumer, 1 kill", 1, 1, 1},
		{"2 slots, 1 consumer", 0, 2, 1},
	} {
		exhaust(t, c.name, c.kills, false, func(w *world) func() error {
			b := newBorrower(newBench(w, c.slots))
			at := startAt(c.slots, lap)
			b.h.Tail.Store(at.h.Tail.Load())
			b.h.Head.Store(at.h.Head.Load())
			for i := range b.slots {
				b.slots[i].Store(uint64(plain(free, lap)))
				b.r.marks[i].Store(uint64(markSince(cleanLaps, old, 1)))
			}
			b.Spawn(1, b.producer(1, 2, 1, 3))
			b.Spawn(2, b.consumer(2, 2, 2))
			if c.consumers > 1 {
				b.Spawn(3, b.consumer(3, 1, 0))
			}
			return func() error {
				for pos, n := range b.newest {
					if n >= old {
						b.fail("position %d was delivered %d times", pos, n)
					}
				}
				return b.check()
			}
		})
	}
}

// TestLimitAfterManyLaps: a lease is not as old as that on the message 2^18 laps before.
func TestLimitAfterManyLaps(t *testing.T) {
	const me, now, limit = 5, 1_800_000_000_000, 5000
	r := withMarks(startAt(1, 7))
	send := func() {
		if pos, err := r.Claim(me); err != nil || r.Publish(me, pos) != nil {
			t.Fatal(err)
		}
	}
	send()
	pos, err := r.Take(me)
	if err != nil {
		t.Fatal(err)
	}
	r.Stamp(me, pos, now-1e6)
	if err := r.ReleaseFence(me, pos); err != nil {
		t.Fatal(err)
	}
	for range lapsOfMarks - 1 {
		send()
		consume(t, r)
	}
	send()
	if pos, err = r.Take(me); err != nil {
		t.Fatal(err)
	}
	alive := func(uint32) bool { return true }
	for _, at := range []int64{now, now + 1500} {
		if _, back, _ := r.Mend(Care{Alive: alive, Now: at, Limit: limit}); back != 0 {
			t.Errorf("the lease ended after %d ms, the limit is %d", at-now, limit)
		}
	}
	if err := r.ReleaseFence(me, pos); err != nil {
		t.Error(err)
	}
}
