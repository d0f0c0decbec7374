package inspect

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/stream"
)

// A queueView reads a queue by loads alone. Senders and receivers go on meanwhile, so every message
// is checked again after it was copied. The memory may hold anything: all positions and sizes are
// checked against the mapping.
//
// The four forms of a queue are described at layout.Queue.
type queueView struct {
	m      *mem.Mapping
	layout *layout.Queue

	// Exactly one of single and header is not nil.
	single  *ring.SPSCHeader
	header  *ring.MPMCHeader
	slots   ring.Slots
	marks   []atomic.Uint64
	extents []ring.Extent // of a queue.Bytes: where the bytes of each message are

	stamps []atomic.Uint64 // when messages were sent; nil: not known, or with the messages
}

// queue lays a queueView over the mapping, which is pinned. o.t is the type of a queue.
func (o *Observer) queue() (*queueView, error) {
	l, err := layout.QueueOf(o.t)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", shmem.ErrMismatch, err)
	}
	if _, err := mem.SliceAt[byte](o.m, 0, l.Type.Size); err != nil {
		return nil, err
	}
	if l.Item != nil && l.Item.Size > MaxSnapshot {
		return nil, tooLarge(int64(l.Item.Size))
	}
	q := &queueView{m: o.m, layout: l}
	if l.Stamps != 0 {
		if q.stamps, err = mem.SliceAt[atomic.Uint64](o.m, l.Stamps, l.Capacity); err != nil {
			return nil, err
		}
	}
	if l.Single {
		q.single, err = mem.At[ring.SPSCHeader](o.m, 0)
		return q, err
	}
	if q.header, err = mem.At[ring.MPMCHeader](o.m, 0); err != nil {
		return nil, err
	}
	if q.slots, err = stream.QueueSlots(o.m, l); err != nil {
		return nil, err
	}
	if q.marks, err = mem.SliceAt[atomic.Uint64](o.m, l.Marks, l.Capacity); err != nil {
		return nil, err
	}
	if l.Item == nil {
		q.extents, err = mem.SliceAt[ring.Extent](o.m, l.Extents, l.Capacity)
	}
	return q, err
}

// slot returns the number of the slot, and of the item, of a position.
func (q *queueView) slot(pos uint64) int { return int(pos % uint64(q.layout.Capacity)) }

// word returns the word of the slot of a position.
func (q *queueView) word(pos uint64) uint64 { return q.slots.At(uint64(q.slot(pos))).Load() }

// byteAt returns the offset in the payload of a position in the ring of bytes.
func (q *queueView) byteAt(pos uint64) int {
	return q.layout.Items + int(
		pos%uint64(q.layout.Bytes))
}

// sent returns when the message of a position was sent; the zero time if the stamps do not say it.
func (q *queueView) sent(pos uint64) time.Time {
	if q.stamps == nil {
		return time.Time{}
	}
	return stream.TimeOf(int64(q.stamps[q.slot(pos)].Load()))
}

// load copies the item of a position, which a sender may overwrite meanwhile.
func (q *queueView) load(pos uint64) Value {
	item := q.layout.Item
	b := make([]byte, item.Size)
	q.m.LoadPart(b, q.layout.Items+q.slot(pos)*q.layout.Stride)
	return Value{item, b, 0, nil}
}

// States of a slot, in the top bits of its word; see package internal/ring and docs/format.md.
const (
	stateShift, lapShift = 61, 31

	stateReady   = 1
	stateClaimed = 3
	stateTaken   = 4
	stateAgain   = 6
	stateBatch   = 7
)

// waits reports whether the message of a position waits in its slot: it was published and not yet
// received, or its receiver died and it is to be redelivered (taken, by the id 0).
func (q *queueView) waits(pos uint64) bool {
	const lapMask, shortMask = 1<<stateShift - 1, 1<<(stateShift-lapShift) - 1
	w, lap := q.word(pos), pos/uint64(q.layout.Capacity)
	return w == stateReady<<stateShift|lap&lapMask ||
		w == stateTaken<<stateShift|(lap&shortMask)<<lapShift
}

// sharedMessages copies the last n messages of a queue for many senders and receivers.
func (q *queueView) sharedMessages(n int) []Message {
	now := q.header.Tail.Load()
	room := uint64(q.layout.Capacity)
	for range room { // the word Tail may lag behind the slots
		if !q.waits(now) {
			break
		}
		now++
	}
	return backwards(now, now-min(now, room), n, func(pos uint64, most int) (m Message, ok bool) {
		if !q.waits(pos) {
			return m, false
		}
		if q.layout.Item != nil {
			m.Value = q.load(pos)
		} else if m.Value, ok = q.loadExtent(pos, most); !ok {
			return m, false
		}
		m.Published, m.Delivered = q.sent(pos), q.delivered(pos)
		return m, q.waits(pos)
	})
}

// delivered returns how often the message of a position, which waits, was delivered.
func (q *queueView) delivered(pos uint64) int {
	lap := pos / uint64(q.layout.Capacity)
	w := q.word(pos)
	if w>>stateShift != stateTaken {
		return 0
	}
	return ring.Mark(q.marks[q.slot(pos)].Load()).Deliveries(lap)
}

// loadExtent copies the bytes of a message, at most so many. It reports false if its extent is
// damaged, or written at this moment.
func (q *queueView) loadExtent(pos uint64, most int) (v Value, ok bool) {
	e, room := &q.extents[q.slot(pos)], uint64(q.layout.Bytes)
	start, size := e.Start.Load()%room, e.Size.Load()
	if size > room || start+size > room || size > uint64(most) {
		return v, false
	}
	v.b = make([]byte, size)
	q.m.LoadPart(v.b, q.byteAt(start))
	return v, true
}

// bytesUsed returns how many bytes the messages occupy that are sent, being sent or being received.
func (q *queueView) bytesUsed() (sum uint64) {
	for i := range q.slots.Len() {
		switch q.slots.At(uint64(i)).Load() >> stateShift {
		case stateReady, stateClaimed, stateTaken, stateAgain, stateBatch:
			sum += roundUp8(q.extents[i].Size.Load())
		}
	}
	return min(sum, uint64(q.layout.Bytes))
}

// singleMessages copies the last n messages of a Single queue. The sender overwrites an item only
// after Head has passed it, so Head tells whether a copy is whole.
func (q *queueView) singleMessages(n int) []Message {
	head, tail := q.single.Head.Load(), q.single.Tail.Load()
	return backwards(min(tail, head+uint64(q.layout.Capacity)), head, n,
		func(pos uint64, _ int) (Message, bool) {
			m := Message{Value: q.load(pos), Published: q.sent(pos)}
			return m, q.single.Head.Load() <= pos
		})
}

const (
	recordHeader = 8 // bytes of a record's length, before its bytes
	// in place of a length: the next record is at the beginning of the ring
	recordWrap = ^uint64(0)
)

// A record is where a message of a Single queue.Bytes is.
type record struct{ pos, size uint64 }

// singleBytes copies the last n messages of a Single queue.Bytes. A record can be found only by
// way of all records before it, and the receiver may release those while they are read: the walk
// counts only if Head has not moved.
func (q *queueView) singleBytes(n int) ([]Message, error) {
	const tries = 100
	for range tries {
		head := q.single.Head.Load()
		records, err := q.records(head, n)
		var all []Message
		for _, r := range records {
			all = append(all, q.messageOf(r))
		}
		if q.single.Head.Load() == head {
			return all, err
		}
	}
	return nil, fmt.Errorf("%w: the receiver is faster than the messages can be copied",
		shmem.ErrContended)
}

// stampBytes is what the stamp of a record takes, before the message.
func (q *queueView) stampBytes() uint64 {
	if !q.layout.Stamped {
		return 0
	}
	return 8
}

// messageOf copies the message of a record.
func (q *queueView) messageOf(r record) Message {
	b := make([]byte, r.size)
	q.m.LoadPart(b, q.byteAt(r.pos)+recordHeader)
	m := Message{Seq: r.pos, Time: time.Now(), Value: Value{b: b}}
	if q.layout.Stamped {
		m.Published = stream.TimeOf(int64(binary.NativeEndian.Uint64(b)))
		m.Value.b = b[q.stampBytes():]
	}
	return m
}

// records walks the records from head to the tail, and returns the last n of them. The error, and
// what was found, means something only if Head is still the same afterwards.
func (q *queueView) records(head uint64, n int) (found []record, err error) {
	room, tail := uint64(q.layout.Bytes), q.single.Tail.Load()
	if tail-head > room || (head|tail|room)%8 != 0 {
		return nil, fmt.Errorf("%w: bytes %d to %d of a ring of %d", shmem.ErrCorrupt, head, tail,
			room)
	}
	for pos := head; pos < tail; {
		size, rest := q.recordLen(pos), room-pos%room
		if size == recordWrap {
			pos += rest
			continue
		}
		if size < q.stampBytes() || size > rest ||
			recordHeader+roundUp8(size) > min(rest, tail-pos) {
			return nil, fmt.Errorf("%w: a record of %d bytes at %d", shmem.ErrCorrupt, size, pos)
		}
		found = append(found, record{pos, size})
		if n < len(found)/2 && len(found) > 1000 { // the first ones are not wanted
			found = append(found[:0], found[len(found)-n:]...)
		}
		pos += recordHeader + roundUp8(size)
	}
	return lastRecords(found, n), nil
}

// lastRecords returns the last n records that have at most MaxSnapshot bytes together.
func lastRecords(all []record, n int) []record {
	room, from := uint64(MaxSnapshot), len(all)
	for from > 0 && len(all)-from < n {
		need := all[from-1].size + messageCost
		if need > room {
			break
		}
		room -= need
		from--
	}
	return all[from:]
}

func (q *queueView) recordLen(pos uint64) uint64 {
	var b [recordHeader]byte
	q.m.LoadPart(b[:], q.byteAt(pos))
	return binary.NativeEndian.Uint64(b[:])
}

func roundUp8(n uint64) uint64 { return (n + 7) &^ 7 }
