package inspect

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/anytopic"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// Messages copies the messages that are in a queue or topic, the oldest first; if n is not 0, the last n of them. It
// receives nothing and disturbs nobody: each was there, whole, while it was copied, but they need not have been there
// all at once. The Seq of a queue's message counts from its creation; in a queue of bytes with one sender it counts
// bytes. The value of a message of a queue of bytes is raw. A segment that is no queue or topic is shmem.ErrMismatch.
func (s *Observer) Messages(n int) (all []Message, err error) {
	err = s.looking("messages", func() (err error) { all, err = s.messages(n); return err })
	return all, err
}

// looking calls f with the mapping pinned; a fault is an error.
func (s *Observer) looking(op string, f func() error) (err error) {
	if s.m == nil || !s.m.Pin() {
		return &shmem.Error{Op: op, Name: s.info.Name, Err: shmem.ErrClosed}
	}
	defer s.m.Unpin()
	if fault := s.m.Guard(func() { err = f() }); fault != nil {
		err = &shmem.FaultError{Name: s.info.Path, Addr: fault.Addr, Err: fault.Err}
	}
	if err != nil {
		return &shmem.Error{Op: op, Name: s.info.Name, Err: err}
	}
	return nil
}

func (s *Observer) messages(n int) ([]Message, error) {
	if layout.Stream(s.t) == "" {
		return nil, fmt.Errorf("%w: it is no queue or topic", shmem.ErrMismatch)
	}
	if n <= 0 {
		n = int(^uint(0) >> 1)
	}
	if layout.Stream(s.t) == "topic.Topic" {
		tp, err := anytopic.Of(s.m, s.t)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", shmem.ErrMismatch, err)
		}
		now := tp.Ring.Now()
		return back(now, tp.Ring.Oldest(), n, func(pos uint64) (Value, bool) {
			if !tp.Ring.Valid(pos) {
				return Value{}, false
			}
			b := make([]byte, tp.Item.Size)
			tp.Load(pos, b)
			return Value{tp.Item, b, 0, nil}, tp.Ring.Valid(pos)
		}), nil
	}
	q, err := s.queue()
	switch {
	case err != nil:
		return nil, err
	case q.slots != nil:
		return q.many(n), nil
	case q.item == nil:
		return q.records(n)
	}
	head, tail := q.single.Head.Load(), q.single.Tail.Load()
	return back(min(tail, head+q.n), head, n, func(pos uint64) (Value, bool) {
		v := q.load(pos)
		return v, q.single.Head.Load() <= pos // its place is used again only after that
	}), nil
}

// back collects up to n messages from the one before now backwards.
func back(now, oldest uint64, n int, at func(uint64) (Value, bool)) (all []Message) {
	for pos := now; pos > oldest && len(all) < n; {
		pos--
		if v, ok := at(pos); ok {
			all = append(all, Message{pos, time.Now(), v})
		}
	}
	slices.Reverse(all)
	return all
}

// A queue is a queue in a mapping, for those who only look.
type queue struct {
	m       *mem.Mapping
	item    *format.Type // nil: bytes
	n       uint64       // messages, of bytes those
	first   int          // where items or bytes begin
	single  *ring.SPSCHeader
	header  *ring.MPMCHeader
	slots   []atomic.Uint64
	extents []ring.Extent
	bytes   uint64
}

func (s *Observer) queue() (q *queue, err error) {
	t := s.t
	q = &queue{m: s.m, item: layout.Item(t)}
	last := t.Fields[len(t.Fields)-1]
	q.first, q.n = last.Offset, uint64(last.Type.Len)
	if _, err := mem.SliceAt[byte](s.m, q.first, last.Type.Size); err != nil {
		return nil, err
	}
	if layout.First(t) == "Single" {
		q.single, err = mem.At[ring.SPSCHeader](s.m, 0)
		return q, err
	}
	if q.header, err = mem.At[ring.MPMCHeader](s.m, 0); err != nil {
		return nil, err
	}
	if q.slots, err = mem.SliceAt[atomic.Uint64](s.m, layout.Offset(t, "Slots"), layout.Len(t, "Slots")); err != nil {
		return nil, err
	}
	if len(q.slots) == 0 {
		return nil, fmt.Errorf("%w: it has no slots", shmem.ErrCorrupt)
	}
	if q.item == nil {
		q.bytes, q.n = q.n, uint64(len(q.slots))
		q.extents, err = mem.SliceAt[ring.Extent](s.m, layout.Offset(t, "Extents"), len(q.slots))
	} else if len(q.slots) != last.Type.Len {
		err = fmt.Errorf("%w: it has %d slots and %d items", shmem.ErrCorrupt, len(q.slots), last.Type.Len)
	}
	return q, err
}

// load copies an item, which may be overwritten meanwhile.
func (q *queue) load(pos uint64) Value {
	b := make([]byte, q.item.Size)
	q.m.LoadPart(b, q.first+int(pos%q.n)*q.item.Size)
	return Value{q.item, b, 0, nil}
}

// States of a slot; see package internal/ring and docs/format.md.
const (
	stateShift, lapShift = 61, 31

	ready   = 1
	claimed = 3
	taken   = 4
)

// there reports whether the message of a position waits in its slot: published and not taken, or given back.
func (q *queue) there(pos uint64) bool {
	const lapMask, shortMask = 1<<stateShift - 1, 1<<(stateShift-lapShift) - 1
	w, lap := q.slots[pos%q.n].Load(), pos/q.n
	return w == ready<<stateShift|lap&lapMask || w == taken<<stateShift|(lap&shortMask)<<lapShift
}

func (q *queue) many(n int) []Message {
	now := q.header.Tail.Load()
	for range q.n { // the tail may be behind
		if !q.there(now) {
			break
		}
		now++
	}
	return back(now, now-min(now, q.n), n, func(pos uint64) (v Value, ok bool) {
		if !q.there(pos) {
			return v, false
		}
		if q.item != nil {
			v = q.load(pos)
		} else {
			start, size, ok := q.extent(pos)
			if !ok {
				return v, false
			}
			v.b = make([]byte, size)
			q.m.LoadPart(v.b, q.first+start)
		}
		return v, q.there(pos)
	})
}

// extent is where the bytes of a message are; it may be damaged.
func (q *queue) extent(pos uint64) (start, size int, ok bool) {
	e := &q.extents[pos%q.n]
	at, n := e.Start.Load()%q.bytes, e.Size.Load()
	if n > q.bytes || at+n > q.bytes {
		return 0, 0, false
	}
	return int(at), int(n), true
}

// fill is how many bytes messages take that are in the queue, being sent, or being received.
func (q *queue) fill() (sum uint64) {
	for i := range q.slots {
		switch q.slots[i].Load() >> stateShift {
		case ready, claimed, taken:
			sum += (q.extents[i].Size.Load() + 7) &^ 7
		}
	}
	return min(sum, q.bytes)
}

// records reads a Single queue of bytes: each message behind a word with its length, and a word of ones where the next
// one is at the beginning of the ring.
func (q *queue) records(n int) ([]Message, error) {
	word := func(pos uint64) uint64 {
		var b [8]byte
		q.m.LoadPart(b[:], q.first+int(pos%q.n))
		return binary.NativeEndian.Uint64(b[:])
	}
again:
	for range 100 { // the receiver may be faster than this loop
		type record struct {
			pos  uint64
			size uint64
		}
		var found []record
		head := q.single.Head.Load()
		tail := q.single.Tail.Load()
		if tail-head > q.n || (head|tail|q.n)%8 != 0 {
			return nil, fmt.Errorf("%w: bytes %d to %d of a ring of %d", shmem.ErrCorrupt, head, tail, q.n)
		}
		for pos := head; pos < tail; {
			size, rest := word(pos), q.n-pos%q.n
			if size == ^uint64(0) {
				pos += rest
				continue
			}
			if size > rest || 8+(size+7)&^7 > min(rest, tail-pos) {
				if q.single.Head.Load() != head {
					continue again
				}
				return nil, fmt.Errorf("%w: a record of %d bytes at %d", shmem.ErrCorrupt, size, pos)
			}
			found = append(found, record{pos, size})
			pos += 8 + (size+7)&^7
		}
		var all []Message
		for _, r := range found[len(found)-min(len(found), n):] {
			b := make([]byte, r.size)
			q.m.LoadPart(b, q.first+int(r.pos%q.n)+8)
			all = append(all, Message{r.pos, time.Now(), Value{b: b}})
		}
		// What was released meanwhile may be overwritten, and with it the words that led on from there.
		if q.single.Head.Load() == head {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w: its messages change faster than they can be copied", shmem.ErrBusy)
}
