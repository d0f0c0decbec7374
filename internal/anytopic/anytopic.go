// Package anytopic lays a topic over a segment whose item type is known at run time only, as the
// package topic does for a T: for tools, which are compiled without it.
package anytopic

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// A Topic is a topic in a mapping.
type Topic struct {
	Item   *format.Type
	Header *ring.BroadcastHeader
	Ring   *ring.Broadcast
	Holds  []ring.Hold

	m             *mem.Mapping
	first, stride int
}

// ErrNone: it is no topic.
var ErrNone = errors.New("the segment is no topic")

const name = "topic.Topic"

// Layout is the type of a topic of n messages; see topic.Options.
func Layout(item *format.Type, n, holds int) (*format.Type, error) {
	header, err1 := format.Of(reflect.TypeFor[ring.BroadcastHeader]())
	hold, err2 := format.Of(reflect.TypeFor[ring.Hold]())
	word, err3 := format.Of(reflect.TypeFor[atomic.Uint64]())
	whole, err4 := format.Of(reflect.TypeFor[uint64]())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	parts := []layout.Part{{Name: "Topic", Type: header}}
	if holds > 0 {
		parts = append(parts, layout.Part{Name: "Holds", Type: hold, Len: holds})
	}
	if up := (item.Size + whole.Align - 1) / whole.Align * whole.Align; up != item.Size {
		item = &format.Type{
			Kind: format.Struct, Name: format.Cell + item.Name + "]", Size: up, Align: max(item.Align, whole.Align),
			Fields: []format.Field{{Name: "Value", Type: item}},
		}
	}
	const lines = 128
	return layout.Struct(name, append(parts,
		layout.Part{Name: "Slots", Type: word, Len: n},
		layout.Part{Name: "Items", Type: item, Len: n, Align: lines})...)
}

// Item is the type of a topic's messages; nil if t is no topic.
func Item(t *format.Type) *format.Type {
	if t.Stream() != name || layout.Len(t, "Slots") == 0 || layout.Len(t, "Slots") != layout.Len(t, "Items") {
		return nil
	}
	return t.Item()
}

// Of lays a topic over a mapping with a payload of type t.
func Of(m *mem.Mapping, t *format.Type) (*Topic, error) {
	tp := &Topic{Item: Item(t), m: m}
	if tp.Item == nil {
		return nil, ErrNone
	}
	n, holds := layout.Len(t, "Items"), layout.Len(t, "Holds")
	if want, err := Layout(tp.Item, n, holds); err != nil || want.Fingerprint() != t.Fingerprint() {
		return nil, fmt.Errorf("%w of this version", ErrNone)
	}
	tp.first, tp.stride = layout.Offset(t, "Items"), t.Fields[len(t.Fields)-1].Type.Elem.Size
	var err error
	if tp.Header, err = mem.At[ring.BroadcastHeader](m, 0); err != nil {
		return nil, err
	}
	if holds > 0 {
		if tp.Holds, err = mem.SliceAt[ring.Hold](m, layout.Offset(t, "Holds"), holds); err != nil {
			return nil, err
		}
	}
	slots, err := mem.SliceAt[atomic.Uint64](m, layout.Offset(t, "Slots"), n)
	if err != nil {
		return nil, err
	}
	if _, err = mem.SliceAt[byte](m, tp.first, n*tp.stride); err != nil {
		return nil, err
	}
	tp.Ring, err = ring.NewBroadcast(tp.Header, slots, tp.Holds)
	return tp, err
}

// Place is the message at a position, in its place. The mapping is pinned.
func (t *Topic) Place(pos uint64) []byte {
	off := t.first + t.Ring.Index(pos)*t.stride
	return t.m.Payload()[off:][:t.Item.Size:t.Item.Size]
}

// Load copies the message at a position, which may be overwritten meanwhile.
func (t *Topic) Load(pos uint64, b []byte) {
	t.m.Load(b, t.first+t.Ring.Index(pos)*t.stride)
}

// Store copies b to the message at a position that was claimed.
func (t *Topic) Store(pos uint64, b []byte) {
	t.m.Store(t.first+t.Ring.Index(pos)*t.stride, b)
}
