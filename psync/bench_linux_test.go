package psync_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/shmembox/shmem/internal/mem"
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
			mu.Lock()
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
			for b.Loop() {
				mu.Lock()
				mu.Unlock()
			}
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
			v.rw.RLock()
			v.rw.RUnlock()
		}
	})
	b.Run("psync write", func(b *testing.B) {
		for b.Loop() {
			v.rw.Lock()
			v.rw.Unlock()
		}
	})
}

func BenchmarkOthers(b *testing.B) {
	_, _, v := newSeg(b)
	v.sem.SetLimit(2)
	v.once.Do(func() error { return nil })
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
			v.once.Do(nil)
		}
	})
	b.Run("Broadcast nobody", func(b *testing.B) {
		for b.Loop() {
			v.cond.Broadcast()
		}
	})
}
