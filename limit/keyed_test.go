package limit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/limit"
	"github.com/shmembox/shmem/shmemtest"
)

type address [4]byte

func openKeys(t testing.TB, dir string, opts kv.Options) *kv.Map[address, limit.State] {
	t.Helper()
	opts.Dir = dir
	m, err := kv.Open[address, limit.State]("clients", &opts)
	check(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// TestKeyedAsLimiter makes the same calls of a Keyed and of a Limiter for each key.
func TestKeyedAsLimiter(t *testing.T) {
	const keys, burst, interval = 5, 4, 10 * time.Millisecond
	m := openKeys(t, shmemtest.Dir(t), kv.Options{Capacity: keys})
	keyed := limit.NewKeyed(m, limit.Every(interval), burst)
	var one [keys]*limit.Limiter
	for i := range one {
		one[i] = limit.New(new(limit.Bucket), limit.Every(interval), burst)
	}
	now, rnd := time.Now(), rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		now = now.Add(time.Duration(rnd.Int64N(int64(interval))))
		k, n := rnd.IntN(keys), rnd.IntN(burst+2)
		got, err := keyed.AllowN(background, address{byte(k)}, now, n)
		if want := one[k].AllowN(now, n); got != want || err != nil {
			t.Fatalf("call %d: AllowN(%d) is %v %v, want %v", i, n, got, err, want)
		}
	}
}

// TestKeyedExact: goroutines of two attachments get the tokens of each key, each once.
func TestKeyedExact(t *testing.T) {
	const keys, burst = 3, 200
	dir := shmemtest.Dir(t)
	var n [keys]atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		m := openKeys(t, dir, kv.Options{Capacity: keys})
		for range 2 {
			wg.Go(func() {
				l := limit.NewKeyed(m, hourly, burst)
				for i := 0; ; i++ {
					ok, err := l.Allow(background, address{byte(i % keys)})
					check(t, err)
					if ok {
						n[i%keys].Add(1)
					} else if i > keys*burst {
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for k := range n {
		if n[k].Load() != burst {
			t.Errorf("%d tokens of key %d, want %d", n[k].Load(), k, burst)
		}
	}
}

// TestKeyedWait: tokens come with time, and are there again when a wait is given up.
func TestKeyedWait(t *testing.T) {
	m := openKeys(t, shmemtest.Dir(t), kv.Options{Capacity: 10})
	quick := limit.NewKeyed(m, limit.Every(5*time.Millisecond), 1)
	begin := time.Now()
	for range 3 {
		check(t, quick.Wait(background, address{1}))
	}
	if d := time.Since(begin); d < 10*time.Millisecond {
		t.Errorf("3 tokens in %v", d)
	}
	slow := limit.NewKeyed(m, hourly, 2)
	check(t, slow.WaitN(background, address{2}, 2))
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	err := slow.Wait(ctx, address{2})
	if !errors.Is(err, context.DeadlineExceeded) || !tokensIn.MatchString(err.Error()) {
		t.Error(err)
	}
	if err := slow.WaitN(background, address{2}, 3); !errors.Is(err, limit.ErrBurst) {
		t.Error(err)
	}
	before, _, err := m.Get(address{2})
	check(t, err)
	ctx, cancel = context.WithCancel(background)
	done := make(chan error)
	go func() { done <- slow.Wait(ctx, address{2}) }()
	for s := before; s == before; {
		s, _, err = m.Get(address{2})
		check(t, err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if after, _, err := m.Get(address{2}); after != before || err != nil {
		t.Error("the token is not there again", err)
	}
	if err := slow.Wait(ctx, address{2}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestKeyedOdd: odd limits, many keys, and a map that is closed.
func TestKeyedOdd(t *testing.T) {
	m := openKeys(t, shmemtest.Dir(t), kv.Options{Capacity: 100, Evict: true})
	if ok, err := limit.NewKeyed(m, limit.Inf, 0).Allow(background, address{}); !ok || err != nil {
		t.Error(ok, err)
	}
	none := limit.NewKeyed(m, 0, 5)
	if ok, err := none.Allow(background, address{}); ok || err != nil {
		t.Error(ok, err)
	}
	if err := none.Wait(background, address{}); !errors.Is(err, limit.ErrBurst) {
		t.Error(err)
	}
	l := limit.NewKeyed(m, hourly, 1)
	for i := range 1000 {
		a := address{byte(i), byte(i >> 8), 7}
		if ok, err := l.Allow(background, a); !ok || err != nil {
			t.Fatal(i, ok, err)
		}
		if ok, err := l.Allow(background, a); ok || err != nil {
			t.Fatal(i, ok, err)
		}
	}
	check(t, m.Close())
	if ok, err := l.Allow(background, address{1}); ok || !errors.Is(err, shmem.ErrClosed) {
		t.Error(ok, err)
	}
	if err := l.Wait(background, address{1}); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
}
