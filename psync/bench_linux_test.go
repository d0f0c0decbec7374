package psync_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

func BenchmarkLock(b *testing.B) {
	b.Run("sync.Mutex", func(b *testing.B) {
		mu := new(sync.Mutex)
		for b.Loop() {
			mu.Lock()
			mu.Unlock()
		}
	})
	b.Run("ordinary memory", func(b *testing.B) {
		mu := new(psync.Mutex)
		for b.Loop() {
			mu.Lock(context.Background())
			mu.Unlock()
		}
	})
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("mappings=%d", n), func(b *testing.B) {
			dir := shmemtest.Dir(b)
			var mus []*psync.Mutex
			for i := range n {
				path := filepath.Join(dir, fmt.Sprint(i))
				if err := waittest.Create(path, 64, 1); err != nil {
					b.Fatal(err)
				}
				s, err := waittest.Attach(path, waittest.ReadWrite)
				if err != nil {
					b.Skip(err)
				}
				b.Cleanup(func() { s.Close(); _ = removeFile(path) })
				mu, _ := mem.At[psync.Mutex](s.M, 0)
				mus = append(mus, mu)
			}
			mu := mus[n/2]
			b.ReportAllocs()
			best := time.Hour
			for b.Loop() {
				start := time.Now()
				for range 1000 {
					mu.Lock(context.Background())
					mu.Unlock()
				}
				best = min(best, time.Since(start))
			}
			b.ReportMetric(float64(best)/1000, "best-ns")
		})
	}
}

func BenchmarkRLock(b *testing.B) {
	_, _, v := newSeg(b)
	b.Run("sync", func(b *testing.B) {
		mu := new(sync.RWMutex)
		for b.Loop() {
			mu.RLock()
			mu.RUnlock()
		}
	})
	b.Run("psync", func(b *testing.B) {
		for b.Loop() {
			v.rw.RLock(context.Background())
			v.rw.RUnlock()
		}
	})
	b.Run("psync write", func(b *testing.B) {
		for b.Loop() {
			v.rw.Lock(context.Background())
			v.rw.Unlock()
		}
	})
}

func BenchmarkOthers(b *testing.B) {
	_, _, v := newSeg(b)
	v.sem.SetLimit(2)
	v.once.Do(context.Background(), func() error { return nil })
	v.ev[0].Set()
	ctx := context.Background()
	b.Run("Semaphore", func(b *testing.B) {
		for b.Loop() {
			v.sem.Acquire(ctx, 1)
			v.sem.Release(1)
		}
	})
	b.Run("Event.Set+Reset", func(b *testing.B) {
		for b.Loop() {
			v.ev[1].Set()
			v.ev[1].Reset()
		}
	})
	b.Run("Event.Wait set", func(b *testing.B) {
		for b.Loop() {
			v.ev[0].Wait(ctx)
		}
	})
	b.Run("Once done", func(b *testing.B) {
		for b.Loop() {
			v.once.Do(ctx, nil)
		}
	})
	b.Run("Broadcast without waiters", func(b *testing.B) {
		for b.Loop() {
			v.cond.Broadcast()
		}
	})
}

func init() {
	roles = append(roles,
		shmemtest.Role{Name: "pong", Run: pong, Optional: true},
		shmemtest.Role{Name: "hammer", Run: hammer, Optional: true})
}

func setSpin(on bool) {
	if on {
		wait.SetSpinLimit(-1)
	} else {
		wait.SetSpinLimit(0)
	}
}

func rawWait(w *atomic.Uint32, old uint32) {
	for w.Load() == old {
		mem.FutexWait(w, old, time.Second)
	}
}

// pong sets the second event after every set of the first.
func pong(c *shmemtest.Conn) error {
	_, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	c.Send("ready")
	if c.Args()[1] == "raw" {
		for i := uint32(0); ; i++ {
			rawWait(&v.raw[0], i)
			v.raw[1].Add(1)
			mem.FutexWake(&v.raw[1])
		}
	}
	setSpin(c.Args()[1] == "spin")
	for {
		if err := v.ev[0].Wait(context.Background()); err != nil {
			return err
		}
		v.ev[0].Reset()
		v.ev[1].Set()
	}
}

// hammer locks and unlocks without end.
func hammer(c *shmemtest.Conn) error {
	_, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	c.Send("ready")
	for {
		if err := v.mu.Lock(context.Background()); err != nil {
			return err
		}
		v.m++
		if err := v.mu.Unlock(); err != nil {
			return err
		}
	}
}

func cpuTime() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}

// BenchmarkPingPong is a round trip between two processes.
func BenchmarkPingPong(b *testing.B) {
	for _, kind := range []string{"raw", "park", "spin"} {
		b.Run(kind, func(b *testing.B) {
			path, _, v := newSeg(b)
			c := shmemtest.Start(b, "pong", path, kind)
			c.Expect(b, "ready")
			setSpin(kind == "spin")
			defer setSpin(true)
			cpu := cpuTime()
			i := uint32(0)
			for b.Loop() {
				if kind == "raw" {
					v.raw[0].Add(1)
					mem.FutexWake(&v.raw[0])
					rawWait(&v.raw[1], i)
					i++
					continue
				}
				v.ev[0].Set()
				if err := v.ev[1].Wait(context.Background()); err != nil {
					b.Fatal(err)
				}
				v.ev[1].Reset()
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkContended counts what two processes do together under one lock.
func BenchmarkContended(b *testing.B) {
	path, _, v := newSeg(b)
	c := shmemtest.Start(b, "hammer", path)
	c.Expect(b, "ready")
	v.mu.Lock(context.Background())
	before := v.m
	v.mu.Unlock()
	start, mine := time.Now(), 0
	for b.Loop() {
		v.mu.Lock(context.Background())
		v.m++
		v.mu.Unlock()
		mine++
	}
	d := time.Since(start)
	v.mu.Lock(context.Background())
	all := v.m - before
	v.mu.Unlock()
	b.ReportMetric(float64(all)/d.Seconds(), "locks/s")
	b.ReportMetric(float64(mine)/float64(all), "share")
}

// BenchmarkSideBySide takes the fastest of many short batches of each, in turns, which other load
// on the machine disturbs little.
func BenchmarkSideBySide(b *testing.B) {
	_, _, v := newSeg(b)
	v.sem.SetLimit(2)
	smu, lmu, srw := new(sync.Mutex), new(psync.Mutex), new(sync.RWMutex)
	ctx := context.Background()
	const batch = 1000
	kinds := []struct {
		name string
		f    func()
		best time.Duration
	}{
		{name: "sync.Mutex", f: func() {
			for range batch {
				smu.Lock()
				smu.Unlock()
			}
		}},
		{name: "psync.Mutex", f: func() {
			for range batch {
				v.mu.Lock(ctx)
				v.mu.Unlock()
			}
		}},
		{name: "psync.Mutex_ordinary", f: func() {
			for range batch {
				lmu.Lock(ctx)
				lmu.Unlock()
			}
		}},
		{name: "sync.RLock", f: func() {
			for range batch {
				srw.RLock()
				srw.RUnlock()
			}
		}},
		{name: "psync.RLock", f: func() {
			for range batch {
				v.rw.RLock(ctx)
				v.rw.RUnlock()
			}
		}},
		{name: "psync.RWMutex.Lock", f: func() {
			for range batch {
				v.rw.Lock(ctx)
				v.rw.Unlock()
			}
		}},
		{name: "Semaphore", f: func() {
			for range batch {
				v.sem.Acquire(ctx, 1)
				v.sem.Release(1)
			}
		}},
		{name: "Event.Set+Reset", f: func() {
			for range batch {
				v.ev[0].Set()
				v.ev[0].Reset()
			}
		}},
	}
	for b.Loop() {
		for i := range kinds {
			k := &kinds[i]
			start := time.Now()
			k.f()
			if d := time.Since(start); k.best == 0 || d < k.best {
				k.best = d
			}
		}
	}
	for _, k := range kinds {
		b.ReportMetric(float64(k.best)/batch, k.name+"-ns")
	}
}
