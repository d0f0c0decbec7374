package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// openCache opens the cache "c" in a directory.
func openCache(t testing.TB, dir string, opts kv.CacheOptions) *kv.Cache[string] {
	t.Helper()
	opts.Dir = dir
	c, err := kv.OpenCache[string]("c", &opts)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestCacheClear removes all entries, and stores others.
func TestCacheClear(t *testing.T) {
	dir := shmemtest.Dir(t)
	c, other := openCache(t, dir, kv.CacheOptions{Size: 1 << 20}), openCache(t, dir, kv.CacheOptions{})
	for range 3 { // the log goes round
		for i := range 2000 {
			check(t, c.Set(background, fmt.Sprint(i), make([]byte, 300)))
		}
		check(t, other.Clear(background))
		for i := range 2000 {
			if _, found, err := c.Get(fmt.Sprint(i)); found || err != nil {
				t.Fatal(i, found, err)
			}
		}
		if st := c.Stats(); st.Entries != 0 || st.Bytes != 0 || st.Repaired != 0 {
			t.Errorf("%+v", st)
		}
	}
	check(t, c.Set(background, "k", []byte("v")))
	if v, found, err := other.Get("k"); string(v) != "v" || !found || err != nil {
		t.Error(v, found, err)
	}
	check(t, c.Close())
	if err := c.Clear(background); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
}

// TestCache makes the calls of two attachments, with keys that are strings and bytes.
func TestCache(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := openCache(t, dir, kv.CacheOptions{Size: 1 << 20})
	b, err := kv.AttachCache[[]byte]("c", &kv.CacheOptions{Dir: dir, Size: 1 << 20})
	check(t, err)
	defer b.Close()
	is := map[string]string{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		k := strings.Repeat("k", i%20) + fmt.Sprint(rnd.IntN(200))
		v := strings.Repeat(fmt.Sprint(i), rnd.IntN(60))
		if i%7 == 0 {
			found, err := b.Delete(background, []byte(k))
			check(t, err)
			if _, had := is[k]; had != found {
				t.Fatalf("Delete(%s) is %v", k, found)
			}
			delete(is, k)
			continue
		}
		check(t, b.Set(background, []byte(k), []byte(v)))
		is[k] = v
		got, found, err := c.Get(k)
		if err != nil || !found || string(got) != v {
			t.Fatalf("Get(%s) is %q %v %v, want %q", k, got, found, err, v)
		}
	}
	total := 0
	for k, v := range is {
		total += len(k) + len(v)
		got, found, err := b.Append([]byte("before "), []byte(k))
		if err != nil || !found || string(got) != "before "+v {
			t.Errorf("Append(%s) is %q %v %v, want %q", k, got, found, err, v)
		}
		found, err = c.View(k, func(value []byte) error {
			if string(value) != v {
				t.Errorf("View(%s) has %q, want %q", k, value, v)
			}
			return fs.ErrInvalid
		})
		if err != fs.ErrInvalid || !found {
			t.Error(found, err)
		}
	}
	before := []byte("before")
	if got, found, err := c.Append(before, "none"); err != nil || found || &got[0] != &before[0] {
		t.Error(got, found, err)
	}
	st := c.Stats()
	if st.Entries != len(is) || st.Bytes != total || st.Evicted+st.Expired+st.Repaired != 0 ||
		st.Misses != 1 || st.Hits < uint64(2*len(is)) || st.Size > 1<<20 || st.Size < 1000<<10 {
		t.Errorf("%d entries of %d bytes: %+v", len(is), total, st)
	}
}

func TestCacheExpires(t *testing.T) {
	c := openCache(t, shmemtest.Dir(t), kv.CacheOptions{})
	check(t, c.SetFor(background, "long", []byte("v"), time.Hour))
	check(t, c.SetFor(background, "short", []byte("v"), time.Nanosecond))
	check(t, c.SetFor(background, "again", []byte("v"), time.Nanosecond))
	check(t, c.Set(background, "again", []byte("w")))
	for start := time.Now(); time.Since(start) == 0; { // until the clock goes on
	}
	for k, want := range map[string]string{"long": "v", "short": "", "again": "w"} {
		if v, found, err := c.Get(k); err != nil || found != (want != "") || string(v) != want {
			t.Errorf("%s: %q %v %v", k, v, found, err)
		}
	}
	if found, err := c.Delete(background, "short"); found || err != nil {
		t.Error(found, err)
	}
	if err := c.SetFor(background, "k", nil, -1); !errors.Is(err, shmem.ErrBadOption) {
		t.Error(err)
	}
}

func TestCacheErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := openCache(t, dir, kv.CacheOptions{Size: 100_000})
	for _, o := range []kv.CacheOptions{{Size: 1000}, {Size: -1}, {Mean: -1}, {Size: 1 << 20, Mean: 1 << 21}} {
		o.Dir = dir
		if _, err := kv.CreateCache[string]("bad", &o); !errors.Is(err, shmem.ErrBadOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	_, err := kv.CreateCache[string]("c", &kv.CacheOptions{Dir: dir})
	if !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := kv.AttachCache[string]("none", &kv.CacheOptions{Dir: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	_, err = kv.OpenCache[string]("c", &kv.CacheOptions{Dir: dir, Size: 200_000})
	if !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
	if _, err := kv.Attach[int, int]("c", &kv.Options{Dir: dir}); !errors.Is(err, shmem.ErrMismatch) ||
		!strings.Contains(err.Error(), "a kv.Cache (see kv.OpenCache), not a kv.Map") {
		t.Error(err)
	}
	if _, err := shmem.Attach[int]("c", &shmem.Options{Dir: dir}); !errors.Is(err, shmem.ErrMismatch) ||
		!strings.Contains(err.Error(), "a kv.Cache") {
		t.Error(err)
	}
	open[int, int](t, dir, kv.Options{})
	_, err = kv.AttachCache[string]("m", &kv.CacheOptions{Dir: dir})
	if !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
	check(t, c.Set(background, "max", make([]byte, c.MaxLen()-3)))
	if v, found, err := c.Get("max"); !found || err != nil || len(v) != c.MaxLen()-3 {
		t.Error(len(v), found, err)
	}
	if err := c.Set(background, "max", make([]byte, c.MaxLen()-2)); !errors.Is(err, kv.ErrTooBig) ||
		!strings.Contains(err.Error(), "shmem: cache set c: ") {
		t.Error(err)
	}
	ro, err := kv.AttachCache[string]("c", &kv.CacheOptions{Dir: dir, ReadOnly: true})
	check(t, err)
	if _, found, err := ro.Get("max"); !found || err != nil {
		t.Error(found, err)
	}
	if err := ro.Set(background, "k", nil); !errors.Is(err, shmem.ErrReadOnly) {
		t.Error(err)
	}
	check(t, ro.Close())
	check(t, c.Close())
	_, _, err = c.Get("max")
	for _, err := range []error{err, c.Set(background, "k", nil), second(c.Delete(background, "k"))} {
		if !errors.Is(err, shmem.ErrClosed) {
			t.Error(err)
		}
	}
	if st := c.Stats(); st != (kv.CacheStats{}) {
		t.Errorf("%+v", st)
	}
}

// TestCacheAllocates: calls allocate nothing.
func TestCacheAllocates(t *testing.T) {
	c := openCache(t, shmemtest.Dir(t), kv.CacheOptions{})
	none := func([]byte) error { return nil }
	k, v, buf := strings.Repeat("k", 20), make([]byte, 100), make([]byte, 0, 100)
	n := testing.AllocsPerRun(100, func() {
		check(t, c.Set(background, k, v))
		if _, found, err := c.Append(buf, k); !found || err != nil {
			t.Error(found, err)
		}
		if _, err := c.View(k, none); err != nil {
			t.Error(err)
		}
	})
	if n != 0 && !robust.RaceEnabled {
		t.Errorf("%v allocations", n)
	}
}

// sealed returns a value that says of which key it is, and with which number.
func sealed(k string, n uint64, size int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s=%d;", k, n), 1+size/8)
}

// unsealed returns the number of a value, and fails the test if it is a mixture or another key's.
func unsealed(t *testing.T, k string, v []byte) (n uint64) {
	t.Helper()
	one, _, _ := bytes.Cut(v, []byte(";"))
	if _, err := fmt.Sscanf(string(one), k+"=%d", &n); err != nil ||
		!bytes.Equal(v, bytes.Repeat(append(one, ';'), len(v)/(len(one)+1))) {
		t.Errorf("key %s has %.100q", k, v)
	}
	return n
}

// TestCacheNoMixture: values are whole that are read while several goroutines of two attachments
// overwrite the log again and again.
func TestCacheNoMixture(t *testing.T) {
	const keys = 50
	rounds := uint64(10_000)
	if robust.RaceEnabled {
		rounds = 500
	}
	dir := shmemtest.Dir(t)
	two := []*kv.Cache[string]{
		openCache(t, dir, kv.CacheOptions{Size: 64 << 10}), openCache(t, dir, kv.CacheOptions{}),
	}
	var ended atomic.Bool
	var writers, readers sync.WaitGroup
	for i, c := range two {
		writers.Go(func() {
			for n := range rounds {
				k := fmt.Sprint("key ", rand.IntN(keys))
				if n%16 == 0 {
					check(t, second(c.Delete(background, k)))
				}
				check(t, c.Set(background, k, sealed(k, n*2+uint64(i), rand.IntN(1<<rand.IntN(14)))))
			}
		})
		readers.Go(func() {
			var buf []byte
			for !ended.Load() && !t.Failed() {
				k := fmt.Sprint("key ", rand.IntN(keys))
				v, found, err := c.Append(buf[:0], k)
				check(t, err)
				if buf = v; found {
					unsealed(t, k, v)
				}
			}
		})
	}
	writers.Wait()
	ended.Store(true)
	readers.Wait()
	if st := two[0].Stats(); st.Evicted == 0 || st.Repaired != 0 {
		t.Errorf("%+v", st)
	}
}
