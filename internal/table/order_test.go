package table

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
	"github.com/shmembox/shmem/internal/robust"
)

// memory is the memory of a table in a test. Values have two words, so that a mixture is seen.
type memory struct {
	ops   []*op
	shape Shape
	parts Parts
	locks []atomic.Uint64
	// broken replaces Table.Read, if it is not nil: see TestBrokenIsCaught.
	broken func(t *Table, key uint64, value *[2]uint64) bool
}

func newMemory(s Shape) *memory {
	m := &memory{shape: s, locks: make([]atomic.Uint64, s.Stripes)}
	m.parts = Parts{
		Header: new(Header), Stripes: make([]Stripe, s.Stripes),
		Buckets: make([]atomic.Uint64, s.Buckets), Marks: make([]atomic.Uint64, s.Marks()),
		Cells: make([]atomic.Uint64, s.Cells()*s.Stride()),
	}
	m.parts.Header.Seed.Store(1)
	return m
}

// read and write copy a value, word by word.
func (m *memory) read(t *Table, cell int) (v [2]uint64) {
	at := t.ValueAt(cell) / 8
	for i := range v {
		v[i] = access.Load("copy out", &m.parts.Cells[at+i])
	}
	return v
}

func (m *memory) write(t *Table, cell int, v uint64) {
	at := t.ValueAt(cell) / 8
	for i := range 2 {
		access.Release("copy in", &m.parts.Cells[at+i], v)
	}
}

// words are all shared words.
func (m *memory) words() (all []*atomic.Uint64) {
	h := m.parts.Header
	all = append(all, &h.Hand, &h.Removed, &h.Timed)
	for i := range m.parts.Stripes {
		s := &m.parts.Stripes[i]
		all = append(all, &s.Version, &s.Intent, &s.Spare, &s.Count, &m.locks[i])
	}
	for _, list := range [][]atomic.Uint64{m.parts.Buckets, m.parts.Marks, m.parts.Cells} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

// An op is a call of an actor, and what it returned.
type op struct {
	kind    string // "put", "remove", "get"
	key     uint64
	value   byte
	expires int64
	got     int // value of a get, 0: none; of a put: 1 stored, 0 full; -1: not done
	before  []*op
	ended   bool
}

// A caller makes calls at a table, as an actor or after all have ended.
type caller struct {
	id  uint64
	w   *world
	m   *memory
	t   *Table
	now int64
	// first is Table.Read, or a broken one.
	first func(key uint64, value *[2]uint64) bool
}

func (m *memory) caller(w *world, id uint64, evict bool) *caller {
	c := &caller{id: id, w: w, m: m, now: 100}
	var err error
	c.t, err = New(m.shape, m.parts, Room{
		Evict: evict, Marks: evict, Now: func() int64 { return c.now }, TryLock: c.lock, Unlock: c.unlock,
	})
	if err != nil {
		panic(err)
	}
	c.first = func(key uint64, value *[2]uint64) bool {
		if m.broken != nil {
			return m.broken(c.t, key, value)
		}
		return c.t.Read(&key, (*byte)(unsafe.Pointer(value)))
	}
	return c
}

// lock locks a stripe unless a living actor holds it.
func (c *caller) lock(stripe int) bool {
	l := &c.m.locks[stripe]
	for {
		was := access.Load("lock", l)
		if was != 0 {
			dead := c.w.Dead(uint32(was))
			c.w.Note(map[bool]uint64{true: 1, false: 2}[dead])
			if !dead {
				return false
			}
		}
		if !access.CAS("lock", l, was, c.id) {
			continue
		}
		if was != 0 {
			if err := c.t.Repair(stripe); err != nil {
				panic(err)
			}
		}
		return true
	}
}

// unlock frees a stripe. The deferred calls of an actor that is killed do nothing.
func (c *caller) unlock(stripe int) {
	if !c.w.Dead(uint32(c.id)) {
		access.Release("unlock", &c.m.locks[stripe], 0)
	}
}

func (c *caller) put(key uint64, value byte, expires int64) int {
	k := []uint64{key}
	hash := Hash(1, k)
	s := c.t.StripeOf(hash)
	if !c.lock(s) {
		return -1
	}
	defer c.unlock(s)
	at, err := c.t.Lookup(hash, k)
	var change Change
	if err == nil {
		change, err = c.t.Begin(at, k, expires)
	}
	switch err {
	case nil:
		c.m.write(c.t, change.Cell, uint64(value))
		c.t.Commit(&change)
		return 1
	case ErrFull:
		return 0
	}
	panic(err)
}

func (c *caller) remove(key uint64) int {
	k := []uint64{key}
	hash := Hash(1, k)
	s := c.t.StripeOf(hash)
	if !c.lock(s) {
		return -1
	}
	defer c.unlock(s)
	at, err := c.t.Lookup(hash, k)
	if err != nil {
		panic(err)
	}
	c.t.Remove(at)
	if at.Found {
		return 1
	}
	return 0
}

func (c *caller) get(key uint64) int {
	var v [2]uint64
	if c.first(key, &v) {
		return numberIn(v)
	}
	k := []uint64{key}
	for {
		e, err := c.t.Find(Hash(1, k), k)
		if err != nil {
			panic(err)
		}
		if e.Cell < 0 {
			return 0
		}
		v = c.m.read(c.t, e.Cell)
		if !c.t.Valid(e) {
			continue
		}
		if c.t.Expired(e) {
			return 0
		}
		c.t.MarkUsed(e)
		return numberIn(v)
	}
}

// numberIn returns what was put into a value, 1000 if it is a mixture.
func numberIn(v [2]uint64) int {
	if v[0] != v[1] {
		return 1000
	}
	return int(v[0])
}

// do makes the call of an op, and records what it may follow.
func (c *caller) do(o *op) {
	for i, p := range c.m.ops {
		if p.ended {
			o.before = append(o.before, p)
			c.w.Note(uint64(i))
		}
	}
	c.m.ops = append(c.m.ops, o)
	switch o.kind {
	case "put":
		o.got = c.put(o.key, o.value, o.expires)
	case "remove":
		o.got = c.remove(o.key)
	case "get":
		o.got = c.get(o.key)
	}
	o.ended = true
}

// linearizable reports whether there is an order of the ops that a map of that capacity could have
// had. An op that was killed may have had its effect. A put may find the map full while another op
// runs.
func linearizable(ops []*op, state map[uint64]byte, capacity int, evict bool) bool {
	if len(ops) == 0 {
		return true
	}
	for i, o := range ops {
		if slices.ContainsFunc(ops, func(p *op) bool { return slices.Contains(o.before, p) }) {
			continue
		}
		rest := slices.Delete(slices.Clone(ops), i, i+1)
		for _, next := range o.apply(state, capacity, evict) {
			if linearizable(rest, next, capacity, evict) {
				return true
			}
		}
	}
	return false
}

func clone(m map[uint64]byte) map[uint64]byte {
	c := map[uint64]byte{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

// apply returns the states that o may lead to from a state.
func (o *op) apply(state map[uint64]byte, capacity int, evict bool) (next []map[uint64]byte) {
	if !o.ended || o.got == -1 {
		next = append(next, state)
	}
	if o.got == -1 {
		return next
	}
	switch o.kind {
	case "get":
		if !o.ended || int(state[o.key]) == o.got || evict && o.got == 0 {
			return append(next, state)
		}
	case "remove":
		if _, found := state[o.key]; !o.ended || found == (o.got == 1) || evict && o.got == 0 {
			s := clone(state)
			delete(s, o.key)
			next = append(next, s)
		}
	case "put":
		_, found := state[o.key]
		if o.ended && o.got == 0 { // full, or all that is free is in another call's hands
			return append(next, state)
		}
		s := clone(state)
		s[o.key] = o.value
		if found || len(state) < capacity {
			next = append(next, s)
		} else if evict {
			for k := range state {
				e := clone(s)
				delete(e, k)
				next = append(next, e)
			}
		}
	}
	return next
}

// A script is what one actor does.
type script []op

func put(key uint64, value byte) op { return op{kind: "put", key: key, value: value} }

// expiring is an entry that has expired when the actors begin.
func expiring(key uint64) op { return op{kind: "put", key: key, value: 9, expires: 50} }
func remove(key uint64) op   { return op{kind: "remove", key: key} }
func get(key uint64) op      { return op{kind: "get", key: key} }

// aCase has actors with scripts at a table with entries.
func aCase(shape Shape, evict bool, first []op, scripts ...script) func(w *world) func() error {
	return aCaseWith(nil, shape, evict, first, scripts...)
}

// aCaseWith is aCase with a broken Table.Read.
func aCaseWith(
	broken func(t *Table, key uint64, value *[2]uint64) bool,
	shape Shape, evict bool, first []op, scripts ...script,
) func(w *world) func() error {
	return func(w *world) func() error {
		m := newMemory(shape)
		m.broken = broken
		state := map[uint64]byte{}
		c := m.caller(w, 1000, evict)
		for _, o := range first {
			if c.put(o.key, o.value, o.expires) != 1 {
				panic("no room for the first entries")
			}
			if o.expires == 0 {
				state[o.key] = o.value
			}
		}
		w.Words = m.words()
		for i, s := range scripts {
			c := m.caller(w, uint64(i+1), evict)
			w.Spawn(uint32(c.id), func() {
				for _, o := range s {
					c.do(&o)
				}
			})
		}
		return func() error { return m.check(w, state, evict) }
	}
}

// check repairs what dead actors hold, and checks the table and what the calls have returned.
func (m *memory) check(w *world, state map[uint64]byte, evict bool) error {
	c := m.caller(w, 1001, evict)
	for i := range m.locks {
		if !c.lock(i) {
			return fmt.Errorf("stripe %d is locked", i)
		}
		c.unlock(i)
	}
	if err := m.whole(c.t); err != nil {
		return err
	}
	for k := range uint64(4) {
		c.do(&op{kind: "get", key: k})
	}
	capacity := m.shape.Capacity
	if !linearizable(m.ops, state, capacity, evict) {
		text := ""
		for _, o := range m.ops {
			text += fmt.Sprintf("%s %d %d: %d, ended %v, after %d\n", o.kind, o.key, o.value, o.got,
				o.ended, len(o.before))
		}
		return fmt.Errorf("not linearizable:\n%s", text)
	}
	// Every cell can be had: the map is filled, exactly.
	for k := range uint64(capacity + 1) {
		full := c.put(100+k, 1, 0) == 0
		if live := m.live(c.t); full && live < capacity || live > capacity {
			return fmt.Errorf("full is %v with %d of %d entries", full, live, capacity)
		}
	}
	return m.whole(c.t)
}

// live counts the entries that have not expired.
func (m *memory) live(t *Table) (n int) {
	for b := range m.shape.Buckets {
		list, err := t.Bucket(b, nil)
		if err != nil {
			panic(err)
		}
		for _, e := range list {
			if !t.Expired(e) {
				n++
			}
		}
	}
	return n
}

// whole checks that every cell is in one chain, or the spare one of one stripe, or free.
func (m *memory) whole(t *Table) error {
	uses := make([]string, m.shape.Cells())
	use := func(cell int, by string) error {
		if uses[cell] != "" {
			return fmt.Errorf("cell %d is %s and %s", cell, uses[cell], by)
		}
		uses[cell] = by
		return nil
	}
	n := 0
	for s := range m.shape.Stripes {
		c, err := t.spare(s)
		if err != nil {
			return err
		}
		if err := use(c, fmt.Sprint("spare of ", s)); err != nil {
			return err
		}
		if i := m.parts.Stripes[s].Intent.Load(); i != 0 {
			return fmt.Errorf("stripe %d has the intent %x", s, i)
		}
	}
	for b := range m.shape.Buckets {
		cells, err := t.chain(b)
		if err != nil {
			return err
		}
		for _, c := range cells {
			if err := use(c, fmt.Sprint("in bucket ", b)); err != nil {
				return err
			}
			if h := t.word(c, cellHash).Load(); h&uint64(m.shape.Buckets-1) != uint64(b) {
				return fmt.Errorf("cell %d with hash %x is in bucket %d", c, h, b)
			}
			n++
		}
	}
	if n != t.Len() {
		return fmt.Errorf("%d entries, counted %d", n, t.Len())
	}
	for c, u := range uses {
		owner := t.owner(c, t.word(c, cellState).Load())
		marked := t.unmarked(c/64)&(1<<(c%64)) == 0
		if (u == "") != (owner == 0) || u == "" && marked {
			return fmt.Errorf("cell %d is used as %q, its owner is %d, marked %v", c, u, owner, marked)
		}
	}
	return nil
}

var (
	one = Shape{Capacity: 2, Buckets: 1, Stripes: 1, Key: 8, Value: 16}
	two = Shape{Capacity: 2, Buckets: 2, Stripes: 2, Key: 8, Value: 16}
)

// keysOf returns keys of a stripe of shape two.
func keysOf(stripe uint64) (keys []uint64) {
	for k := uint64(0); len(keys) < 2; k++ {
		if Hash(1, []uint64{k})&1 == stripe {
			keys = append(keys, k)
		}
	}
	return keys
}

// TestEveryOrder goes through every order of the steps of a few calls, with kills at every step.
func TestEveryOrder(t *testing.T) {
	if robust.RaceEnabled && !full {
		t.Log("not now: the explorer runs one actor at a time, and the race detector finds nothing")
		return
	}
	a, b := keysOf(0), keysOf(1)
	if a[1] > 3 || b[1] > 3 {
		t.Fatal("the check reads keys below 4", a, b)
	}
	exhaust(t, "replace, get", 1, aCase(one, false, []op{put(0, 1), put(1, 2)},
		script{put(0, 3), put(0, 4)}, script{get(0), get(0)}))
	exhaust(t, "insert, get", 1, aCase(one, false, []op{put(0, 1)},
		script{put(1, 3)}, script{get(1), get(0)}))
	exhaust(t, "replace twice, get", 1, aCase(two, false, []op{put(a[0], 1)},
		script{put(a[0], 3), put(a[0], 4)}, script{get(a[0])}))
	exhaust(t, "another key in the cell of a replaced one", 1, aCase(two, false, []op{put(a[0], 1)},
		script{put(a[0], 3), put(a[1], 4)}, script{get(a[0])}))
	exhaust(t, "remove, get", 1, aCase(one, false, []op{put(0, 1), put(1, 2)},
		script{remove(0), put(2, 5)}, script{get(1), get(2)}))
	exhaust(t, "two writers of a stripe", 2, aCase(one, false, []op{put(0, 1)},
		script{put(0, 3)}, script{put(0, 4)}, script{get(0)}))
	exhaust(t, "repair after repair", 3, aCase(one, false, []op{put(0, 1)},
		script{put(1, 3)}, script{remove(0)}, script{put(0, 5)}))
	exhaust(t, "two stripes, the last cell", 2, aCase(two, false, []op{put(a[0], 1)},
		script{put(a[1], 3)}, script{put(b[0], 4)}))
	exhaust(t, "two stripes, a cell moves", 2, aCase(two, false, []op{put(a[0], 1), put(a[1], 2)},
		script{remove(a[0])}, script{put(b[0], 4), get(a[0])}))
	exhaust(t, "a cell moves under a reader", 0,
		aCase(two, false, []op{put(a[1], 1), put(a[0], 2)},
			script{remove(a[0])}, script{put(b[0], 4), put(b[0], 5)}, script{get(a[1])}))
	exhaust(t, "an expired entry makes room", 2,
		aCase(two, false, []op{expiring(a[0]), put(b[0], 2)},
			script{put(a[1], 3)}, script{put(b[1], 4)}, script{get(a[0])}))
	exhaust(t, "an expired entry is replaced", 2,
		aCase(two, false, []op{expiring(a[0]), put(b[0], 2)},
			script{put(a[0], 3)}, script{put(b[1], 4)}))
	exhaust(t, "evict", 1, aCase(two, true, []op{put(a[0], 1), put(b[0], 2)},
		script{put(a[1], 3)}, script{put(b[1], 4)}))
	exhaust(t, "evict, get", 1, aCase(two, true, []op{put(a[0], 1), put(b[0], 2)},
		script{put(a[1], 3)}, script{get(b[0]), get(a[0])}))
}

// A mistake is one that Table.Read could make.
type mistake int

const (
	oneLook    mistake = iota // it does not look at the link again
	keyBefore                 // it compares the key before it looks at the link again
	noGenAgain                // it does not look at the generation again
)

// readWith is Table.Read with a mistake.
func readWith(m mistake) func(t *Table, key uint64, value *[2]uint64) bool {
	return func(t *Table, key uint64, value *[2]uint64) bool {
		hash := Hash(1, []uint64{key})
		link := t.bucket(hash)
		first := access.Load("first", link)
		if first == 0 {
			return false
		}
		cell := int(first) - 1
		gen := access.Load("first gen", t.word(cell, cellGen))
		again := func() bool { return access.Load("first again", link) == first }
		if m == noGenAgain && !again() {
			return false
		}
		same := access.Load("first hash", t.word(cell, cellHash)) == hash &&
			t.hasKey(cell, []uint64{key})
		if m == keyBefore && !again() {
			return false
		}
		expires := access.Load("first expires", t.word(cell, cellExpires))
		for i := range value {
			value[i] = access.Load("first value", t.word(cell, t.valueAt+i))
		}
		whole := m == noGenAgain || access.Load("gen again", t.word(cell, cellGen)) == gen
		return same && whole && (expires == 0 || int64(expires) > t.room.Now())
	}
}

// TestBrokenIsCaught: the explorer finds the mistakes.
func TestBrokenIsCaught(t *testing.T) {
	if robust.RaceEnabled && !full {
		t.Log("not now: see TestEveryOrder")
		return
	}
	a := keysOf(0)
	accesstest.Caught(t, "one look at the link", 1, aCaseWith(readWith(oneLook), two, false,
		[]op{put(a[0], 1)}, script{put(a[0], 3), put(a[0], 4)}, script{get(a[0])}))
	accesstest.Caught(t, "the key is compared before the second look", 1,
		aCaseWith(readWith(keyBefore), two, false, []op{put(a[0], 1)},
			script{put(a[0], 3), put(a[1], 4)}, script{get(a[0])}))
	accesstest.Caught(t, "the generation is not loaded again", 1, aCaseWith(readWith(noGenAgain), two,
		false, []op{put(a[0], 1)}, script{put(a[0], 3), put(a[0], 4)}, script{get(a[0])}))
}
