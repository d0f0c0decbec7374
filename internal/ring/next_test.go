package ring

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// sameWords returns a copy of a ring, over a copy of its memory.
func sameWords(t *testing.T, r *MPMC) *MPMC {
	t.Helper()
	h := new(MPMCHeader)
	for to, from := range map[*atomic.Uint64]*atomic.Uint64{
		&h.Tail: &r.h.Tail, &h.Head: &r.h.Head, &h.Closed: &r.h.Closed, &h.Suspects: &r.h.Suspects,
	} {
		to.Store(from.Load())
	}
	words := make([]atomic.Uint64, len(r.slots.words))
	for i := range words {
		words[i].Store(r.slots.words[i].Load())
	}
	c, err := NewMPMC(h, Slots{words, r.slots.shift})
	if err != nil {
		t.Fatal(err)
	}
	c.head.Store(r.head.Load())
	c.tail.Store(r.tail.Load())
	return c
}

// differ returns the name of a word that two rings have in common but for its value.
func differ(a, b *MPMC) string {
	switch {
	case a.h.Tail.Load() != b.h.Tail.Load():
		return "tail"
	case a.h.Head.Load() != b.h.Head.Load():
		return "head"
	}
	for i := range a.slots.words {
		if a.slots.words[i].Load() != b.slots.words[i].Load() {
			return "slot"
		}
	}
	return ""
}

// anyRing returns a ring of n slots in some state near a position, often a sound one.
func anyRing(t *testing.T, rnd *rand.Rand, n int) *MPMC {
	t.Helper()
	step := 1 << rnd.IntN(2)
	slots, err := SlotsEvery(make([]atomic.Uint64, n*step), step)
	if err != nil {
		t.Fatal(err)
	}
	h := new(MPMCHeader)
	r, err := NewMPMC(h, slots)
	if err != nil {
		t.Fatal(err)
	}
	head := uint64(rnd.IntN(8))<<rnd.IntN(60) + uint64(rnd.IntN(4*n))
	tail := head + uint64(rnd.IntN(n+1))
	for p := head; p < head+uint64(n); p++ {
		i, lap := r.at(p)
		w := plain(free, lap)
		switch {
		case rnd.IntN(8) == 0:
			w = named(claimed+uint64(rnd.IntN(5)), lap, uint32(rnd.IntN(4)))
		case rnd.IntN(16) == 0:
			w = plain(end, lap)
		case p < tail:
			w = plain(ready, lap)
		}
		r.slot(i).Store(uint64(w))
	}
	h.Head.Store(head - min(head, uint64(rnd.IntN(2))))
	h.Tail.Store(tail - min(tail, uint64(rnd.IntN(2))))
	h.Closed.Store(uint64(max(0, rnd.IntN(16)-14)))
	h.Suspects.Store(uint64(max(0, rnd.IntN(16)-13)))
	r.head.Store(head - min(head, uint64(rnd.IntN(3))))
	r.tail.Store(head + uint64(rnd.IntN(2*n)))
	return r
}

// TestTry: TryClaim and TryTake do what ClaimNext and TakeNext do, or nothing, and so do
// PublishTried and ReleaseTried.
func TestTry(t *testing.T) {
	rounds := 200_000
	if testing.Short() {
		rounds = 20_000
	}
	const self = 3
	rnd := rand.New(rand.NewPCG(14, 7))
	tried := [2]int{}
	for range rounds {
		n := []int{1, 2, 3, 4, 8, 12, 16, 64}[rnd.IntN(8)]
		r := anyRing(t, rnd, n)
		before, whole := sameWords(t, r), sameWords(t, r)
		side := rnd.IntN(2)
		try, next := r.TryClaim, whole.ClaimNext
		end, endNext := r.PublishTried, whole.PublishNext
		if side == 1 {
			try, next = r.TryTake, whole.TakeNext
			end, endNext = r.ReleaseTried, whole.ReleaseNext
		}
		got, ok := try(self)
		if !ok {
			if what := differ(r, before); what != "" {
				t.Fatalf("a try that fails changes the %s", what)
			}
			continue
		}
		tried[side]++
		want, ok := next(self)
		if !ok || got.Pos != want.Pos || got.Index != want.Index || got.held != want.held {
			t.Fatalf("%+v, want %+v %v", got, want, ok)
		}
		if what := differ(r, whole); what != "" {
			t.Fatalf("another %s after the claim", what)
		}
		lost := rnd.IntN(16) == 0
		if lost {
			for _, x := range []*MPMC{r, whole} {
				i, lap := x.at(got.Pos)
				x.slot(i).Store(uint64(plain(free, lap+1)))
			}
		}
		if done, err := end(got), endNext(want); done == lost || (err != nil) != lost {
			t.Fatal(done, err, lost)
		}
		if what := differ(r, whole); what != "" {
			t.Fatalf("another %s at the end", what)
		}
	}
	for side, n := range tried {
		if n < rounds/20 {
			t.Errorf("side %d: only %d tries in %d", side, n, rounds)
		}
	}
}
