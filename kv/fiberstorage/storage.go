// Package fiberstorage lets the middleware of Fiber v3 keep its state in shared memory, for all
// processes that serve: [Storage] has the methods of fiber.Storage. It imports nothing of Fiber.
//
//	values, err := kv.OpenCache[string]("web", &kv.CacheOptions{Size: 64 << 20})
//	// ...
//	counts, err := kv.Open[fiberstorage.Key, int64]("web-counts", &kv.Options{Capacity: 50_000})
//	// ...
//	storage := fiberstorage.New(values, counts)
//	app.Use(session.New(session.Config{Storage: storage}))
//
// What is stored may be evicted when the cache is full, as in any cache. So give the sessions a
// cache that is large enough for all of them.
//
// A middleware that reads a value, changes it and stores it, such as Fiber's limiter, loses changes
// that two processes make at the same time. What has to be counted exactly is counted by
// [Storage.Increment].
package fiberstorage

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/shmembox/shmem/kv"
)

// A Key is the key of a counter in shared memory: a hash of the one that the caller has.
type Key [16]byte

// A Storage keeps values in a cache, and counters in a map. Its methods are safe for concurrent
// use, by any number of processes. Errors are those of package kv.
type Storage struct {
	values *kv.Cache[string]
	counts *kv.Map[Key, int64]
}

// New returns a storage over a cache and a map. Close closes both.
func New(values *kv.Cache[string], counts *kv.Map[Key, int64]) *Storage {
	return &Storage{values, counts}
}

// GetWithContext returns a copy of the value of a key, or nil if there is none. It waits for no
// other process.
func (s *Storage) GetWithContext(_ context.Context, key string) ([]byte, error) {
	value, _, err := s.values.Get(key)
	return value, err
}

// Get is GetWithContext without a context.
func (s *Storage) Get(key string) ([]byte, error) {
	return s.GetWithContext(context.Background(), key)
}

// SetWithContext stores a copy of a value, which expires when exp has passed; 0 means never. It
// ignores an empty key or value.
func (s *Storage) SetWithContext(
	ctx context.Context, key string, value []byte, exp time.Duration,
) error {
	if key == "" || len(value) == 0 {
		return nil
	}
	return s.values.SetFor(ctx, key, value, exp)
}

// Set is SetWithContext without a context.
func (s *Storage) Set(key string, value []byte, exp time.Duration) error {
	return s.SetWithContext(context.Background(), key, value, exp)
}

// DeleteWithContext removes the value and the counter of a key. There may be none.
func (s *Storage) DeleteWithContext(ctx context.Context, key string) error {
	_, err := s.values.Delete(ctx, key)
	if err == nil {
		_, err = s.counts.Delete(ctx, keyOf(key))
	}
	return err
}

// Delete is DeleteWithContext without a context.
func (s *Storage) Delete(key string) error {
	return s.DeleteWithContext(context.Background(), key)
}

// ResetWithContext removes all values and counters that there are when it is called.
func (s *Storage) ResetWithContext(ctx context.Context) error {
	if err := s.values.Clear(ctx); err != nil {
		return err
	}
	for e, err := range s.counts.All() {
		if err == nil {
			_, err = s.counts.Delete(ctx, e.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Reset is ResetWithContext without a context.
func (s *Storage) Reset() error { return s.ResetWithContext(context.Background()) }

// Increment adds n to the counter of a key, in one change, and returns the sum. A new counter
// expires when exp has passed; 0 means never. A counter is no value: Get does not find it.
func (s *Storage) Increment(
	ctx context.Context, key string, n int64, exp time.Duration,
) (sum int64, err error) {
	return kv.Add(ctx, s.counts, keyOf(key), n, exp)
}

// Count returns the counter of a key, or 0 if there is none. It waits for no other process.
func (s *Storage) Count(key string) (int64, error) {
	n, _, err := s.counts.Get(keyOf(key))
	return n, err
}

func keyOf(key string) (k Key) {
	sum := sha256.Sum256([]byte(key))
	copy(k[:], sum[:])
	return k
}

// Close closes the cache and the map.
func (s *Storage) Close() error {
	return errors.Join(s.values.Close(), s.counts.Close())
}
