package limit_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/limit"
	"github.com/shmembox/shmem/shmemtest"
)

var background = context.Background()

// hourly is a rate at which no token comes during a test.
var hourly = limit.Every(time.Hour)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// state is the value of the boxes of these tests.
type state struct {
	Bucket  limit.Bucket
	Allowed atomic.Int64
}

func open(t testing.TB, dir string, opts shmem.Options) *shmem.Box[state] {
	t.Helper()
	opts.Dir, opts.Lifetime = dir, shmem.Shared
	box, err := shmem.Open[state]("limits", &opts)
	check(t, err)
	t.Cleanup(func() { _ = box.Close() })
	return box
}

// TestAsXTime makes the same calls of a Limiter and of one of x/time/rate, at times of a random
// walk, and expects the same decisions and delays.
func TestAsXTime(t *testing.T) {
	const interval = 9_999_991 * time.Nanosecond
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		burst := 1 + rnd.IntN(8)
		ours := limit.New(new(limit.Bucket), limit.Every(interval), burst)
		theirs := rate.NewLimiter(rate.Every(interval), burst)
		now := time.Now()
		type pair struct {
			ours   *limit.Reservation
			theirs *rate.Reservation
		}
		var made []pair
		for i := range 2000 {
			now = now.Add(time.Duration(rnd.Int64N(int64(4 * interval))))
			n := rnd.IntN(burst + 2)
			switch rnd.IntN(4) {
			case 0, 1:
				if a, b := ours.AllowN(now, n), theirs.AllowN(now, n); a != b {
					t.Fatalf("seed %d, call %d: AllowN(%d) %v, x/time says %v", seed, i, n, a, b)
				}
			case 2:
				p := pair{ours.ReserveN(now, n), theirs.ReserveN(now, n)}
				a, b := p.ours.DelayFrom(now), p.theirs.DelayFrom(now)
				if p.ours.OK() != p.theirs.OK() || (a-b).Abs() > time.Microsecond {
					t.Fatalf("seed %d, call %d: ReserveN(%d) %v %v, x/time says %v %v", seed, i, n,
						p.ours.OK(), a, p.theirs.OK(), b)
				}
				made = append(made, p)
			case 3:
				if len(made) > 0 {
					k := rnd.IntN(len(made))
					made[k].ours.CancelAt(now)
					made[k].theirs.CancelAt(now)
					made = append(made[:k], made[k+1:]...)
				}
			}
			if a, b := ours.TokensAt(now), theirs.TokensAt(now); math.Abs(a-b) > 1e-3 {
				t.Fatalf("seed %d, call %d: %v tokens, x/time says %v", seed, i, a, b)
			}
		}
	}
}

// TestOddLimits: limits that allow everything or nothing, and calls for nothing.
func TestOddLimits(t *testing.T) {
	if limit.Every(0) != limit.Inf || limit.Every(-1) != limit.Inf || limit.Every(time.Second) != 1 {
		t.Error("Every")
	}
	var b limit.Bucket
	all := limit.New(&b, limit.Inf, 0)
	if !all.Allow() || !all.Reserve().OK() || all.Reserve().Delay() != 0 || all.Wait(background) != nil ||
		all.Tokens() != math.MaxFloat64 {
		t.Error("an infinite rate does not allow everything")
	}
	for _, r := range []limit.Limit{0, -1, limit.Limit(math.NaN()), 1e-300, limit.Limit(math.Inf(-1))} {
		none := limit.New(&b, r, 3)
		if err := none.Wait(background); none.Allow() || none.Reserve().OK() ||
			!errors.Is(err, limit.ErrBurst) || none.Tokens() != 0 {
			t.Errorf("rate %v: %v", r, err)
		}
		if d := none.Reserve().Delay(); d != limit.InfDuration {
			t.Errorf("rate %v: delay %v", r, d)
		}
		none.Reserve().Cancel()
	}
	for _, burst := range []int{0, -5} {
		none := limit.New(&b, 10, burst)
		if none.Allow() || none.Reserve().OK() || none.Burst() != 0 || none.Limit() != 10 {
			t.Errorf("burst %d", burst)
		}
	}
	some := limit.New(new(limit.Bucket), 10, 1)
	if !some.AllowN(time.Now(), 0) || some.WaitN(background, -1) != nil || some.Tokens() != 1 {
		t.Error("no tokens are not allowed")
	}
	fast := limit.New(new(limit.Bucket), 1e12, 5) // 64 tokens a nanosecond
	for range 5 {
		if !fast.Allow() {
			t.Error("a fast rate")
		}
	}
}

// TestBurstAtOnce: a full bucket holds burst tokens, not one less or more, also where a token does
// not take a whole number of ticks, whether they are taken one by one or together.
func TestBurstAtOnce(t *testing.T) {
	now := time.Now()
	for _, r := range []limit.Limit{
		3, 7, 9, 10, 999, 3e5, 7e6, limit.Every(333 * time.Millisecond), limit.Every(7 * time.Hour),
	} {
		for _, burst := range []int{1, 2, 3, 7, 100, 1000} {
			for _, first := range []int{1, burst - 1, burst} {
				l := limit.New(new(limit.Bucket), r, burst)
				if n := l.TokensAt(now); n > float64(burst) || n < float64(burst)-1e-6 {
					t.Errorf("rate %v, burst %d: %v tokens", r, burst, n)
				}
				n := 0
				for k := first; l.AllowN(now, k); k = 1 {
					n += k
				}
				if n != burst {
					t.Errorf("rate %v, burst %d, %d first: %d tokens", r, burst, first, n)
				}
			}
		}
	}
}

// TestOtherBoot: a bucket that counts from another start of the machine is full, and so is one with
// a time that no Limiter stored.
func TestOtherBoot(t *testing.T) {
	var b limit.Bucket
	l := limit.New(&b, hourly, 3)
	boot, full := b.Words()
	drain := func(want int) {
		t.Helper()
		n := 0
		for l.Allow() {
			n++
		}
		if n != want {
			t.Errorf("%d tokens, want %d", n, want)
		}
	}
	drain(3)
	drain(0)
	boot.Store(99)
	full.Add(1 << 50)
	drain(3)
	boot.Store(99)
	full.Store(0)
	drain(3)
	for _, nonsense := range []uint64{1 << 63, 1<<64 - 1, 3 << 61} {
		full.Store(nonsense)
		drain(3)
	}
}

// tokensIn is the error of a wait for a token that comes in an hour, by a clock that may be coarse.
var tokensIn = regexp.MustCompile(`^shmem: limit wait( clients)?: 1 tokens are there in (59m|1h0m0s)`)

// TestWait: tokens come in the order of the calls, and one that is given up is there for the next.
func TestWait(t *testing.T) {
	var b limit.Bucket
	l := limit.New(&b, limit.Every(5*time.Millisecond), 1)
	begin := time.Now()
	for range 4 {
		check(t, l.Wait(background))
	}
	if d := time.Since(begin); d < 15*time.Millisecond {
		t.Errorf("4 tokens after %v", d)
	}
	slow := limit.New(new(limit.Bucket), hourly, 2)
	check(t, slow.WaitN(background, 2))
	ctx, cancel := context.WithCancel(background)
	done := make(chan error)
	go func() { done <- slow.WaitN(ctx, 2) }()
	for slow.Tokens() > -1.5 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := slow.Tokens(); n < 0 || n > 0.1 {
		t.Errorf("%v tokens after a wait was given up", n)
	}
	if err := slow.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := slow.Wait(nil); !errors.Is(err, shmem.ErrBadOption) {
		t.Error(err)
	}
	soon, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	err := slow.Wait(soon)
	if !errors.Is(err, context.DeadlineExceeded) || !tokensIn.MatchString(err.Error()) {
		t.Error(err)
	}
	if err := slow.WaitN(background, 3); !errors.Is(err, limit.ErrBurst) || err.Error() !=
		"shmem: limit wait: more tokens than the bucket holds: 3 of 2; ask for fewer, or create "+
			"the limiter with a larger burst" {
		t.Error(err)
	}
}

// TestClosed: nothing is allowed after Close, which ends calls that wait.
func TestClosed(t *testing.T) {
	box := open(t, shmemtest.Dir(t), shmem.Options{})
	l := limit.New(&box.Value().Bucket, hourly, 1)
	if !l.Allow() {
		t.Error("not allowed")
	}
	r := l.Reserve()
	done := make(chan error)
	go func() { done <- l.Wait(background) }()
	for l.Tokens() > -1.5 {
		time.Sleep(time.Millisecond)
	}
	check(t, box.Close())
	err := <-done
	for range 2 {
		if !errors.Is(err, shmem.ErrClosed) ||
			err.Error() != "shmem: limit wait limits: the segment of the limit is closed" {
			t.Error(err)
		}
		err = l.Wait(background)
	}
	r.Cancel()
	if l.Allow() || l.Reserve().OK() || l.Tokens() != 0 {
		t.Error("allowed after Close")
	}
}

// TestReadOnly: a limiter over a box that is attached read-only allows nothing.
func TestReadOnly(t *testing.T) {
	dir := shmemtest.Dir(t)
	open(t, dir, shmem.Options{})
	l := limit.New(&open(t, dir, shmem.Options{ReadOnly: true}).Value().Bucket, 10, 1)
	if err := l.Wait(background); l.Allow() || !errors.Is(err, shmem.ErrReadOnly) {
		t.Error(err)
	}
}

// TestExact: goroutines that draw from a bucket at the same time get its tokens, each once. Every
// other time the bucket counts from another boot at first.
func TestExact(t *testing.T) {
	const burst, goroutines = 50, 4
	for i := range 200 {
		var b limit.Bucket
		if boot, full := b.Words(); i%2 == 0 {
			boot.Store(99)
			full.Store(uint64(i) << 40)
		}
		var n atomic.Int64
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				l := limit.New(&b, hourly, burst)
				for l.Allow() {
					n.Add(1)
				}
			})
		}
		wg.Wait()
		if n.Load() != burst {
			t.Fatalf("%d tokens of a bucket of %d", n.Load(), burst)
		}
	}
}

func TestAllocs(t *testing.T) {
	box := open(t, shmemtest.Dir(t), shmem.Options{})
	l := limit.New(&box.Value().Bucket, 1000, 10)
	if n := testing.AllocsPerRun(100, func() { l.Allow(); l.Tokens() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	box := open(b, shmemtest.Dir(b), shmem.Options{})
	l := limit.New(&box.Value().Bucket, 1e9, 1000)
	b.Run("shared", func(b *testing.B) {
		for b.Loop() {
			l.Allow()
		}
	})
	x := rate.NewLimiter(1e9, 1000)
	b.Run("xtime", func(b *testing.B) {
		for b.Loop() {
			x.Allow()
		}
	})
}

// TestInfinity: the infinity of floating point numbers is Inf.
func TestInfinity(t *testing.T) {
	l := limit.New(new(limit.Bucket), limit.Limit(math.Inf(1)), 1)
	if got := l.Tokens(); got != math.MaxFloat64 || l.Limit() != limit.Inf {
		t.Errorf("%v tokens at %v", got, l.Limit())
	}
	if !l.AllowN(time.Now(), math.MaxInt) {
		t.Error("not everything is allowed")
	}
}
