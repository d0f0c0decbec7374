// Package anytopic lays a topic over a segment whose item type is known at run time only, as the
// package topic does for a T: for tools, which are compiled without it.
package anytopic

import (
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

// Of lays a topic over a mapping with a payload of type t.
func Of(m *mem.Mapping, t *format.Type) (*Topic, error) {
	l, err := layout.TopicOf(t)
	if err != nil {
		return nil, err
	}
	tp := &Topic{Item: l.Item, m: m, first: l.Items, stride: l.Stride}
	if tp.Header, err = mem.At[ring.BroadcastHeader](m, 0); err != nil {
		return nil, err
	}
	if tp.Holds, err = mem.SliceAt[ring.Hold](m, l.HoldsAt, l.Holds); err != nil {
		return nil, err
	}
	slots, err := mem.SliceAt[atomic.Uint64](m, l.Slots, l.Capacity)
	if err != nil {
		return nil, err
	}
	if _, err = mem.SliceAt[byte](m, l.Items, l.Capacity*l.Stride); err != nil {
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
