package kv

import (
	"context"
	"time"

	"github.com/shmembox/shmem/internal/mem"
)

// A Number is a type of values that [Add] and [Max] work with.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// Add adds n to the value of a key, in one change, and returns the sum. If there is no entry it
// stores n, as an entry that expires when ttl has passed; a ttl of 0 means never, a negative one is
// shmem.ErrBadOption. The expiry of an entry that is there stays. So Add counts events in a window
// of time. A sum that is too large wraps around, as in Go.
func Add[K comparable, N Number](
	ctx context.Context, m *Map[K, N], k K, n N, ttl time.Duration,
) (sum N, err error) {
	if ttl < 0 {
		return 0, m.c.fail("add", errTTL)
	}
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return 0, m.c.fail("add", err)
	}
	defer m.c.end(&h)
	expires := h.slot.Expires
	if h.slot.Found {
		m.c.load(&h, mem.Bytes(&sum))
	} else if expires, err = expiry(ttl); err != nil {
		return 0, m.c.fail("add", err)
	}
	sum += n
	if err := m.c.put(&h, key, mem.Bytes(&sum), expires); err != nil {
		return 0, m.c.fail("add", err)
	}
	return sum, nil
}

// Max stores n if it is greater than the value of a key, or if there is none, in one change. It
// returns the greater one. The expiry of an entry that is there stays. NaN is greater than nothing.
func Max[K comparable, N Number](ctx context.Context, m *Map[K, N], k K, n N) (N, error) {
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return 0, m.c.fail("max", err)
	}
	defer m.c.end(&h)
	expires := int64(0)
	if h.slot.Found {
		var is N
		m.c.load(&h, mem.Bytes(&is))
		if !(n > is) {
			return is, nil
		}
		expires = h.slot.Expires
	}
	if err := m.c.put(&h, key, mem.Bytes(&n), expires); err != nil {
		return 0, m.c.fail("max", err)
	}
	return n, nil
}

// CompareAndSwap stores the value next if the value of a key is old, in one change, and reports
// whether it did. If there is no entry it reports false. The expiry of the entry stays.
func CompareAndSwap[K, V comparable](
	ctx context.Context, m *Map[K, V], k K, old, next V,
) (swapped bool, err error) {
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return false, m.c.fail("compare and swap", err)
	}
	defer m.c.end(&h)
	if !h.slot.Found {
		return false, nil
	}
	var is V
	m.c.load(&h, mem.Bytes(&is))
	if is != old {
		return false, nil
	}
	if err := m.c.put(&h, key, mem.Bytes(&next), h.slot.Expires); err != nil {
		return false, m.c.fail("compare and swap", err)
	}
	return true, nil
}
