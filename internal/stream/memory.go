package stream

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// A TopicMemory is a topic in a mapping: the ring laid over the payload, and the way to its items
// or bytes.
// It needs no attachment, so package inspect reads a topic by it.
type TopicMemory struct {
	Layout *layout.Topic
	Header *ring.BroadcastHeader
	Ring   *ring.Broadcast
	Slots  []atomic.Uint64 // the words of the slots of the ring
	// Size is that of an item as the caller knows it; other fields may be behind it, in its cell.
	// It is 0 in a topic.Bytes.
	Size   int
	m      *mem.Mapping
	stamps []atomic.Uint64 // when messages were published, in ns since 1970; nil: not known
}

// TopicIn lays a topic over a mapping whose payload has the type t. It is layout.ErrNoTopic if that
// is no topic of this version.
func TopicIn(m *mem.Mapping, t *format.Type) (*TopicMemory, error) {
	l, err := layout.TopicOf(t)
	if err != nil {
		return nil, err
	}
	tm := &TopicMemory{Layout: l, m: m}
	holds, err := mem.SliceAt[ring.Hold](m, l.HoldsAt, l.Holds)
	if err != nil {
		return nil, err
	}
	if tm.Slots, err = mem.SliceAt[atomic.Uint64](m, l.Slots, l.Capacity); err != nil {
		return nil, err
	}
	if l.Stamped {
		if tm.stamps, err = mem.SliceAt[atomic.Uint64](m, l.Stamps, l.Capacity); err != nil {
			return nil, err
		}
	}
	if l.Item == nil {
		return tm, tm.bindBytes(holds)
	}
	tm.Size = l.Item.Size
	if tm.Header, err = mem.At[ring.BroadcastHeader](m, 0); err != nil {
		return nil, err
	}
	if _, err = mem.SliceAt[byte](m, l.Items, l.Capacity*l.Stride); err != nil {
		return nil, err
	}
	tm.Ring, err = ring.NewBroadcast(tm.Header, tm.Slots, holds)
	return tm, err
}

// bindBytes is the part of TopicIn for a topic.Bytes.
func (t *TopicMemory) bindBytes(holds []ring.Hold) error {
	l := t.Layout
	h, err := mem.At[ring.BroadcastBytesHeader](t.m, 0)
	if err != nil {
		return err
	}
	extents, err := mem.SliceAt[ring.Extent](t.m, l.Extents, l.Capacity)
	if err != nil {
		return err
	}
	if _, err = mem.SliceAt[byte](t.m, l.Items, l.Bytes); err != nil {
		return err
	}
	t.Header = &h.BroadcastHeader
	t.Ring, err = ring.NewBroadcastBytes(h, t.Slots, extents, holds, l.Bytes)
	return err
}

// stamp writes the time of a position that the caller has claimed, if the topic has time stamps.
func (t *TopicMemory) stamp(pos uint64) {
	if t.stamps != nil {
		t.stamps[t.Ring.Index(pos)].Store(uint64(time.Now().UnixNano()))
	}
}

// Stamp returns when the message of a position was published, in nanoseconds since 1970; 0 if the
// topic has no time stamps. As with Load, it counts only if the ring says so after it.
func (t *TopicMemory) Stamp(pos uint64) int64 {
	if t.stamps == nil {
		return 0
	}
	return int64(t.stamps[t.Ring.Index(pos)].Load())
}

// TimeOf returns the time of a stamp, the zero time for 0.
func TimeOf(stamp int64) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return time.Unix(0, stamp)
}

// offset returns where the item of a position is in the payload.
func (t *TopicMemory) offset(pos uint64) int {
	return t.Layout.Items + t.Ring.Index(pos)*t.Layout.Stride
}

// InPlace returns the bytes of the item of a position, in the mapping. The caller has pinned it.
func (t *TopicMemory) InPlace(pos uint64) []byte {
	return t.m.Payload()[t.offset(pos):][:t.Size:t.Size]
}

// Load copies the item of a position to b, which has Size bytes. A publisher may overwrite the item
// meanwhile: the copy counts only if Ring.Valid reports true for the position after it.
func (t *TopicMemory) Load(pos uint64, b []byte) { t.m.Load(b, t.offset(pos)) }

// Store copies b to the item of a position that the caller has claimed, and zero to what is behind
// it.
func (t *TopicMemory) Store(pos uint64, b []byte) {
	t.m.StoreCell(t.offset(pos), b, t.Layout.Stride)
}

// clearRest writes zero to what is behind the item of a position that the caller has claimed.
func (t *TopicMemory) clearRest(pos uint64) {
	t.m.Clear(t.offset(pos)+t.Size, t.Layout.Stride-t.Size)
}

// Bytes returns the bytes of a message of a topic.Bytes, in the mapping: n at an offset that the
// ring has given. The caller has pinned it.
func (t *TopicMemory) Bytes(off, n int) []byte {
	return t.m.Payload()[t.Layout.Items+off:][:n:n]
}

// AppendBytes appends to buf a copy of the bytes of a message. As with Load, the copy counts only
// if the ring says so after it.
func (t *TopicMemory) AppendBytes(buf []byte, off, n int) []byte {
	had := len(buf)
	buf = slices.Grow(buf, n)[:had+n]
	t.m.Load(buf[had:], t.Layout.Items+off)
	return buf
}

// storeBytes copies b to the bytes of a message that the caller has claimed.
func (t *TopicMemory) storeBytes(off int, b []byte) {
	t.m.StoreCell(t.Layout.Items+off, b, (len(b)+7)&^7)
}
