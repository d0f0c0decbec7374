package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// A copier keeps the mirror of a map as its bucket is. It remembers a hash of each entry. So it
// finds what another process has changed in the mirror, and puts it right from the bucket.
type copier struct {
	b      *Bridge
	r      *route
	kv     jetstream.KeyValue
	bucket *bucket

	s       *state[mapWords]
	order   uint64 // of the last message, as the consumer counts
	pending uint64 // messages that there were when it began
	begun   time.Time
	head    uint64 // revision of the head

	mu     sync.Mutex
	m      stream.Entries // nil: not opened yet; this and what follows is guarded by mu
	t      *mapType
	keys   map[string]*copied
	parts  []copiedPart
	round  uint64
	loaded bool   // all that the bucket had has come, and the mirror has nothing else
	come   bool   // all that was pending has come
	upTo   uint64 // the revision up to which a bridge before this one has applied all
	high   uint64 // highest revision that has come

	doubtful map[string]change // what upTo includes, and the mirror is different
	late     []*copied         // there was no room for them
	room     bool              // there may be by now
	tried    time.Time         // when room was looked for last

	evicted  uint64   // by the mirror, as it was counted last
	versions []uint64 // of the parts
}

type copiedPart struct {
	version uint64
	keys    map[*copied]bool
}

// A copied is an entry as it is to be in the mirror.
type copied struct {
	name     string
	key      []byte
	part     int
	revision uint64 // 0: it is in the mirror, and nothing came from the bucket yet
	sum      uint64
	expires  int64
	round    uint64
	out      bool // the mirror had no room, or has evicted it
	inLate   bool
}

// A change is a message of the bucket.
type change struct {
	name     string
	removed  bool
	data     []byte
	revision uint64
}

// maxCapacity is that of a map.
const maxCapacity = 1 << 30

// mirrorLook is how often a mirror is looked at.
const mirrorLook = 20 * time.Millisecond

// mapIn mirrors a bucket to a map.
func (b *Bridge) mapIn(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	s, err := openState[mapWords](b.o.Dir, r)
	if err != nil {
		return err
	}
	defer s.close()
	c := &copier{
		b: b, r: r, kv: kv, s: s, begun: time.Now(),
		keys: map[string]*copied{}, doubtful: map[string]change{},
	}
	defer c.close()
	if c.bucket, err = b.openBucket(ctx, r); err != nil {
		return err
	}
	w := s.words()
	if w.Bucket.Load() != c.bucket.created {
		w.Revision.Store(0)
		w.Bucket.Store(c.bucket.created)
	}
	c.upTo = w.Revision.Load()
	var cons jetstream.Consumer
	err = together(ctx, c.begin, func(ctx context.Context) (err error) {
		cons, err = c.bucket.consumer(ctx, 0)
		return err
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	go func() { defer close(done); stop(c.guard(ctx)) }()
	c.pending = cons.CachedInfo().NumPending
	err = b.receive(ctx, r, cons, pullMap, c.gone, c.take)
	stop(err)
	<-done
	return context.Cause(ctx)
}

// begin opens the mirror, if a bridge sends the map.
func (c *copier) begin(ctx context.Context) error {
	m, err := c.bucket.last(ctx, headName)
	if err != nil || m == nil {
		return err
	}
	c.head = m.Sequence
	return c.open(ctx, m.Data)
}

func (c *copier) close() {
	if c.m != nil {
		_ = c.m.Close()
	}
	c.r.stats.noRoom.Store(0)
}

// gone reports whether the mirror was removed.
func (c *copier) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m != nil && closed(c.m.Unlinked())
}

// open opens the mirror for the types of the bridge that sends the map.
func (c *copier) open(ctx context.Context, b []byte) error {
	f, _, err := parseFrame(codes[kindMap], b)
	if err != nil {
		return fmt.Errorf("%w: key %s: %w", ErrRefused, headName, err)
	}
	schema, err := getSchema(ctx, c.kv, f.fingerprint)
	if err != nil {
		return err
	}
	t, err := mapTypeOf(schema)
	if err != nil {
		return err
	}
	m, err := stream.OpenEntries(c.r.segment, &shmem.Options{
		Dir: c.b.o.Dir, Undo: shmem.UndoNever,
	}, t.key, t.value, int(min(max(f.sequence, 1), maxCapacity)))
	if err != nil {
		return refusedType(err)
	}
	c.m, c.t, c.evicted = m, t, m.Evicted()
	c.parts = make([]copiedPart, m.Layout().Stripes)
	step.Reach(at.MapInOpened)
	return c.note()
}

// note notes what the mirror has.
func (c *copier) note() error {
	for i := range c.parts {
		p := &c.parts[i]
		p.version, p.keys = c.m.Version(i), map[*copied]bool{}
		err := c.m.Each(i, func(key, value []byte, expires int64) {
			x := &copied{
				name: keyName(c.t.key, key), key: key, part: i,
				sum: sumOf(value, expires), expires: expires,
			}
			c.keys[x.name] = x
			p.keys[x] = true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// take applies messages of the bucket.
func (c *copier) take(ctx context.Context, all []arrival) error {
	step.Reach(at.MapInReceived)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		a := &all[i]
		if c.order++; a.md.Sequence.Consumer != c.order {
			return errBegin // a message was lost on the way
		}
		err := c.receive(ctx, change{
			c.bucket.nameOf(a.msg.Subject), removes(a.msg.Header.Get), a.msg.Data,
			a.md.Sequence.Stream,
		})
		if err != nil {
			return err
		}
		if c.order >= c.pending || a.md.NumPending == 0 {
			c.come = true
			if err := c.compare(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive applies a change, or keeps it until the bucket is known to be at upTo: a server that lags
// behind sends what the mirror has had before, and would make it go back.
func (c *copier) receive(ctx context.Context, m change) error {
	switch {
	case m.name == headName && (m.removed || m.revision < c.head): // one that is not sent any more
		return nil
	case m.name == headName:
		f, _, err := parseFrame(codes[kindMap], m.data)
		if c.m == nil || err == nil && f.fingerprint != c.t.fingerprint {
			return errBegin
		}
		c.high = max(c.high, m.revision)
		return nil
	case c.m == nil: // it is of no bridge
		return nil
	}
	c.high = max(c.high, m.revision)
	if !c.loaded && m.revision <= c.upTo && c.differs(&m) {
		c.doubtful[m.name] = m
		return nil
	}
	delete(c.doubtful, m.name)
	if w := c.s.words(); m.revision > w.Revision.Load() {
		w.Revision.Store(m.revision)
	}
	return c.apply(ctx, &m)
}

// differs reports whether the mirror is not as a change makes it.
func (c *copier) differs(m *change) bool {
	x := c.keys[m.name]
	if m.removed || x == nil {
		return m.removed == (x != nil)
	}
	f, value, err := c.t.entry(m.name, m.data)
	return err == nil && x.sum != sumOf(value, int64(f.lost))
}

// compare makes the mirror be as the bucket was when the bridge began, once all of that has come.
// What the bucket had last by then may be gone from it; so it waits no longer than settleFor.
func (c *copier) compare(ctx context.Context) error {
	if c.loaded || !c.come || c.m == nil || c.high < c.upTo && time.Since(c.begun) < settleFor {
		return nil
	}
	c.loaded = true
	for _, m := range c.doubtful {
		if err := c.apply(ctx, &m); err != nil {
			return err
		}
	}
	c.doubtful = nil
	for _, x := range c.keys {
		if x.revision == 0 { // the bucket does not have it
			if err := c.remove(ctx, x); err != nil {
				return err
			}
		}
	}
	step.Reach(at.MapInCompared)
	return nil
}

// apply applies a change.
func (c *copier) apply(ctx context.Context, m *change) error {
	x := c.keys[m.name]
	if m.removed {
		if x == nil {
			return nil
		}
		return c.remove(ctx, x)
	}
	f, value, err := c.t.entry(m.name, m.data)
	if errors.Is(err, errOtherType) && m.revision < c.head {
		if x != nil { // the map had another type: the bridge that sends it replaces the entry
			x.revision = m.revision
		}
		return nil
	}
	if err != nil { // the bridge that sends the map puts the key right
		c.refuse(ctx, m.name, f.fingerprint, err)
		return nil
	}
	expires := int64(f.lost)
	if x == nil {
		x = &copied{name: m.name, key: f.key, part: -1}
		c.keys[m.name] = x
	}
	sum := sumOf(value, expires)
	if x.revision = m.revision; x.sum == sum && !x.out {
		return nil
	}
	x.sum, x.expires = sum, expires
	return c.set(ctx, x, value)
}

// refuse notes an entry that cannot be read.
func (c *copier) refuse(ctx context.Context, name string, fingerprint uint64, err error) {
	c.r.stats.poison.Add(1)
	if errors.Is(err, errOtherType) {
		other := fmt.Sprintf("%016x, which the bucket does not know", fingerprint)
		if t, err := getSchema(ctx, c.kv, fingerprint); err == nil {
			other = t.String()
			if o, err := mapTypeOf(t); err == nil {
				other = o.describe()
			}
		}
		err = fmt.Errorf("%w: it is %s, the map is %s", err, other, c.t.describe())
	}
	c.b.o.Logger.Warn("entry refused", "route", c.r.String(), "key", name, "error", err)
}

// set stores an entry in the mirror. Without room it is late.
func (c *copier) set(ctx context.Context, x *copied, value []byte) error {
	if x.expires != 0 && x.expires <= time.Now().UnixNano() {
		return c.remove(ctx, x)
	}
	i := c.m.Part(x.key)
	was := c.version(i)
	err := c.m.Set(ctx, x.key, value, x.expires)
	switch {
	case errors.Is(err, stream.ErrFull):
		x.out = true
		if !x.inLate {
			x.inLate = true
			c.late = append(c.late, x)
		}
		c.r.stats.noRoom.Store(int64(len(c.late)))
		return nil
	case err != nil:
		return err
	}
	step.Reach(at.MapInStored)
	x.out = false
	x.part = c.m.Part(x.key)
	c.parts[x.part].keys[x] = true
	if x.part == i {
		c.changed(i, was)
	}
	c.r.stats.sent.Add(1)
	return nil
}

// remove removes an entry from the mirror, and forgets it.
func (c *copier) remove(ctx context.Context, x *copied) error {
	if c.keys[x.name] == x {
		delete(c.keys, x.name)
	}
	if x.part >= 0 {
		delete(c.parts[x.part].keys, x)
	}
	i := c.m.Part(x.key)
	was := c.version(i)
	found, err := c.m.Delete(ctx, x.key)
	if err != nil {
		return err
	}
	if found {
		step.Reach(at.MapInRemoved)
		c.changed(i, was)
		c.r.stats.sent.Add(1)
	}
	c.room = true
	return nil
}

// version returns that of a part, which may be none yet.
func (c *copier) version(i int) uint64 {
	if i < 0 {
		return 0
	}
	return c.m.Version(i)
}

// changed notes a change of this bridge. If it was not the only one the part is looked at.
func (c *copier) changed(i int, was uint64) {
	p := &c.parts[i]
	if p.version == was && c.m.Version(i) == was+1 {
		p.version++
	}
}

// guard puts right what other processes change in the mirror, until an error.
func (c *copier) guard(ctx context.Context) error {
	tick := time.NewTicker(mirrorLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		begun := time.Now()
		if err := c.look(ctx); err != nil {
			return err
		}
		sleep(ctx, min(5*time.Since(begun), time.Second))
	}
}

// look looks at the parts that others have changed.
func (c *copier) look(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m != nil && closed(c.m.Unlinked()) {
		return errBegin
	}
	if err := c.compare(ctx); err != nil || !c.loaded {
		return err
	}
	c.round++
	c.versions = c.m.Versions(c.versions[:0])
	for i, version := range c.versions {
		if version == c.parts[i].version {
			continue
		}
		if err := c.lookAt(ctx, i); err != nil {
			return err
		}
	}
	if n := c.m.Evicted(); n > c.evicted {
		c.r.stats.evicted.Add(int64(n - c.evicted))
		c.evicted = n
	}
	return c.retry(ctx)
}

// lookAt compares a part of the mirror with what it should have.
func (c *copier) lookAt(ctx context.Context, i int) error {
	p := &c.parts[i]
	version := c.m.Version(i)
	var wrong []*copied
	err := c.m.Each(i, func(key, value []byte, expires int64) {
		name := keyName(c.t.key, key)
		x := c.keys[name]
		switch {
		case x == nil:
			wrong = append(wrong, &copied{name: name, key: key, part: -1})
			return
		case x.sum != sumOf(value, expires):
			x.out = false
			wrong = append(wrong, x)
		}
		x.round = c.round
	})
	if err != nil {
		return err
	}
	now := time.Now().UnixNano()
	for x := range p.keys {
		switch {
		case x.round == c.round || x.out || x.expires != 0 && x.expires <= now:
		case c.m.Layout().Evicting:
			x.out = true // until it changes
		default:
			wrong = append(wrong, x)
		}
	}
	p.version = version
	for _, x := range wrong {
		if err := c.right(ctx, i, x); err != nil {
			return err
		}
	}
	return nil
}

// right puts an entry right that another process has changed.
func (c *copier) right(ctx context.Context, i int, x *copied) error {
	if c.keys[x.name] != x {
		c.r.stats.localWrites.Add(1)
		return c.remove(ctx, x)
	}
	right, err := c.again(ctx, x)
	if err != nil {
		return err
	}
	if !right {
		c.parts[i].version = neverLooked
		return nil
	}
	c.r.stats.localWrites.Add(1)
	return nil
}

// again stores an entry as the bucket has it, if that is what came last. Otherwise the bucket
// tells soon, and it reports false.
func (c *copier) again(ctx context.Context, x *copied) (bool, error) {
	m, err := c.bucket.last(ctx, x.name)
	if err != nil || m == nil || m.Sequence != x.revision {
		return false, err
	}
	_, value, err := c.t.entry(x.name, m.Data)
	if err != nil {
		return false, nil
	}
	return true, c.set(ctx, x, value)
}

// retry stores the entries that had no room, if there may be some by now.
func (c *copier) retry(ctx context.Context) error {
	if len(c.late) == 0 || !c.room && time.Since(c.tried) < time.Second {
		return nil
	}
	c.room, c.tried = false, time.Now()
	late := c.late
	c.late = nil
	for i, x := range late {
		x.inLate = false
		if c.keys[x.name] != x || !x.out {
			continue
		}
		tried, err := c.again(ctx, x)
		if err != nil {
			return err
		}
		switch {
		case !tried: // the bucket tells more soon, or lags behind
			x.inLate = true
			c.late = append(c.late, x)
		case x.out: // there is no room
			c.late = append(c.late, late[i+1:]...)
			c.r.stats.noRoom.Store(int64(len(c.late)))
			return nil
		}
	}
	c.r.stats.noRoom.Store(int64(len(c.late)))
	return nil
}
