// Package maps_test compares a kv.Map with the maps of one process, and a kv.Cache with the caches
// of one process and with Redis and memcached. 100,000 entries with keys of 16 bytes and values of
// 64; 95 of 100 calls read. The contenders take turns in one run:
//
//	cd bench && go test -run xxx -bench . -count 5 ./maps
//
// The names have the distribution of keys and the number of goroutines; "processes" are two, with a
// goroutine each, of which this one is measured. cpu-ns/op is this process's processor time a call:
// it says more than the time on a machine that has other work.
package maps_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/puzpuzpuz/xsync/v4"

	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

type (
	key   [2]uint64
	value [8]uint64
)

const (
	full      = 100_000
	smoke     = 1000 // with -benchtime 1x or -short
	readsOf20 = 19
)

// size is how many entries there are.
func size(b *testing.B) int {
	if testing.Short() || b.N == 1 {
		return smoke
	}
	return full
}

func TestMain(m *testing.M) {
	shmemtest.Main(m, shmemtest.Role{Name: "peer", Run: peer, Optional: true},
		shmemtest.Role{Name: "cachePeer", Run: cachePeer, Optional: true})
}

// A contender is a map.
type contender interface {
	get(k key) value
	set(k key, v value)
}

type locked struct {
	mu sync.RWMutex
	m  map[key]value
}

func (l *locked) get(k key) value {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.m[k]
}

func (l *locked) set(k key, v value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m[k] = v
}

type syncMap struct{ m sync.Map }

func (s *syncMap) get(k key) value {
	v, ok := s.m.Load(k)
	if !ok {
		return value{}
	}
	return v.(value)
}

func (s *syncMap) set(k key, v value) { s.m.Store(k, v) }

type xsyncMap struct{ m *xsync.Map[key, value] }

func (x xsyncMap) get(k key) value {
	v, _ := x.m.Load(k)
	return v
}

func (x xsyncMap) set(k key, v value) { x.m.Store(k, v) }

type otterCache struct{ c *otter.Cache[key, value] }

func (o otterCache) get(k key) value {
	v, _ := o.c.GetIfPresent(k)
	return v
}

func (o otterCache) set(k key, v value) { o.c.Set(k, v) }

type plain map[key]value // of one goroutine

func (p plain) get(k key) value    { return p[k] }
func (p plain) set(k key, v value) { p[k] = v }

type shared struct{ m *kv.Map[key, value] }

func (s *shared) get(k key) value {
	v, _, err := s.m.Get(k)
	if err != nil {
		panic(err)
	}
	return v
}

func (s *shared) set(k key, v value) {
	if err := s.m.Set(context.Background(), k, v); err != nil {
		panic(err)
	}
}

// keyOf spreads numbers.
func keyOf(i uint64) key { return key{i * 0x9e3779b97f4a7c15, i} }

// fill stores all entries.
func fill(c contender, n int) {
	for i := range uint64(n) {
		c.set(keyOf(i), value{i})
	}
}

// work makes n calls.
func work(c contender, entries, n int, pick func() uint64) {
	for i := range n {
		k := keyOf(pick() % uint64(entries))
		if i%20 < readsOf20 {
			c.get(k)
		} else {
			c.set(k, value{uint64(i)})
		}
	}
}

// picks are how keys are chosen.
func picks(entries int, seed uint64) map[string]func() uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	z := rand.NewZipf(r, 1.1, 1, uint64(entries-1))
	return map[string]func() uint64{"uniform": r.Uint64, "zipf": z.Uint64}
}

// peer makes calls at the map until its parent ends it.
func peer(c *shmemtest.Conn) error {
	m, err := kv.Attach[key, value]("m", &kv.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	var entries int
	if _, err := fmt.Sscan(c.Args()[1], &entries); err != nil {
		return err
	}
	var ended atomic.Bool
	go func() {
		_, _ = c.Recv()
		ended.Store(true)
	}()
	c.Send("ready")
	pick := picks(entries, uint64(os.Getpid()))[c.Args()[2]]
	for !ended.Load() {
		work(&shared{m}, entries, 100, pick)
	}
	return m.Close()
}

func BenchmarkMaps(b *testing.B) {
	for _, how := range []string{"uniform", "zipf"} {
		b.Run(how+"/1/map", func(b *testing.B) { inProcess(b, "map", how, 1) })
		for _, name := range []string{"kv.Map", "map+RWMutex", "sync.Map", "xsync", "otter"} {
			for _, goroutines := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%d/%s", how, goroutines, name), func(b *testing.B) {
					inProcess(b, name, how, goroutines)
				})
			}
		}
		b.Run(how+"/2/kv.Map-processes", func(b *testing.B) { twoProcesses(b, how) })
	}
}

// contenderOf returns a new map.
func contenderOf(b *testing.B, name, dir string) contender {
	switch name {
	case "map+RWMutex":
		return &locked{m: map[key]value{}}
	case "sync.Map":
		return new(syncMap)
	case "map":
		return plain{}
	case "xsync":
		return xsyncMap{xsync.NewMap[key, value]()}
	case "otter":
		return otterCache{otter.Must(&otter.Options[key, value]{MaximumSize: 2 * full})}
	}
	m, err := kv.Create[key, value]("m", &kv.Options{Dir: dir, Capacity: full})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return &shared{m}
}

func inProcess(b *testing.B, name, how string, goroutines int) {
	entries := size(b)
	c := contenderOf(b, name, shmemtest.Dir(b))
	fill(c, entries)
	runtime.GC() // of the maps before this one
	since := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() { work(c, entries, b.N/goroutines, picks(entries, uint64(g))[how]) })
	}
	wg.Wait()
	reportCPU(b, since)
}

// cpu returns the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports the processor time since then.
func reportCPU(b *testing.B, since time.Duration) {
	b.ReportMetric(float64(cpu(b)-since)/float64(b.N), "cpu-ns/op")
}

// twoProcesses measures one process beside another one that makes the same calls.
func twoProcesses(b *testing.B, how string) {
	entries := size(b)
	dir := shmemtest.Dir(b)
	c := contenderOf(b, "kv.Map", dir)
	fill(c, entries)
	p := shmemtest.Start(b, "peer", dir, fmt.Sprint(entries), how)
	p.Expect(b, "ready")
	since := cpu(b)
	b.ResetTimer()
	work(c, entries, b.N, picks(entries, 1)[how])
	b.StopTimer()
	reportCPU(b, since)
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
