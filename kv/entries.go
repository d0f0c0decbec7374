package kv

import (
	"context"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/table"
)

func init() { stream.AttachEntries, stream.OpenEntries = attachEntries, openEntries }

// entries is a map whose types the segment tells. The bridge to other machines uses it.
type entries struct {
	c    core
	keys keyForm
}

func attachEntries(name string, opts *shmem.Options) (stream.Entries, error) {
	p := plan(name, stream.Attach)
	p.Options, p.Visitor = opts, true
	p.Like = func(stored, _ *format.Type) (*format.Type, error) {
		return typeOf(layout.MapOf(stored))
	}
	m := new(entries)
	if err := m.c.attach(p); err != nil {
		return nil, err
	}
	m.keys = newKeyForm(m.c.layout.Key)
	return m, nil
}

func openEntries(
	name string, opts *shmem.Options, key, value *format.Type, capacity int,
) (stream.Entries, error) {
	p := plan(name, stream.Open)
	p.Options, p.Kept = opts, true
	m := &entries{keys: newKeyForm(key)}
	if err := m.c.open(p, key, value, &config{capacity: capacity}); err != nil {
		return nil, err
	}
	return m, nil
}

// Layout returns the types and sizes.
func (m *entries) Layout() *layout.Map { return m.c.layout }

// Part returns the stripe of a key.
func (m *entries) Part(key []byte) int {
	if !m.c.M.Pin() {
		return -1
	}
	defer m.c.M.Unpin()
	seed := m.c.t.Seed(0)
	if seed == 0 {
		return -1
	}
	return m.c.t.StripeOf(table.Hash(seed, m.keys.encode(new([inlineWords]uint64), key)))
}

// Version returns how often a stripe was changed.
func (m *entries) Version(part int) uint64 {
	if !m.c.M.Pin() {
		return 0
	}
	defer m.c.M.Unpin()
	return m.c.t.Version(part)
}

// Versions appends those of all stripes.
func (m *entries) Versions(to []uint64) []uint64 {
	if !m.c.M.Pin() {
		return to
	}
	defer m.c.M.Unpin()
	for i := range m.c.stripes {
		to = append(to, m.c.t.Version(i))
	}
	return to
}

// Each calls f with the entries of a stripe.
func (m *entries) Each(part int, f func(key, value []byte, expires int64)) error {
	var list []entry
	for b := part; b < m.c.layout.Buckets; b += m.c.layout.Stripes {
		var err error
		if list, err = m.bucket(b, list[:0]); err != nil {
			return m.c.fail("all", err)
		}
		for _, e := range list {
			f(e.key, e.value, e.expires)
		}
	}
	return nil
}

type entry struct {
	key, value []byte
	expires    int64
}

// bucket appends copies of the entries of a bucket to list.
func (m *entries) bucket(bucket int, list []entry) ([]entry, error) {
	var c entry
	err := m.c.readBucket(bucket, func() { list = list[:0] },
		func(e table.Entry) { c = m.entry(e) },
		func(table.Entry) { list = append(list, c) })
	return list, err
}

// entry copies an entry.
func (m *entries) entry(e table.Entry) entry {
	l := m.c.layout
	words := make([]uint64, m.keys.words)
	m.c.t.Key(e, words)
	c := entry{mem.WordBytes(words)[:l.Key.Size], make([]byte, l.Value.Size), e.Expires}
	m.c.M.Load(c.value, m.c.valueAt(e.Cell))
	return c
}

// Set stores a value.
func (m *entries) Set(ctx context.Context, key, value []byte, expires int64) error {
	words := m.keys.encode(new([inlineWords]uint64), key)
	h, err := m.c.begin(ctx, words)
	if err != nil {
		return m.c.fail("set", err)
	}
	defer m.c.end(&h)
	return m.c.fail("set", m.c.put(&h, words, value, expires))
}

// Delete removes an entry.
func (m *entries) Delete(ctx context.Context, key []byte) (found bool, err error) {
	h, err := m.c.begin(ctx, m.keys.encode(new([inlineWords]uint64), key))
	if err != nil {
		return false, m.c.fail("delete", err)
	}
	defer m.c.end(&h)
	m.c.remove(&h)
	return h.slot.Found, nil
}

// Changes returns how often the map was changed.
func (m *entries) Changes() uint64 {
	if !m.c.M.Pin() {
		return 0
	}
	defer m.c.M.Unpin()
	return m.c.version()
}

// Wait waits for a change.
func (m *entries) Wait(ctx context.Context, seen uint64) error {
	return m.c.fail("wait", m.c.waitChange(ctx, changes{-1, seen}, 0))
}

// Evicted returns how many entries were removed to make room.
func (m *entries) Evicted() uint64 {
	if !m.c.M.Pin() {
		return 0
	}
	defer m.c.M.Unpin()
	return m.c.header.Evicted.Load()
}

// Unlinked is Map.Unlinked.
func (m *entries) Unlinked() <-chan struct{} { return m.c.Segment.Unlinked() }

// Close detaches; see shmem.Segment.Close.
func (m *entries) Close() error { return m.c.Segment.Close() }
