package wait_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
)

// A store has units of a few objects, for which goroutines of several attachments wait.
type store struct {
	segs   []*waittest.Seg
	values []*values
	// objects are their indexes; the first two share a bucket
	objects [3]int

	taken, gaveUp atomic.Int64
}

func newStore(t *testing.T, attachments int) *store {
	path, first, v := newSeg(t)
	s := &store{segs: []*waittest.Seg{first}, values: []*values{v}}
	for range attachments - 1 {
		seg, v, err := attach(path, waittest.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(seg.Close)
		s.segs, s.values = append(s.segs, seg), append(s.values, v)
	}
	bucket := func(i int) int {
		return layout.Bucket(uintptr(mem.Offset(first.M, &v.o[i].armed)))
	}
	for s.objects[1] = 1; bucket(s.objects[1]) != bucket(0); s.objects[1]++ {
	}
	s.objects[2] = s.objects[1] + 1
	return s
}

// take takes a unit of object i, or reports that ctx ended before.
func (s *store) take(ctx context.Context, attachment, i int) bool {
	o := &s.values[attachment].o[s.objects[i]]
	if waittest.Take(ctx, s.segs[attachment].M, &o.word, &o.armed) != nil {
		s.gaveUp.Add(1)
		return false
	}
	s.taken.Add(1)
	return true
}

// put adds n units of object i.
func (s *store) put(i, n int) {
	o := &s.values[0].o[s.objects[i]]
	waittest.Put(s.segs[0].M, &o.word, &o.armed, n)
}

// TestWakeN: goroutines of several attachments take units of objects, of which two share a bucket.
// Many give up. Without the backstop no unit is left while one waits for it.
func TestWakeN(t *testing.T) {
	wait.WithoutBackstop(t)
	s := newStore(t, 3)
	end, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	for a := range s.segs {
		for g := range 9 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(a), uint64(g)))
				for end.Err() == nil {
					ctx, cancel := end, context.CancelFunc(func() {})
					if g >= 3 && r.IntN(2) == 0 { // three of each attachment never give up
						ctx, cancel = context.WithTimeout(end, time.Duration(r.IntN(1000))*time.Microsecond)
					}
					s.take(ctx, a, g%3)
					cancel()
				}
			})
		}
	}
	puts := 3000
	if testing.Short() {
		puts = 300
	}
	r := rand.New(rand.NewPCG(1, 2))
	for sent := int64(0); puts > 0; puts-- {
		n := 1 + r.IntN(4)
		s.put(r.IntN(3), n)
		sent += int64(n)
		for start := time.Now(); s.taken.Load() < sent; time.Sleep(20 * time.Microsecond) {
			if time.Since(start) > rung {
				t.Fatalf("%d of %d units are taken, %d waits were given up", s.taken.Load(), sent,
					s.gaveUp.Load())
			}
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d units taken, %d waits given up", s.taken.Load(), s.gaveUp.Load())
}

// TestWakeNWakesFew: one unit wakes one of many goroutines.
func TestWakeNWakesFew(t *testing.T) {
	wait.WithoutBackstop(t)
	s := newStore(t, 2)
	const n = 200
	var woken atomic.Int64
	var wg sync.WaitGroup
	for g := range n {
		a := g % 2
		m, o := s.segs[a].M, &s.values[a].o[0]
		wg.Go(func() {
			for {
				ready := func() bool { return o.word.Load() > 0 }
				if err := wait.Until(context.Background(), m, &o.armed, ready,
					wait.Options{Alike: true, NoSpin: true}); err != nil {
					t.Error(err)
					return
				}
				woken.Add(1)
				if v := o.word.Load(); v > 0 && o.word.CompareAndSwap(v, v-1) {
					s.taken.Add(1)
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	for i := range int64(n) {
		s.put(0, 1)
		for start := time.Now(); s.taken.Load() <= i; time.Sleep(20 * time.Microsecond) {
			if time.Since(start) > rung {
				t.Fatalf("%d of %d units are taken", s.taken.Load(), i+1)
			}
		}
	}
	wg.Wait()
	// Each unit wakes all that wait where all are woken: some 20,000 here.
	if w := woken.Load(); w > 5*n {
		t.Errorf("%d units have woken goroutines %d times", n, w)
	}
}
