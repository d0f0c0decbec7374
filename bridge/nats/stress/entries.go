package main

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/shmembox/shmem/kv"
)

const (
	mapKeys = 200  // keys that the map can have
	mapRoom = 1024 // entries that it has room for
)

// openMap creates the map of the first host.
func openMap(dir string) (*kv.Map[uint64, item], error) {
	return kv.Open[uint64, item]("users", &kv.Options{Dir: dir, Capacity: mapRoom})
}

// change stores or removes one entry. A value of a key is higher than all before it.
func (w *world) change(ctx context.Context, v item) error {
	k := v.N % mapKeys
	switch ttl, removed := changeOf(v.N); {
	case removed:
		_, err := w.users.Delete(ctx, k)
		return err
	case ttl > 0:
		return w.users.SetFor(ctx, k, v, ttl)
	}
	return w.users.Set(ctx, k, v)
}

// changeOf returns what change n does to its key: whether it removes the entry, or for how long the
// entry lives, 0 for always. Half of the changes that follow each other store a value that stays:
// only such a value shows that the map comes through.
func changeOf(n uint64) (ttl time.Duration, removed bool) {
	k := n % mapKeys
	switch (n/mapKeys + k) % 4 {
	case 0:
		return 0, true
	case 1:
		return time.Duration(k)*10*time.Millisecond + time.Millisecond, false
	}
	return 0, false
}

// watchMap checks that no entry of the mirror of the map goes back.
func (w *world) watchMap(ctx context.Context) error {
	m, err := kv.AttachWait[uint64, item](ctx, "users", &kv.Options{Dir: w.b, Passive: true})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	last := map[uint64]uint64{}
	for ctx.Err() == nil {
		for e, err := range m.All() {
			if err != nil {
				return err
			}
			switch was := last[e.Key]; {
			case e.Value.N < was:
				w.r.mapBack++
			case e.Value.N > was:
				w.r.mapSeen++
			}
			last[e.Key] = e.Value.N
			later(&w.through.entries, e.Value.At)
		}
		sleep(ctx, 5*time.Millisecond)
	}
	return nil
}

// sameMaps waits until the mirror of the map is as the map is.
func (w *world) sameMaps(ctx context.Context) error {
	m, err := kv.Attach[uint64, item]("users", &kv.Options{Dir: w.b, Passive: true})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	for begun := time.Now(); ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		a, err := all(w.users)
		if err != nil {
			return err
		}
		b, err := all(m)
		if err != nil {
			return err
		}
		if maps.Equal(a, b) {
			return nil
		}
		if time.Since(begun) > 45*time.Second {
			return errors.New("the mirror of the map is not as the map is")
		}
	}
	return ctx.Err()
}

func all(m *kv.Map[uint64, item]) (map[uint64]item, error) {
	entries := map[uint64]item{}
	for e, err := range m.All() {
		if err != nil {
			return nil, err
		}
		entries[e.Key] = e.Value
	}
	return entries, nil
}
