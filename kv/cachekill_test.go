package kv_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "cacheVictim", Run: cacheVictim},
		shmemtest.Role{Name: "cacheWriter", Run: cacheWriter})
}

// cacheVictim makes a change of the key "k", and stays at a step of it.
func cacheVictim(c *shmemtest.Conn) error {
	cache, err := kv.AttachCache[string]("c", &kv.CacheOptions{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if string(p) == c.Args()[2] {
			c.Send("reached")
			select {}
		}
	})
	switch c.Args()[1] {
	case "delete":
		_, err = cache.Delete(background, "k")
	case "clear":
		err = cache.Clear(background)
	default:
		err = cache.Set(background, "k", sealed("k", 100, 5000))
	}
	if err != nil {
		return err
	}
	c.Send("done")
	_, err = c.Recv()
	return err
}

// The steps of the changes. The log is full, and its oldest entry was read where it is to be moved.
var cacheStepsOf = map[string][]step.Point{
	"set": {step.LockTaken, step.CacheFilled, step.CacheAppended, step.CacheLinked,
		step.CacheCounted, step.UnlockFree},
	"evict":  {step.CacheEvicted, step.CachePassed, step.CacheFilled, step.CacheLinked},
	"move":   {step.CacheMoved, step.CachePassed},
	"delete": {step.CacheRemoved},
	"clear":  {step.CacheRemoved},
	// set where another process has died at CacheAppended
	"repair": {step.LockOver, step.CacheRepaired, step.CacheFilled},
}

// TestCacheKillAtEveryStep stops a process at each step of each change, and then kills it. No call
// of Get waits for either. The change is made or not, and other entries are whole.
func TestCacheKillAtEveryStep(t *testing.T) {
	reached := map[step.Point]bool{}
	for _, change := range slices.Sorted(maps.Keys(cacheStepsOf)) {
		for i, p := range cacheStepsOf[change] {
			reached[p] = true
			if robust.RaceEnabled && i > 0 {
				continue // the race detector sees nothing in another process, and starts slowly
			}
			t.Run(change+" "+string(p), func(t *testing.T) { cacheKillAt(t, change, p) })
		}
	}
	for _, p := range step.Cache {
		if !reached[p] {
			t.Errorf("no process is killed at %s", p)
		}
	}
}

// others is how many other keys a test of kills stores: about twice what there is room for.
const others = 200

func otherKey(i int) string { return fmt.Sprint("other ", i) }

func cacheKillAt(t *testing.T, change string, p step.Point) {
	dir := shmemtest.Dir(t)
	c := openCache(t, dir, kv.CacheOptions{Size: 64 << 10})
	if change == "evict" || change == "move" {
		for i := range others {
			check(t, c.Set(background, otherKey(i), sealed(otherKey(i), uint64(i), 600)))
		}
	}
	check(t, c.Set(background, "k", sealed("k", 1, 500)))
	before := cacheContents(t, dir, c, change == "move")
	op := "set"
	if change == "delete" || change == "clear" {
		op = change
	}
	if change == "repair" {
		v := shmemtest.Start(t, "cacheVictim", dir, op, string(step.CacheAppended))
		v.Expect(t, "reached")
		v.Kill()
	}
	v := shmemtest.Start(t, "cacheVictim", dir, op, string(p))
	v.Expect(t, "reached")
	check(t, v.Stop())
	during := cacheContents(t, dir, c, false) // no call waits for a stopped process
	v.Kill()
	if after := cacheContents(t, dir, c, false); !maps.Equal(after, during) {
		t.Errorf("%v after the death, %v before it", after, during)
	}
	done := slices.Contains([]step.Point{step.CacheLinked, step.CacheCounted, step.UnlockFree,
		step.CacheRemoved}, p)
	want, has := uint64(1), true
	if done {
		want, has = 100, op == "set"
	}
	if n, found := during["k"]; found != has || found && n != want {
		t.Errorf("k has %d %v, want %d %v", n, found, want, has)
	}
	for k, n := range during {
		if was, found := before[k]; k != "k" && (!found || was != n) {
			t.Errorf("%s has %d, had %d", k, n, was)
		}
	}
	if lost := len(before) - len(during); change != "evict" && lost > 1 || lost > 10 {
		t.Errorf("%d entries are lost", lost)
	}
	check(t, c.Set(background, "k", sealed("k", 3, 500)))
	if v, found, err := c.Get("k"); !found || err != nil || unsealed(t, "k", v) != 3 {
		t.Error(found, err)
	}
	is, st := cacheContents(t, dir, c, false), c.Stats()
	if st.Entries != len(is) || st.Repaired == 0 && p != step.UnlockFree {
		t.Errorf("%d entries, %+v", len(is), st)
	}
	check(t, c.Close())
}

// cacheContents returns the numbers of all values. It reads with another attachment that is not
// counted, unless entries are to be marked as read.
func cacheContents(t *testing.T, dir string, c *kv.Cache[string], mark bool) map[string]uint64 {
	t.Helper()
	is := map[string]uint64{}
	if !mark {
		var err error
		c, err = kv.AttachCache[string]("c", &kv.CacheOptions{
			Dir: dir, ReadOnly: true,
		})
		check(t, err)
		defer c.Close()
	}
	for i := -1; i < others; i++ {
		k := otherKey(i)
		if i < 0 {
			k = "k"
		}
		v, found, err := c.Get(k)
		check(t, err)
		if found {
			is[k] = unsealed(t, k, v)
		}
	}
	return is
}

const (
	cacheWriters = 3 // processes
	cacheKeys    = 6 // of each
)

// A cacheLedger has the number that each process knows that it has stored last under each key.
type cacheLedger struct {
	Stored [cacheWriters][cacheKeys]atomic.Uint64
}

func ledgerKey(writer, k int) string { return fmt.Sprint("writer ", writer, " key ", k) }

// cacheWriter stores numbers that grow, under keys of its own, and large values under keys of all,
// until it is killed.
func cacheWriter(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	me, err := strconv.Atoi(c.Args()[1])
	if err != nil {
		return err
	}
	cache, err := kv.AttachCache[string]("c", &kv.CacheOptions{Dir: dir})
	if err != nil {
		return err
	}
	books, err := shmem.Attach[cacheLedger]("books", &shmem.Options{Dir: dir})
	if err != nil {
		return err
	}
	c.Send("ready")
	for {
		i := rand.IntN(cacheKeys)
		k, stored := ledgerKey(me, i), &books.Value().Stored[me][i]
		n := stored.Load() + 1
		if err := cache.Set(background, k, sealed(k, n, rand.IntN(1000))); err != nil {
			return err
		}
		stored.Store(n)
		k = fmt.Sprint("all ", rand.IntN(20))
		if rand.IntN(4) == 0 {
			if _, err := cache.Delete(background, k); err != nil {
				return err
			}
		}
		if err := cache.Set(background, k, sealed(k, n, rand.IntN(4000))); err != nil {
			return err
		}
		k = ledgerKey(rand.IntN(cacheWriters), i)
		if _, _, err := cache.Get(k); err != nil {
			return err
		}
	}
}

// TestCacheKilledAtRandom kills processes that store, at any moment, and keeps books: a key has the
// number that was stored last, or the next one, whose writer died before it wrote that into the
// books, or was evicted; and every value is whole.
func TestCacheKilledAtRandom(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := openCache(t, dir, kv.CacheOptions{Size: 64 << 10})
	books, err := shmem.Create[cacheLedger]("books", &shmem.Options{Dir: dir})
	check(t, err)
	defer books.Close()
	var all [cacheWriters]*shmemtest.Child
	start := func(i int) {
		all[i] = shmemtest.Start(t, "cacheWriter", dir, strconv.Itoa(i))
		all[i].Expect(t, "ready")
	}
	for i := range all {
		start(i)
	}
	n := *kills
	if robust.RaceEnabled {
		n = min(n, 3)
	}
	found := 0
	look := func(writer int) {
		for k := range cacheKeys {
			name := ledgerKey(writer, k)
			v, has, err := c.Get(name)
			check(t, err)
			if !has {
				continue
			}
			found++
			is, stored := unsealed(t, name, v), books.Value().Stored[writer][k].Load()
			if is != stored && is != stored+1 {
				t.Errorf("%s has %d, stored was %d", name, is, stored)
			}
		}
		for k := range 20 {
			name := fmt.Sprint("all ", k)
			if v, has, err := c.Get(name); has || err != nil {
				check(t, err)
				unsealed(t, name, v)
			}
		}
	}
	for i := range n {
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		all[i%cacheWriters].Kill()
		look(i % cacheWriters)
		start(i % cacheWriters)
	}
	for i := range all {
		all[i].Kill()
		look(i)
	}
	st := c.Stats()
	if found == 0 || st.Evicted == 0 {
		t.Errorf("%d values found, %+v", found, st)
	}
	t.Logf("%d kills, %d values found, %+v", n, found, st)
}
