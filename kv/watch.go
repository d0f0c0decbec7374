package kv

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/table"
	"github.com/shmembox/shmem/internal/wait"
)

// Watch yields the value of a key, and again each time it is stored, removed or evicted, and when
// it expires. If there is no entry the pointer is nil; otherwise it is a copy, which is the loop's.
// A slow loop misses values in between, and never the last one. That an entry expires because the
// date was set is noticed after up to 30 s. Watch looks at ctx before every value. It ends with an
// error: that of ctx, shmem.ErrClosed when the map is closed, or one of Get.
func (m *Map[K, V]) Watch(ctx context.Context, k K) iter.Seq2[*V, error] {
	return func(yield func(*V, error) bool) {
		key := m.keys.encode(new([inlineWords]uint64), mem.Bytes(&k))
		last, first := table.Entry{Cell: -1}, true
		for {
			err := errs.Context(ctx)
			var seen changes
			var v V
			e := table.Entry{Cell: -1}
			if err == nil {
				seen = m.c.changesOf(key)
				e, err = m.c.get(key, mem.Bytes(&v))
			}
			if err != nil {
				yield(nil, m.c.fail("watch", err))
				return
			}
			if first || e.Cell != last.Cell || e.Gen != last.Gen {
				first, last = false, e
				p := &v
				if e.Cell < 0 {
					p = nil
				}
				if !yield(p, nil) {
					return
				}
			}
			if err := m.c.waitChange(ctx, seen, e.Expires); err != nil {
				yield(nil, m.c.fail("watch", err))
				return
			}
		}
	}
}

// changes say how often a part of the map has changed.
type changes struct {
	stripe int // -1: all of it
	count  uint64
}

// changesOf returns the changes of the stripe of a key.
func (c *core) changesOf(key []uint64) changes {
	if !c.M.Pin() {
		return changes{}
	}
	defer c.M.Unpin()
	seed := c.t.Seed(0)
	if seed == 0 { // the first change chooses the stripe
		return c.changesOfAll()
	}
	s := c.t.StripeOf(table.Hash(seed, key))
	return changes{s, c.t.Version(s)}
}

// changesOfAll returns the changes of the whole map. The mapping is pinned.
func (c *core) changesOfAll() changes { return changes{-1, c.version()} }

// version counts the changes of the whole map. The mapping is pinned.
func (c *core) version() (n uint64) {
	for i := range c.stripes {
		n += c.t.Version(i)
	}
	return n
}

// longestLook is how long a watch of an entry that expires waits until it asks for the date again.
// A timer does not notice that the date was set, or that the machine was suspended.
var longestLook = 30 * time.Second

// waitChange waits until there are other changes than seen, or until the time expires, if it is not
// 0. It may return sooner.
func (c *core) waitChange(ctx context.Context, seen changes, expires int64) error {
	if !c.M.Pin() {
		return errClosed
	}
	defer c.M.Unpin()
	within := ctx
	if expires != 0 {
		var cancel context.CancelFunc
		left := time.Duration(expires - now())
		within, cancel = context.WithTimeout(ctx, min(left, longestLook))
		defer cancel()
	}
	armed := &c.header.Armed
	ready := func() bool { return c.version() != seen.count }
	probe := func() (mended bool) {
		for i := range c.stripes {
			mended = c.mend(i) || mended
		}
		return mended
	}
	if s := seen.stripe; s >= 0 {
		armed = &c.stripes[s].Armed
		ready = func() bool { return c.t.Version(s) != seen.count }
		probe = func() bool { return c.mend(s) }
	}
	err := wait.Until(within, c.M, armed, ready, wait.Options{Probe: probe, Poll: !c.Writes})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// Changes yields each time the map has changed since the last time, and once at first. The number
// counts changes; those that follow each other fast, or while the loop is busy, come together.
// Which entries have changed is for the loop to find out, by All or by what it knows. Expiry alone
// is no change. Changes ends as Watch does.
func (m *Map[K, V]) Changes(ctx context.Context) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for {
			err := errs.Context(ctx)
			if err == nil && !m.c.M.Pin() {
				err = errClosed
			}
			if err != nil {
				yield(0, m.c.fail("changes", err))
				return
			}
			seen := m.c.changesOfAll()
			m.c.M.Unpin()
			if !yield(seen.count, nil) {
				return
			}
			if err := m.c.waitChange(ctx, seen, 0); err != nil {
				yield(0, m.c.fail("changes", err))
				return
			}
		}
	}
}
