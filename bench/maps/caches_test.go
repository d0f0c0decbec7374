package maps_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/coocood/freecache"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// BenchmarkCaches compares a kv.Cache with the caches of one process: the same entries and calls as
// BenchmarkMaps, as bytes, in 32 MiB.

const cacheBytes = 32 << 20

// A cacher is a cache.
type cacher interface {
	get(dst, k []byte) []byte
	set(k, v []byte)
}

type fast struct{ c *fastcache.Cache }

func (f fast) get(dst, k []byte) []byte { return f.c.Get(dst, k) }
func (f fast) set(k, v []byte)          { f.c.Set(k, v) }

type free struct{ c *freecache.Cache }

func (f free) get(dst, k []byte) []byte {
	var v []byte
	_ = f.c.GetFn(k, func(b []byte) error { // the form that allocates nothing
		v = append(dst, b...)
		return nil
	})
	return v
}

func (f free) set(k, v []byte) {
	if err := f.c.Set(k, v, 0); err != nil {
		panic(err)
	}
}

type guarded struct {
	mu sync.RWMutex
	m  map[string][]byte
}

func (g *guarded) get(dst, k []byte) []byte {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return append(dst, g.m[string(k)]...)
}

func (g *guarded) set(k, v []byte) {
	v = append([]byte(nil), v...)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.m[string(k)] = v
}

type sharedCache struct{ c *kv.Cache[[]byte] }

func (s sharedCache) get(dst, k []byte) []byte {
	v, _, err := s.c.Append(dst, k)
	if err != nil {
		panic(err)
	}
	return v
}

func (s sharedCache) set(k, v []byte) {
	if err := s.c.Set(context.Background(), k, v); err != nil {
		panic(err)
	}
}

func cacherOf(b *testing.B, name, dir string) cacher {
	switch name {
	case "fastcache":
		c := fastcache.New(cacheBytes)
		b.Cleanup(c.Reset)
		return fast{c}
	case "freecache":
		return free{freecache.NewCache(cacheBytes)}
	case "map+RWMutex":
		return &guarded{m: map[string][]byte{}}
	}
	if name == "floor-cache" {
		c, end := openFloorCache(b, dir)
		b.Cleanup(end)
		return c
	}
	c, err := kv.CreateCache[[]byte]("c", &kv.CacheOptions{
		Dir: dir, Size: cacheBytes, Mean: 80, HugePages: name == "kv.Cache-huge",
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return sharedCache{c}
}

// bytesOf writes a key of 16 bytes.
func bytesOf(buf []byte, i uint64) []byte {
	k := keyOf(i)
	return binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(buf[:0], k[0]), k[1])
}

// workCache makes n calls, and returns how many of them found an entry.
func workCache(c cacher, n int, pick func() int) (hits int) {
	kb, v, dst := make([]byte, 0, 16), make([]byte, 64), make([]byte, 0, 64)
	for i := range n {
		k := bytesOf(kb, uint64(pick()))
		if i%20 >= readsOf20 {
			c.set(k, v)
		} else if len(c.get(dst, k)) == len(v) {
			hits++
		}
	}
	return hits
}

func fillCache(c cacher, entries int) {
	for i := range uint64(entries) {
		c.set(bytesOf(make([]byte, 0, 16), i), make([]byte, 64))
	}
}

// cachePeer makes calls at the cache until its parent ends it.
func cachePeer(c *shmemtest.Conn) error {
	s, err := kv.AttachCache[[]byte]("c", &kv.CacheOptions{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	work := func(n int, pick func() int) { workCache(sharedCache{s}, n, pick) }
	return callUntilEnded(c, work, s.Close)
}

func BenchmarkCaches(b *testing.B) {
	for _, how := range []string{"uniform", "zipf"} {
		for _, goroutines := range []int{1, 2} {
			for _, name := range []string{
				"kv.Cache", "kv.Cache-huge", "floor-cache", "fastcache", "freecache", "map+RWMutex",
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", how, goroutines, name), func(b *testing.B) {
					cacheInProcess(b, name, how, goroutines)
				})
			}
		}
		for _, name := range []string{"kv.Cache", "floor-cache"} {
			b.Run(how+"/2/"+name+"-processes", func(b *testing.B) {
				cacheTwoProcesses(b, name, how)
			})
		}
	}
}

func cacheInProcess(b *testing.B, name, how string, goroutines int) {
	entries := size(b)
	c := cacherOf(b, name, shmemtest.Dir(b))
	fillCache(c, entries)
	picks := pickers(how, entries, goroutines)
	runtime.GC() // of the caches before this one
	var hits atomic.Int64
	since := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, pick := range picks {
		wg.Go(func() { hits.Add(int64(workCache(c, b.N/goroutines, pick))) })
	}
	wg.Wait()
	reportCPU(b, since)
	b.ReportMetric(100*float64(hits.Load())/float64(b.N)*20/readsOf20, "hit-%")
}

// cacheTwoProcesses measures one process beside another one that makes the same calls.
func cacheTwoProcesses(b *testing.B, name, how string) {
	entries := size(b)
	dir := shmemtest.Dir(b)
	c := cacherOf(b, name, dir)
	fillCache(c, entries)
	pick := picksOf(how, entries, 1)
	p := shmemtest.Start(b, name, dir, fmt.Sprint(entries), how)
	p.Expect(b, "ready")
	since := cpu(b)
	b.ResetTimer()
	workCache(c, b.N, pick)
	b.StopTimer()
	reportCPU(b, since)
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
