package fiberstorage_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/kv/fiberstorage"
	"github.com/shmembox/shmem/shmemtest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open returns a storage in a directory.
func open(t *testing.T, dir string) *fiberstorage.Storage {
	t.Helper()
	values, err := kv.OpenCache[string]("v", &kv.CacheOptions{Dir: dir, Size: 1 << 20})
	check(t, err)
	counts, err := kv.Open[fiberstorage.Key, int64]("c", &kv.Options{Dir: dir})
	check(t, err)
	s := fiberstorage.New(values, counts)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestStorage makes the calls that fiber.Storage describes.
func TestStorage(t *testing.T) {
	dir := shmemtest.Dir(t)
	s, other := open(t, dir), open(t, dir)
	check(t, s.Set("k", []byte("v"), time.Hour))
	if v, err := other.Get("k"); err != nil || string(v) != "v" {
		t.Error(v, err)
	}
	check(t, s.Set("", []byte("v"), 0))
	check(t, s.Set("empty", nil, 0))
	for _, k := range []string{"", "empty", "none"} {
		if v, err := other.Get(k); v != nil || err != nil {
			t.Error(k, v, err)
		}
	}
	check(t, s.Delete("none"))
	check(t, s.Delete("k"))
	if v, err := other.Get("k"); v != nil || err != nil {
		t.Error(v, err)
	}
	check(t, s.Set("a", []byte("1"), 0))
	_, err := s.Increment(t.Context(), "a", 5, 0)
	check(t, err)
	check(t, other.Reset())
	if v, err := s.Get("a"); v != nil || err != nil {
		t.Error(v, err)
	}
	if n, err := s.Increment(t.Context(), "a", 5, 0); n != 5 || err != nil {
		t.Error(n, err)
	}
	check(t, s.Close())
	if _, err := s.Get("a"); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
}

// TestExpiry: values and counters expire.
func TestExpiry(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := open(t, dir)
	synctest.Test(t, func(t *testing.T) {
		check(t, s.Set("k", []byte("v"), time.Minute))
		for _, want := range []int64{1, 2} {
			if n, err := s.Increment(t.Context(), "k", 1, time.Minute); n != want || err != nil {
				t.Error(n, err)
			}
		}
		time.Sleep(time.Minute + time.Second)
		if v, err := s.Get("k"); v != nil || err != nil {
			t.Error(v, err)
		}
		if n, err := s.Increment(t.Context(), "k", 1, time.Minute); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
}

// TestIncrement counts exactly, in many goroutines with attachments of their own.
func TestIncrement(t *testing.T) {
	dir := shmemtest.Dir(t)
	var wg sync.WaitGroup
	for range 4 {
		s := open(t, dir)
		wg.Go(func() {
			for range 500 {
				if _, err := s.Increment(context.Background(), "k", 1, time.Hour); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s := open(t, dir)
	if n, err := s.Count("k"); n != 2000 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.Count("none"); n != 0 || err != nil {
		t.Error(n, err)
	}
}
