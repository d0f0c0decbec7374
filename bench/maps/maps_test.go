// Package maps_test compares a kv.Map with the maps of one process, and a kv.Cache with the caches
// of one process and with Redis and memcached. 100,000 entries with keys of 16 bytes and values of
// 64; 95 of 100 calls read. The contenders take turns in one run:
//
//	cd bench && go test -run xxx -bench . -count 5 ./maps
//
// The names have the distribution of keys, which lie in memory or are made before each call, and the
// number of goroutines; "processes" are two, with a goroutine each, of which this one is measured.
// cpu-ns/op is this process's processor time a call: it says more than the time on a machine that
// has other work.
package maps_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
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
	roles := map[string]func(*shmemtest.Conn) error{
		"kv.Map": peer, "floor": floorPeer, "kv.Cache": cachePeer, "floor-cache": floorCachePeer,
	}
	var all []shmemtest.Role
	for name, run := range roles {
		all = append(all, shmemtest.Role{Name: name, Run: run, Optional: true})
	}
	shmemtest.Main(m, all...)
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

// work makes n calls, of which reads of 20 read.
func work(c contender, n, reads int, next func() *key) {
	for i := range n {
		k := next()
		if i%20 < reads {
			c.get(*k)
		} else {
			c.set(*k, value{uint64(i)})
		}
	}
}

// made is the end of the name of a distribution whose keys are written word by word before each
// call. The processor cannot load two of these words at once until they have reached the cache, and
// they wait for all stores before them. So a call can begin only when the one before it has got its
// value from memory. Keys that lie in memory have no such wait.
const made = "-made"

// readsOnly is the end of the name of a contender of which all calls read.
const readsOnly = "-reads"

// keysOf returns a function that returns the keys that pick chooses.
func keysOf(how string, pick func() int, entries int) func() *key {
	if strings.HasSuffix(how, made) {
		var k key
		return func() *key {
			k = keyOf(uint64(pick()))
			return &k
		}
	}
	drawn := make([]key, drawnFor(entries))
	for i := range drawn {
		drawn[i] = keyOf(uint64(pick()))
	}
	i, mask := 0, len(drawn)-1
	return func() *key {
		i++
		return &drawn[i&mask]
	}
}

// drawnFor returns how many keys are drawn.
func drawnFor(entries int) int {
	if entries < full {
		return 1 << 10
	}
	return 1 << 18
}

// picksOf returns a function that chooses keys. They were drawn before, so that drawing costs
// nothing.
func picksOf(how string, entries int, seed uint64) func() int {
	drawn := make([]uint32, drawnFor(entries))
	r := rand.New(rand.NewPCG(seed, 1))
	z := rand.NewZipf(r, 1.1, 1, uint64(entries-1))
	for i := range drawn {
		if strings.HasPrefix(how, "zipf") {
			drawn[i] = uint32(z.Uint64())
		} else {
			drawn[i] = uint32(r.IntN(entries))
		}
	}
	i, mask := 0, len(drawn)-1
	return func() int {
		i++
		return int(drawn[i&mask])
	}
}

// pickers are the functions of so many goroutines.
func pickers(how string, entries, goroutines int) (all []func() int) {
	for g := range goroutines {
		all = append(all, picksOf(how, entries, uint64(g)))
	}
	return all
}

// peer makes calls at the map until its parent ends it.
func peer(c *shmemtest.Conn) error {
	m, err := kv.Attach[key, value]("m", &kv.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	return workUntilEnded(c, &shared{m}, m.Close)
}

// workUntilEnded is callUntilEnded for a map.
func workUntilEnded(c *shmemtest.Conn, of contender, end func() error) error {
	var next func() *key
	return callUntilEnded(c, func(n int, pick func() int) {
		if next == nil {
			next = keysOf(c.Args()[2], pick, full)
		}
		work(of, n, readsOf20, next)
	}, end)
}

// callUntilEnded makes calls until the parent ends this process. Its arguments are the directory,
// the number of entries and how keys are chosen.
func callUntilEnded(c *shmemtest.Conn, work func(n int, pick func() int), end func() error) error {
	var entries int
	if _, err := fmt.Sscan(c.Args()[1], &entries); err != nil {
		return err
	}
	pick := picksOf(c.Args()[2], entries, uint64(os.Getpid()))
	var ended atomic.Bool
	go func() {
		_, _ = c.Recv()
		ended.Store(true)
	}()
	c.Send("ready")
	for !ended.Load() {
		work(100, pick)
	}
	return end()
}

func BenchmarkMaps(b *testing.B) {
	for _, how := range []string{"uniform", "zipf"} {
		b.Run(how+"/1/map", func(b *testing.B) { inProcess(b, "map", how, 1) })
		for _, name := range []string{
			"kv.Map", "kv.Map-huge", "floor", "floor-chains", "map+RWMutex", "sync.Map", "xsync",
			"otter",
		} {
			for _, goroutines := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%d/%s", how, goroutines, name), func(b *testing.B) {
					inProcess(b, name, how, goroutines)
				})
			}
		}
		for _, name := range []string{"kv.Map", "floor"} {
			b.Run(how+"/2/"+name+"-processes", func(b *testing.B) { twoProcesses(b, name, how) })
		}
		for _, name := range []string{"map", "kv.Map", "floor-chains"} {
			b.Run(how+"/1/"+name+readsOnly, func(b *testing.B) {
				inProcess(b, name+readsOnly, how, 1)
			})
		}
		madeKeys(b, how+made)
	}
}

// madeKeys measures the maps to which kv.Map is compared, with keys that are made before each call.
func madeKeys(b *testing.B, how string) {
	b.Run(how+"/1/map", func(b *testing.B) { inProcess(b, "map", how, 1) })
	for _, name := range []string{"kv.Map", "floor-chains", "map+RWMutex"} {
		for _, goroutines := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d/%s", how, goroutines, name), func(b *testing.B) {
				inProcess(b, name, how, goroutines)
			})
		}
	}
	b.Run(how+"/2/kv.Map-processes", func(b *testing.B) { twoProcesses(b, "kv.Map", how) })
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
	if name == "floor" {
		f, end := openFloor(b, dir)
		b.Cleanup(end)
		return f
	}
	if name == "floor-chains" {
		f, end := openFloorChains(b, dir)
		b.Cleanup(end)
		return f
	}
	m, err := kv.Create[key, value]("m", &kv.Options{
		Dir: dir, Capacity: full, HugePages: name == "kv.Map-huge",
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return &shared{m}
}

func inProcess(b *testing.B, name, how string, goroutines int) {
	entries, reads := size(b), readsOf20
	if only, ok := strings.CutSuffix(name, readsOnly); ok {
		name, reads = only, 20
	}
	c := contenderOf(b, name, shmemtest.Dir(b))
	fill(c, entries)
	var keys []func() *key
	for _, pick := range pickers(how, entries, goroutines) {
		keys = append(keys, keysOf(how, pick, entries))
	}
	runtime.GC() // of the maps before this one
	since := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, k := range keys {
		wg.Go(func() { work(c, b.N/goroutines, reads, k) })
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
func twoProcesses(b *testing.B, name, how string) {
	entries := size(b)
	dir := shmemtest.Dir(b)
	c := contenderOf(b, name, dir)
	fill(c, entries)
	next := keysOf(how, picksOf(how, entries, 1), entries)
	p := shmemtest.Start(b, name, dir, fmt.Sprint(entries), how)
	p.Expect(b, "ready")
	since := cpu(b)
	b.ResetTimer()
	work(c, b.N, readsOf20, next)
	b.StopTimer()
	reportCPU(b, since)
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
