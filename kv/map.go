package kv

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/table"
)

// A Map is a hash map in shared memory. Its methods are safe for concurrent use, by any number of
// processes. Functions that the caller passes to a method return their errors as they are; all
// other errors are a *shmem.Error.
type Map[K comparable, V any] struct {
	c     core
	keys  keyForm
	words bool // a key is the words that it has in the table
	short bool // table.Read can read values
}

// Open attaches to the map of that name, or creates it if there is none. An existing map keeps its
// capacity. The errors are those of shmem.Open; a segment that is not a map of K and V is
// shmem.ErrMismatch.
func Open[K comparable, V any](name string, opts *Options) (*Map[K, V], error) {
	return open[K, V](name, stream.Open, opts)
}

// Create creates a map. It returns fs.ErrExist if there is a segment of that name.
func Create[K comparable, V any](name string, opts *Options) (*Map[K, V], error) {
	return open[K, V](name, stream.Create, opts)
}

// Attach attaches to the map of that name. It returns fs.ErrNotExist if there is none.
func Attach[K comparable, V any](name string, opts *Options) (*Map[K, V], error) {
	return open[K, V](name, stream.Attach, opts)
}

// AttachWait is Attach, but waits until there is a map of that name that can be attached to, or
// until ctx is done. It returns other errors of Attach at once; see shmem.AttachWait.
func AttachWait[K comparable, V any](ctx context.Context, name string, opts *Options) (
	m *Map[K, V], err error,
) {
	p := plan(name, stream.Attach)
	c, err := opts.config()
	if err != nil {
		return nil, p.Error(err)
	}
	p.Options = c.segment
	err = p.AttachWait(ctx, func() error {
		m, err = Attach[K, V](name, opts)
		return err
	})
	return m, err
}

func plan(name string, mode stream.Mode) *stream.Plan {
	return &stream.Plan{Op: "map " + string(mode), Name: name, Mode: mode, Kind: layout.MapName,
		Unpinned: true}
}

func open[K comparable, V any](name string, mode stream.Mode, opts *Options) (*Map[K, V], error) {
	p := plan(name, mode)
	c, err := opts.config()
	if err != nil {
		return nil, p.Error(err)
	}
	key, err := keyType(reflect.TypeFor[K]())
	if err != nil {
		return nil, p.Error(err)
	}
	value, err := valueType(reflect.TypeFor[V]())
	if err != nil {
		return nil, p.Error(err)
	}
	p.Options = c.segment
	m := &Map[K, V]{keys: newKeyForm(key)}
	m.words = m.keys.spans == nil && mem.IsWords[K]()
	m.short = value.Size <= mostShort && mem.CanHaveWords[V]() && !mem.PinReads
	if err := m.c.open(p, key, value, &c); err != nil {
		return nil, err
	}
	return m, nil
}

// open opens a map of those types.
func (c *core) open(p *stream.Plan, key, value *format.Type, o *config) error {
	p.New = func(int) (*format.Type, error) { return typeOf(layoutOf(key, value, o)) }
	p.Like = func(stored, _ *format.Type) (*format.Type, error) {
		l, err := layout.MapLike(stored, key, value)
		if err == nil {
			err = o.check(l)
		}
		if err == nil {
			err = differences(stored, l)
		}
		return typeOf(l, err)
	}
	return c.attach(p)
}

// attach opens a map by a plan.
func (c *core) attach(p *stream.Plan) error {
	seg, mapping, t, err := p.Open()
	if err != nil {
		return err
	}
	l, err := layout.MapOf(t)
	if err == nil {
		err = c.bind(seg, mapping, l)
	}
	if err != nil {
		_ = seg.Close()
		return p.Error(err)
	}
	return nil
}

// differences returns how keys and values differ from those of the map that is stored.
func differences(stored *format.Type, l *layout.Map) error {
	is, err := layout.MapOf(stored)
	if err != nil {
		return err
	}
	var all []error
	for _, d := range append(format.DiffAt("Key", l.Key, is.Key),
		format.DiffAt("Value", l.Value, is.Value)...) {
		all = append(all, errors.New(d.String()))
	}
	return errors.Join(all...)
}

func typeOf(l *layout.Map, err error) (*format.Type, error) {
	if err != nil {
		return nil, err
	}
	return l.Type, nil
}

// layoutOf lays out a new map.
func layoutOf(key, value *format.Type, c *config) (*layout.Map, error) {
	s, err := table.ShapeOf(c.capacity, key.Size, value.Size)
	if err != nil {
		return nil, layout.ErrSize
	}
	return layout.NewMap(key, value, c.evict, layout.MapCounts{
		Stripes: s.Stripes, Buckets: s.Buckets, Marks: s.Marks(), Cells: s.Cells(),
	})
}

// Get returns the value of a key, or the zero value if there is none. It takes no lock, and waits
// for no other process. If the value is replaced faster than it can be copied, thousands of times
// in a row, it is shmem.ErrContended.
func (m *Map[K, V]) Get(k K) (v V, found bool, err error) {
	if m.words && m.short && m.read(&k, &v) {
		return v, true, nil
	}
	if found, err = m.find(&k, &v); !found {
		var none V
		v = none // a part of another value may have been copied
	}
	return v, found, err
}

// GetTo is Get into *v. It copies a large value once. If there is none *v is undefined.
func (m *Map[K, V]) GetTo(k K, v *V) (found bool, err error) {
	if m.words && m.short && m.read(&k, v) {
		return true, nil
	}
	return m.find(&k, v)
}

// mostShort is how many bytes a value may have that table.Read reads: it copies word by word.
const mostShort = 256

// read copies the value of a key that is made of words, if it is found at once. It takes the
// address of the key: a copy of one that the caller has stored word by word may have to wait until
// these stores have reached the cache, behind stores of values that have not come from memory yet.
func (m *Map[K, V]) read(k *K, v *V) bool {
	return m.c.t.Read(mem.FirstWord(k), mem.FirstByte(v)) && !m.c.M.Closed()
}

// find is Get of an entry that read does not find.
func (m *Map[K, V]) find(k *K, v *V) (found bool, err error) {
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(k))
	if m.short && !m.words && m.c.t.Read(&key[0], mem.FirstByte(v)) && !m.c.M.Closed() {
		return true, nil
	}
	e, err := m.c.get(key, mem.Bytes(v))
	if err != nil {
		return false, m.c.fail("get", err)
	}
	return e.Cell >= 0, nil
}

// Set stores a value. It replaces the value that is there, and the time at which it expires: the
// new one never does. It waits for another process that changes this entry or one that has the same
// lock. Without room the error is ErrFull. After an error nothing has changed.
func (m *Map[K, V]) Set(ctx context.Context, k K, v V) error { return m.SetFor(ctx, k, v, 0) }

// SetFor is Set of an entry that expires when ttl has passed. A ttl of 0 means never; a negative
// one is shmem.ErrBadOption.
func (m *Map[K, V]) SetFor(ctx context.Context, k K, v V, ttl time.Duration) error {
	var buf [inlineWords]uint64
	expires, err := expiry(ttl)
	if err != nil {
		return m.c.fail("set", err)
	}
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return m.c.fail("set", err)
	}
	defer m.c.end(&h)
	return m.c.fail("set", m.c.put(&h, key, mem.Bytes(&v), expires))
}

// Swap stores a value as Set does, and returns the one that was there.
func (m *Map[K, V]) Swap(ctx context.Context, k K, v V) (old V, found bool, err error) {
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return old, false, m.c.fail("swap", err)
	}
	defer m.c.end(&h)
	if h.slot.Found {
		m.c.load(&h, mem.Bytes(&old))
	}
	return old, h.slot.Found, m.c.fail("swap", m.c.put(&h, key, mem.Bytes(&v), 0))
}

// Update calls f with a copy of the value, or with a zero one if there is none, alone among all
// changes of the key. If f returns true the copy is stored, and expires when the entry did; if it
// returns false the entry is removed. If f returns an error or panics, or if the process dies,
// nothing has changed.
//
// Other processes can read the entry meanwhile. Changes of this key, and of those with the same
// lock, wait for f. So f must not change the map: it would wait for itself. It can read it.
func (m *Map[K, V]) Update(
	ctx context.Context, k K, f func(v *V, found bool) (keep bool, err error),
) error {
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return m.c.fail("update", err)
	}
	defer m.c.end(&h)
	var v V
	expires := int64(0)
	if h.slot.Found {
		m.c.load(&h, mem.Bytes(&v))
		expires = h.slot.Expires
	}
	keep, err := f(&v, h.slot.Found)
	switch {
	case err != nil:
		return err
	case !keep:
		m.c.remove(&h)
		return nil
	}
	return m.c.fail("update", m.c.put(&h, key, mem.Bytes(&v), expires))
}

// Expire lets an entry expire when ttl has passed. With a ttl of 0 it never does; a negative one is
// shmem.ErrBadOption. It reports false if there is no entry.
func (m *Map[K, V]) Expire(ctx context.Context, k K, ttl time.Duration) (found bool, err error) {
	expires, err := expiry(ttl)
	if err != nil {
		return false, m.c.fail("expire", err)
	}
	var buf [inlineWords]uint64
	key := m.keys.encode(&buf, mem.Bytes(&k))
	h, err := m.c.begin(ctx, key)
	if err != nil {
		return false, m.c.fail("expire", err)
	}
	defer m.c.end(&h)
	if !h.slot.Found {
		return false, nil
	}
	var v V
	m.c.load(&h, mem.Bytes(&v))
	return true, m.c.fail("expire", m.c.put(&h, key, mem.Bytes(&v), expires))
}

// Delete removes an entry. It reports false if there is none.
func (m *Map[K, V]) Delete(ctx context.Context, k K) (found bool, err error) {
	var buf [inlineWords]uint64
	h, err := m.c.begin(ctx, m.keys.encode(&buf, mem.Bytes(&k)))
	if err != nil {
		return false, m.c.fail("delete", err)
	}
	defer m.c.end(&h)
	m.c.remove(&h)
	return h.slot.Found, nil
}

// An Entry is a key with its value.
type Entry[K comparable, V any] struct {
	Key     K
	Value   V
	Expires time.Time // when it expires; the zero time means never
}

// All yields all entries, in no order. An entry is as it was at one moment; one that is stored or
// removed while All runs may be left out. All takes no lock. It ends with an error, one of those of
// Get, if there is one.
func (m *Map[K, V]) All() iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		var list []Entry[K, V]
		for b := range m.c.layout.Buckets {
			var err error
			if list, err = m.bucket(b, list[:0]); err != nil {
				yield(Entry[K, V]{}, m.c.fail("all", err))
				return
			}
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// bucket appends copies of the entries of a bucket to list.
func (m *Map[K, V]) bucket(bucket int, list []Entry[K, V]) ([]Entry[K, V], error) {
	var c Entry[K, V]
	key := make([]uint64, m.keys.words)
	err := m.c.readBucket(bucket, func() { list = list[:0] },
		func(e table.Entry) {
			c = Entry[K, V]{}
			m.c.t.Key(e, key)
			m.c.M.Load(mem.Bytes(&c.Value), m.c.valueAt(e.Cell))
		},
		func(e table.Entry) {
			if e.Expires != 0 {
				c.Expires = time.Unix(0, e.Expires)
			}
			decode(mem.Bytes(&c.Key), key)
			list = append(list, c)
		})
	return list, err
}

// Len returns the number of entries, with expired ones whose room was not needed yet. It is exact
// while no process changes the map. It is 0 after Close.
func (m *Map[K, V]) Len() int {
	if !m.c.M.Pin() {
		return 0
	}
	defer m.c.M.Unpin()
	return m.c.t.Len()
}

// Stats are counters of a map.
type Stats struct {
	Capacity int    // entries that there is room for
	Len      int    // entries that there are, see Map.Len
	Evicted  uint64 // entries that were removed to make room
	Expired  uint64 // expired entries that were removed to make room
	Repaired uint64 // changes that a dead process had left, and that were undone or finished
}

// Stats returns the counters of the map. They are zero after Close.
func (m *Map[K, V]) Stats() Stats {
	if !m.c.M.Pin() {
		return Stats{}
	}
	defer m.c.M.Unpin()
	h := m.c.header
	return Stats{
		Capacity: m.c.t.Capacity, Len: m.c.t.Len(), Evicted: h.Evicted.Load(),
		Expired: h.Expired.Load(), Repaired: h.Repairs.Load(),
	}
}

// Segment returns the map's segment.
func (m *Map[K, V]) Segment() *shmem.Segment { return m.c.Segment }

// Name returns the name of the map.
func (m *Map[K, V]) Name() string { return m.c.Segment.Name() }

// Linked reports whether the name still leads to this map; see shmem.Segment.Linked.
func (m *Map[K, V]) Linked() bool { return m.c.Segment.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this map: its owner
// has closed it, or it was removed. Attached processes can use the map until they close it. See
// shmem.Segment.Unlinked.
func (m *Map[K, V]) Unlinked() <-chan struct{} { return m.c.Segment.Unlinked() }

// Owned reports whether this attachment owns the map; see shmem.Segment.Owned.
func (m *Map[K, V]) Owned() bool { return m.c.Segment.Owned() }

// Own makes this attachment the owner; see shmem.Segment.Own.
func (m *Map[K, V]) Own() error { return m.c.Segment.Own() }

// Close ends the attachment; see shmem.Segment.Close. Calls that wait, and later ones, return
// shmem.ErrClosed.
func (m *Map[K, V]) Close() error { return m.c.Segment.Close() }

// Leak ends the attachment and leaves the map kept; see shmem.Segment.Leak.
func (m *Map[K, V]) Leak() error { return m.c.Segment.Leak() }
