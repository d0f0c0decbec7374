package kv_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// TestNoMixture: values are whole that are read while several goroutines of two attachments replace
// and remove them, and move their cells.
func TestNoMixture(t *testing.T) {
	const keys = 4
	rounds := uint64(2000)
	if robust.RaceEnabled {
		rounds = 200
	}
	dir := shmemtest.Dir(t)
	two := []*kv.Map[uint64, value]{
		open[uint64, value](t, dir, kv.Options{Capacity: keys}),
		open[uint64, value](t, dir, kv.Options{}),
	}
	var ended atomic.Bool
	var writers, readers sync.WaitGroup
	for i, m := range two {
		writers.Go(func() {
			for n := range rounds {
				k := (n + uint64(i)) % keys
				if n%5 == 0 {
					_, err := m.Delete(background, k)
					check(t, err)
				}
				check(t, m.Set(background, k, valueOf(n*keys+k)))
			}
		})
		readers.Go(func() {
			for n := uint64(0); !ended.Load(); n++ {
				k := n % keys
				v, found, err := m.Get(k)
				check(t, err)
				if found && (v != valueOf(v[0]) || v[0]%keys != k) {
					t.Errorf("key %d has %v", k, v)
					return
				}
				if n%64 == 0 {
					for e, err := range m.All() {
						check(t, err)
						if e.Value != valueOf(e.Value[0]) || e.Value[0]%keys != e.Key {
							t.Errorf("key %d has %v", e.Key, e.Value)
							return
						}
					}
				}
			}
		})
	}
	writers.Wait()
	ended.Store(true)
	readers.Wait()
}
