package layout_test

import (
	"errors"
	"math"
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/cache"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/pool"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/table"
)

// of returns the schema of a Go type.
func of(t *testing.T, goType reflect.Type) *format.Type {
	t.Helper()
	s, err := format.Of(goType)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStructs compares the structs of packages ring and table with what the layout says of them: names,
// offsets, sizes, alignments and types of all fields.
func TestStructs(t *testing.T) {
	for _, c := range []struct {
		goType reflect.Type
		layout *format.Type
	}{
		{reflect.TypeFor[ring.MPMCHeader](), layout.ManyHeader},
		{reflect.TypeFor[ring.MPMCBytesHeader](), layout.ManyBytesHeader},
		{reflect.TypeFor[ring.SPSCHeader](), layout.SingleHeader},
		{reflect.TypeFor[ring.Extent](), layout.Extent},
		{reflect.TypeFor[ring.BroadcastHeader](), layout.TopicHeader},
		{reflect.TypeFor[ring.BroadcastBytesHeader](), layout.TopicBytesHeader},
		{reflect.TypeFor[ring.Hold](), layout.Hold},
		{reflect.TypeFor[table.Header](), layout.MapHeader},
		{reflect.TypeFor[table.Stripe](), layout.Stripe},
		{reflect.TypeFor[calls.Header](), layout.CallHeader},
		{reflect.TypeFor[calls.Server](), layout.CallServer},
		{reflect.TypeFor[calls.Slot](), layout.CallSlot},
		{reflect.TypeFor[cache.Header](), layout.CacheHeader},
		{reflect.TypeFor[cache.Shard](), layout.Shard},
		{reflect.TypeFor[pool.Header](), layout.PoolHeader},
		{reflect.TypeFor[atomic.Uint64](), layout.Word},
	} {
		if got := of(t, c.goType); !reflect.DeepEqual(got, c.layout) {
			t.Errorf("%v is\n%s\nthe layout says\n%s", c.goType, got.Declaration(), c.layout.Declaration())
		}
		if c.goType.Kind() == reflect.Struct && c.goType.Name() != "Uint64" {
			offsets(t, c.goType, c.layout)
		}
	}
}

// offsets compares offsets without the help of package format.
func offsets(t *testing.T, goType reflect.Type, l *format.Type) {
	t.Helper()
	if int(goType.Size()) != l.Size {
		t.Errorf("%v has %d bytes, the layout says %d", goType, goType.Size(), l.Size)
	}
	for _, f := range l.Fields {
		if g, ok := goType.FieldByName(f.Name); !ok || int(g.Offset) != f.Offset || int(g.Type.Size()) != f.Type.Size {
			t.Errorf("%v.%s: %d bytes at %d, the layout says %d at %d",
				goType, f.Name, g.Type.Size(), g.Offset, f.Type.Size, f.Offset)
		}
	}
}

type (
	item  [3]uint32  // 12 bytes: no multiple of 8
	large [15]uint32 // too large to be on one cache line with a word
)

// The payloads as Go structs, for one number of items.
type (
	manyQueue struct {
		Many  ring.MPMCHeader
		Slots [7]atomic.Uint64
		Marks [7]atomic.Uint64
		_     [16]byte
		Items [7]large
		_     [4]byte
	}
	smallQueue struct {
		Many  ring.MPMCHeader
		Marks [7]atomic.Uint64
		_     [72]byte
		Items [7]struct {
			Word  atomic.Uint64
			Value item
			_     [12]byte
		}
	}
	manyBytes struct {
		Many    ring.MPMCBytesHeader
		Slots   [7]atomic.Uint64
		Marks   [7]atomic.Uint64
		Extents [7]ring.Extent
		_       [32]byte
		Data    [64]byte
	}
	heldTopic struct {
		Topic ring.BroadcastHeader
		Holds [2]ring.Hold
		Slots [7]atomic.Uint64
		_     [72]byte
		Items [7]struct{ Value [2]uint64 }
	}
	bytesTopic struct {
		Topic   ring.BroadcastBytesHeader
		Holds   [2]ring.Hold
		Slots   [7]atomic.Uint64
		Extents [7]ring.Extent
		_       [88]byte
		Data    [64]byte
	}
	freeTopic struct {
		Topic ring.BroadcastHeader
		Slots [7]atomic.Uint64
		_     [72]byte
		Items [7]struct{ Value [2]uint64 }
	}
)

// TestPayloads compares whole payloads with Go structs that are written out.
func TestPayloads(t *testing.T) {
	it := of(t, reflect.TypeFor[item]())
	check := func(goType reflect.Type, l *format.Type, err error, at map[string]int) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if int(goType.Size()) != l.Size {
			t.Errorf("%s has %d bytes, want %d", l.Name, l.Size, goType.Size())
		}
		for name, off := range at {
			if f, ok := goType.FieldByName(name); !ok || int(f.Offset) != off || layout.Offset(l, name) != off {
				t.Errorf("%s.%s at %d and %d, want %d", l.Name, name, off, layout.Offset(l, name), f.Offset)
			}
		}
	}
	q, err := layout.NewQueue(of(t, reflect.TypeFor[large]()), 7, false)
	check(reflect.TypeFor[manyQueue](), q.Type, err, map[string]int{"Many": 0, "Slots": q.Slots, "Marks": q.Marks, "Items": q.Items})
	s, err := layout.NewQueue(it, 7, false)
	check(reflect.TypeFor[smallQueue](), s.Type, err, map[string]int{"Many": 0, "Marks": s.Marks, "Items": s.Slots})
	if s.Items != s.Slots+8 || s.Stride != 32 || s.WordStep != 4 || s.Cell != 12 || q.WordStep != 1 || q.Stride != q.Cell {
		t.Errorf("small %+v, large %+v", s, q)
	}
	b, err := layout.NewBytes(7, 64, false)
	check(reflect.TypeFor[manyBytes](), b.Type, err,
		map[string]int{"Many": 0, "Slots": b.Slots, "Marks": b.Marks, "Extents": b.Extents, "Data": b.Items})
	tb, err := layout.NewTopicBytes(7, 64, 2)
	check(reflect.TypeFor[bytesTopic](), tb.Type, err,
		map[string]int{"Topic": 0, "Holds": tb.HoldsAt, "Slots": tb.Slots, "Extents": tb.Extents, "Data": tb.Items})
	if reflect.TypeFor[uintptr]().Size() != 8 {
		return // a cell is larger only where words are
	}
	h, err := layout.NewTopic(it, 7, 2)
	check(reflect.TypeFor[heldTopic](), h.Type, err,
		map[string]int{"Topic": 0, "Holds": h.HoldsAt, "Slots": h.Slots, "Items": h.Items})
	f, err := layout.NewTopic(it, 7, 0)
	check(reflect.TypeFor[freeTopic](), f.Type, err, map[string]int{"Topic": 0, "Slots": f.Slots, "Items": f.Items})
	if h.Stride != 16 || f.HoldsAt != 0 {
		t.Errorf("stride %d, holds at %d", h.Stride, f.HoldsAt)
	}
}

// TestStored reads every layout back from the type that a segment stores.
func TestStored(t *testing.T) {
	for _, goType := range []reflect.Type{reflect.TypeFor[item](), reflect.TypeFor[uint64](), reflect.TypeFor[byte]()} {
		it := of(t, goType)
		for _, single := range []bool{false, true} {
			q, err := layout.NewQueue(it, 5, single)
			if err != nil {
				t.Fatal(err)
			}
			b, err := layout.NewBytes(5, 80, single)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []*layout.Queue{q, b} {
				got, err := layout.QueueOf(stored(t, want.Type))
				if err != nil || got.Single != single || got.Capacity != want.Capacity || got.Bytes != want.Bytes ||
					got.Items != want.Items || (got.Item == nil) != (want.Item == nil) {
					t.Errorf("%v: got %+v, want %+v", err, got, want)
				}
				if _, err := layout.TopicOf(want.Type); err != layout.ErrNoTopic {
					t.Errorf("%s taken for a topic: %v", want.Type.Name, err)
				}
			}
		}
		for _, holds := range []int{0, 3} {
			want, err := layout.NewTopic(it, 5, holds)
			if err != nil {
				t.Fatal(err)
			}
			got, err := layout.TopicOf(stored(t, want.Type))
			if err != nil || got.Capacity != 5 || got.Holds != holds || got.Items != want.Items ||
				got.Stride != want.Stride || got.Item.Fingerprint() != it.Fingerprint() {
				t.Errorf("%v: got %+v, want %+v", err, got, want)
			}
			if _, err := layout.QueueOf(want.Type); err != layout.ErrNoQueue {
				t.Errorf("a topic taken for a queue: %v", err)
			}
			bytes, err := layout.NewTopicBytes(5, 80, holds)
			if err != nil {
				t.Fatal(err)
			}
			got, err = layout.TopicOf(stored(t, bytes.Type))
			if err != nil || got.Capacity != 5 || got.Holds != holds || got.Bytes != 80 ||
				got.Items != bytes.Items || got.Extents != bytes.Extents || got.Item != nil {
				t.Errorf("%v: got %+v, want %+v", err, got, bytes)
			}
			if _, err := layout.QueueOf(bytes.Type); err != layout.ErrNoQueue {
				t.Errorf("a topic.Bytes taken for a queue: %v", err)
			}
		}
	}
}

// TestStamps: a topic with time stamps is read back as one, and has a stamp for each message.
func TestStamps(t *testing.T) {
	it := of(t, reflect.TypeFor[uint64]())
	items, err1 := layout.NewTopic(it, 5, 2)
	bytes, err2 := layout.NewTopicBytes(5, 80, 0)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, plain := range []*layout.Topic{items, bytes} {
		want, err := plain.WithStamps()
		if err != nil {
			t.Fatal(err)
		}
		got, err := layout.TopicOf(stored(t, want.Type))
		if err != nil || !got.Stamped || got.Stamps != want.Stamps || got.Items != want.Items ||
			got.Capacity != 5 || got.Holds != plain.Holds || got.Bytes != plain.Bytes {
			t.Errorf("%v: got %+v, want %+v", err, got, want)
		}
		if n := layout.Len(want.Type, "Stamps"); n != 5 || want.Stamps%8 != 0 || plain.Stamped {
			t.Errorf("%d stamps at %d, %+v", n, want.Stamps, plain)
		}
	}
}

// TestQueueStamps: a queue with time stamps is read back as one, and has a stamp for each message. In
// a Single queue of bytes the data begin where they do without stamps.
func TestQueueStamps(t *testing.T) {
	small, large := of(t, reflect.TypeFor[uint64]()), of(t, reflect.TypeFor[[9]uint64]())
	for _, single := range []bool{false, true} {
		a, err1 := layout.NewQueue(small, 5, single)
		b, err2 := layout.NewQueue(large, 5, single)
		c, err3 := layout.NewBytes(5, 80, single)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		for _, plain := range []*layout.Queue{a, b, c} {
			want, err := plain.WithStamps()
			if err != nil {
				t.Fatal(err)
			}
			got, err := layout.QueueOf(stored(t, want.Type))
			if err != nil || !got.Stamped || got.Stamps != want.Stamps || got.Items != want.Items ||
				got.Slots != want.Slots || got.Marks != want.Marks || got.Deaths != plain.Deaths ||
				got.Capacity != plain.Capacity || got.Bytes != plain.Bytes ||
				got.Stride != plain.Stride || got.WordStep != plain.WordStep {
				t.Errorf("%v: got %+v, want %+v", err, got, want)
			}
			n := 5
			if single && plain.Item == nil {
				n = 0
				if want.Items != plain.Items || want.Items != layout.SingleData() {
					t.Errorf("data at %d and %d", want.Items, plain.Items)
				}
			}
			if k := layout.Len(want.Type, "Stamps"); k != n || want.Stamps%8 != 0 || plain.Stamped ||
				want.Type.Fingerprint() == plain.Type.Fingerprint() {
				t.Errorf("%d stamps at %d, %+v", k, want.Stamps, plain)
			}
		}
	}
	if _, err := (&layout.Queue{Single: true, Bytes: 40}).WithStamps(); err != layout.ErrSize {
		t.Error(err)
	}
}

// stored returns the type as a segment gives it back.
func stored(t *testing.T, l *format.Type) *format.Type {
	t.Helper()
	s, err := format.Decode(l.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRefused has types that look like streams and are none of this version.
func TestRefused(t *testing.T) {
	it := of(t, reflect.TypeFor[item]())
	q, err := layout.NewQueue(it, 5, false)
	if err != nil {
		t.Fatal(err)
	}
	other := *q.Type
	other.Fields = append([]format.Field(nil), q.Type.Fields...)
	other.Fields[2].Offset += 128
	if _, err := layout.QueueOf(&other); err != layout.ErrNoQueue {
		t.Errorf("items at another offset: %v", err)
	}
	for _, typ := range []*format.Type{nil, it, layout.ManyHeader} {
		if layout.Stream(typ) != "" || layout.Item(typ) != nil {
			t.Errorf("%v is taken for a stream", typ)
		}
	}
	for _, f := range []func() error{
		func() error { _, err := layout.NewQueue(it, 0, true); return err },
		func() error { _, err := layout.NewQueue(it, math.MaxInt, true); return err },
		func() error { _, err := layout.NewBytes(0, 64, false); return err },
		func() error { _, err := layout.NewBytes(0, 0, true); return err },
		func() error { _, err := layout.NewTopic(it, 0, 0); return err },
		func() error { _, err := layout.NewTopic(it, 1, -1); return err },
		func() error { _, err := layout.NewTopicBytes(0, 64, 0); return err },
		func() error { _, err := layout.NewTopicBytes(1, 12, 0); return err },
		func() error { _, err := layout.NewTopicBytes(1, 64, -1); return err },
	} {
		if err := f(); err != layout.ErrSize {
			t.Errorf("a size that is not possible: %v", err)
		}
	}
}
