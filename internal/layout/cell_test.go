package layout_test

import (
	"reflect"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// TestStride has the distance between items, with and without spare room, and reads it back from
// the type that a segment stores.
func TestStride(t *testing.T) {
	for _, c := range []struct {
		item          reflect.Type
		reserve       int
		queue, topics int
	}{
		{reflect.TypeFor[byte](), 0, 1, 8},
		{reflect.TypeFor[byte](), 1, 8, 8},
		{reflect.TypeFor[item](), 0, 12, 16},
		{reflect.TypeFor[item](), 4, 16, 16},
		{reflect.TypeFor[item](), 5, 24, 24},
		{reflect.TypeFor[uint64](), 0, 8, 8},
		{reflect.TypeFor[uint64](), 100, 112, 112},
	} {
		it := of(t, c.item)
		q := layout.StrideOf(layout.QueueName, it, c.reserve)
		tp := layout.StrideOf(layout.TopicName, it, c.reserve)
		if reflect.TypeFor[uintptr]().Size() == 8 && (q != c.queue || tp != c.topics) {
			t.Errorf("%v with %d spare: %d and %d, want %d and %d", c.item, c.reserve, q, tp, c.queue, c.topics)
		}
		for _, single := range []bool{false, true} {
			want, err := layout.SpacedQueue(it, 5, single, q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := layout.QueueOf(stored(t, want.Type))
			if err != nil || got.Cell != q || got.Stride != want.Stride || got.Item.Fingerprint() != it.Fingerprint() {
				t.Errorf("%v: %+v, %v", c.item, got, err)
			}
		}
		want, err := layout.SpacedTopic(it, 5, 1, tp)
		if err != nil {
			t.Fatal(err)
		}
		got, err := layout.TopicOf(stored(t, want.Type))
		if err != nil || got.Stride != tp || got.Item.Fingerprint() != it.Fingerprint() {
			t.Errorf("%v: %+v, %v", c.item, got, err)
		}
	}
}

// TestGrown lays out the same ring with an item that has fields appended: nothing moves.
func TestGrown(t *testing.T) {
	short := of(t, reflect.TypeFor[struct{ A uint32 }]())
	for _, long := range []*format.Type{
		of(t, reflect.TypeFor[struct {
			A uint32
			B uint64
		}]()),
		of(t, reflect.TypeFor[struct {
			A uint32
			B [5]uint32
		}]()), // all the room there is
	} {
		stride := layout.StrideOf(layout.QueueName, short, 20)
		a, err := layout.SpacedQueue(short, 9, false, stride)
		if err != nil {
			t.Fatal(err)
		}
		b, err := layout.QueueLike(stored(t, a.Type), long)
		if err != nil || b.Type.Size != a.Type.Size || b.Items != a.Items || b.Stride != a.Stride {
			t.Errorf("%+v, %v", b, err)
		}
		back, err := layout.QueueLike(stored(t, b.Type), short)
		if err != nil || back.Type.Fingerprint() != a.Type.Fingerprint() {
			t.Errorf("%+v, %v", back, err)
		}
		tp, err := layout.SpacedTopic(short, 9, 0, stride)
		if err != nil {
			t.Fatal(err)
		}
		grown, err := layout.TopicLike(stored(t, tp.Type), long)
		if err != nil || grown.Type.Size != tp.Type.Size || grown.Items != tp.Items {
			t.Errorf("%+v, %v", grown, err)
		}
	}
	q, err := layout.SpacedQueue(short, 9, false, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layout.QueueLike(q.Type, of(t, reflect.TypeFor[[3]uint32]())); err != layout.ErrSize {
		t.Errorf("an item larger than its cell: %v", err)
	}
}
