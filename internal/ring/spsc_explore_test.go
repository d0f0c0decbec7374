package ring

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

// spscBench has one sender, one receiver, and a second one of each that starts when the first is
// dead.
type spscBench struct {
	*world
	h     SPSCHeader
	items []atomic.Uint64
	r     *SPSC
	sent  uint64 // values published: 1 to sent
	got   []uint64
	done  int // of got, released
	fault error
}

func (b *spscBench) fail(f string, a ...any) {
	if b.fault == nil {
		b.fault = fmt.Errorf(f, a...)
	}
}

func newSPSCBench(w *world, n int) *spscBench {
	b := &spscBench{world: w, items: make([]atomic.Uint64, 2*n)}
	b.r, _ = NewSPSC(&b.h, n)
	w.Share(&b.h.Tail, &b.h.Head, &b.h.Closed, &b.h.Producer, &b.h.Consumer)
	w.ShareAll(b.items)
	return b
}

// reserve is Reserve. A batch of 0 is one message by Next if there is room.
func reserve(s *Sender, batch int) (i, k int, next bool, err error) {
	if batch == 0 {
		if i, ok := s.Next(); ok {
			return i, 1, true, nil
		}
	}
	i, k, err = s.Reserve(max(batch, 1))
	return i, k, false, err
}

func peek(c *Receiver, batch int) (i, k int, next bool, err error) {
	if batch == 0 {
		if i, ok := c.Next(); ok {
			return i, 1, true, nil
		}
	}
	i, k, err = c.Peek(max(batch, 1))
	return i, k, false, err
}

func (b *spscBench) sender(id uint32, batch, tries int, early bool) func() {
	return func() {
		s, err := b.r.Sender(id, b.Alive)
		if err != nil {
			return
		}
		for range tries {
			i, k, next, err := reserve(s, batch)
			if err != nil {
				if err != ErrFull {
					b.fail("reserve: %v", err)
				}
				continue
			}
			publish := func() { s.Publish(k) }
			if next {
				publish = s.PublishNext
			}
			if early { // broken: seen before it is written
				publish()
			}
			for j := i; j < i+k; j++ {
				v := b.sent + uint64(j-i) + 1
				access.Store("item", &b.items[2*j], v)
				access.Store("item", &b.items[2*j+1], v)
			}
			if !early {
				publish()
			}
			b.sent += uint64(k)
			b.Note(b.sent)
		}
	}
}

func (b *spscBench) receiver(id uint32, batch, tries int, early bool) func() {
	return func() {
		c, err := b.r.Receiver(id, b.Alive)
		if err != nil {
			return
		}
		b.drain(c, batch, tries, early)
	}
}

func (b *spscBench) drain(c *Receiver, batch, tries int, early bool) {
	if b.done > len(b.got) {
		b.fail("%d released, %d read", b.done, len(b.got))
		return
	}
	b.got = b.got[:b.done] // what was not released comes again
	b.Note(uint64(b.done))
	for range tries {
		i, k, next, err := peek(c, batch)
		if err != nil {
			if err != ErrEmpty {
				b.fail("peek: %v", err)
			}
			continue
		}
		release := func() { c.Release(k) }
		if next {
			release = c.ReleaseNext
		}
		if early {
			release()
			b.done += k
		}
		for j := i; j < i+k; j++ {
			v := access.Load("item", &b.items[2*j])
			if u := access.Load("item", &b.items[2*j+1]); u != v {
				b.fail("torn %d %d", v, u)
			}
			b.got = append(b.got, v)
		}
		if !early {
			release()
			b.done = len(b.got)
		}
	}
}

func (b *spscBench) check() error {
	c, err := b.r.Receiver(99, func(uint32) bool { return false })
	if err != nil {
		return err
	}
	b.drain(c, 9, 3, false)
	for i, v := range b.got {
		if v != uint64(i+1) {
			b.fail("got %v", b.got)
		}
	}
	if uint64(len(b.got)) != b.sent {
		b.fail("sent %d, got %v", b.sent, b.got)
	}
	return b.fault
}

func TestSPSCEveryOrder(t *testing.T) {
	build := func(slots, batch int, earlySend, earlyRecv bool) func(w *world) func() error {
		return func(w *world) func() error {
			b := newSPSCBench(w, slots)
			b.Spawn(1, b.sender(1, batch, 2, earlySend))
			b.Spawn(2, b.receiver(2, batch, 2, earlyRecv))
			b.Spawn(3, b.sender(3, batch, 1, earlySend))
			b.Spawn(4, b.receiver(4, batch, 1, earlyRecv))
			return b.check
		}
	}
	exhaust(t, "1 slot, 2 kills", 2, false, build(1, 1, false, false))
	exhaust(t, "2 slots, 2 kills", 2, true, build(2, 1, false, false))
	exhaust(t, "2 slots, 1 kill", 1, false, build(2, 1, false, false))
	exhaust(t, "3 slots, batches of 2, 1 kill", 1, true, build(3, 2, false, false))
	exhaust(t, "one by one, 1 slot, 2 kills", 2, false, build(1, 0, false, false))
	exhaust(t, "one by one, 2 slots, 1 kill", 1, false, build(2, 0, false, false))
	accesstest.Caught(t, "publish before write", 1, build(1, 1, true, false))
	accesstest.Caught(t, "one by one, publish before write", 1, build(2, 0, true, false))
	accesstest.Caught(t, "release before read", 1, build(1, 1, false, true))
}

func TestSPSCBytesEveryOrder(t *testing.T) {
	build := func(w *world) func() error {
		var h SPSCHeader
		data := make([]byte, 48)
		w.Bytes = data
		w.Share(&h.Tail, &h.Head, &h.Closed, &h.Producer, &h.Consumer)
		r, _ := NewSPSCBytes(&h, data)
		sent, done := 0, 0
		var got []uint64
		var fault error
		size := func(i int) int { return 8 + 4*(i%3) }
		send := func(id uint32, tries int) func() {
			return func() {
				s, err := r.Sender(id, w.Alive)
				if err != nil {
					return
				}
				for range tries {
					p, err := s.Reserve(size(sent))
					if err != nil {
						continue
					}
					binary.NativeEndian.PutUint64(p, uint64(sent))
					s.Commit(len(p))
					s.Publish()
					sent++
					w.Note(uint64(sent))
				}
			}
		}
		read := func(c *ByteReceiver, tries int) {
			got = got[:done]
			w.Note(uint64(done))
			for range tries {
				p, err := c.Next()
				if err != nil {
					if err != ErrEmpty {
						fault = err
					}
					continue
				}
				v := binary.NativeEndian.Uint64(p)
				if len(p) != size(int(v)) {
					fault = fmt.Errorf("message %d has %d bytes", v, len(p))
				}
				w.Note(v)
				got = append(got, v)
				c.Release()
				done = len(got)
			}
		}
		recv := func(id uint32, tries int) func() {
			return func() {
				if c, err := r.Receiver(id, w.Alive); err == nil {
					read(c, tries)
				}
			}
		}
		w.Spawn(1, send(1, 4))
		w.Spawn(2, recv(2, 4))
		w.Spawn(3, send(3, 2))
		w.Spawn(4, recv(4, 2))
		return func() error {
			c, err := r.Receiver(99, func(uint32) bool { return false })
			if err != nil {
				return err
			}
			read(c, 9)
			for i, v := range got {
				if v != uint64(i) {
					return fmt.Errorf("got %v", got)
				}
			}
			if len(got) != sent {
				return fmt.Errorf("sent %d, got %v", sent, got)
			}
			return fault
		}
	}
	exhaust(t, "48 bytes, 2 kills", 2, true, build)
	exhaust(t, "48 bytes, 1 kill", 1, false, build)
}

func TestMPMCBytesEveryOrder(t *testing.T) {
	type bb struct {
		*world
		r     *MPMCBytes
		end   func(id uint32) *MPMCBytes // an actor's handle
		words []atomic.Uint64            // the bytes
		sent  []uint64
		got   []delivery
		fault error
	}
	build := func(slots, words int, start func(b *bb, producer func(id uint32, values, tries int) func(), consumer func(id uint32, tries int) func())) func(w *world) func() error {
		return func(w *world) func() error {
			b := &bb{world: w, words: make([]atomic.Uint64, words)}
			h, ss, es := &MPMCBytesHeader{}, make([]atomic.Uint64, slots), make([]Extent, slots)
			b.r, _ = NewMPMCBytes(h, ss, es, 8*words)
			ends := map[uint32]*MPMCBytes{}
			b.end = func(id uint32) *MPMCBytes {
				if ends[id] == nil {
					ends[id], _ = NewMPMCBytes(h, ss, es, 8*words)
				}
				return ends[id]
			}
			w.Share(&h.Tail, &h.Head, &h.Closed, &h.Suspects, &h.Skipped, &h.Returned, &h.Settled)
			w.Share(&h.Gate, &h.Low)
			w.ShareAll(ss)
			w.ShareAll(b.words)
			for i := range es {
				w.Share(&es[i].Start, &es[i].Size)
			}
			fail := func(f string, a ...any) {
				if b.fault == nil {
					b.fault = fmt.Errorf(f, a...)
				}
			}
			size := func(v uint64) int { return 8 * (1 + int(v%2)) } // words of 8 bytes
			producer := func(id uint32, values, tries int) func() {
				return func() {
					for n := 0; n < values && tries > 0; {
						v := uint64(id)*100 + uint64(n)
						pos, off, err := b.end(id).Claim(id, size(v))
						if err != nil {
							if err != ErrFull && err != ErrBusy {
								fail("claim: %v", err)
							}
							if b.AnyDead() {
								b.end(id).Repair(b.Alive)
							}
							tries--
							continue
						}
						for j := range size(v) / 8 {
							access.Store("byte", &b.words[off/8+j], v)
						}
						if err := b.r.Publish(id, pos); err != nil {
							fail("publish: %v", err)
						}
						b.sent = append(b.sent, v)
						n++
					}
				}
			}
			read := func(pos uint64, by uint32, again bool) {
				off, n, err := b.r.Message(pos)
				if err != nil {
					fail("message: %v", err)
					return
				}
				v := access.Load("byte", &b.words[off/8])
				if n > 8 {
					if u := access.Load("byte", &b.words[off/8+1]); u != v {
						fail("torn %d %d", v, u)
					}
				}
				if n != size(v) {
					fail("size of %d: %d", v, n)
				}
				b.got = append(b.got, delivery{value: v, by: by, again: again})
				d := len(b.got) - 1
				if err := b.r.q.releaseAny(by, pos); err != nil {
					fail("release: %v", err)
				}
				b.got[d].released = true
			}
			consumer := func(id uint32, tries int) func() {
				return func() {
					for range tries {
						pos, again, err := take(b.end(id), id)
						if err != nil {
							if err != ErrEmpty && err != ErrHeld && err != ErrBusy {
								fail("take: %v", err)
							}
							if b.AnyDead() {
								b.end(id).Repair(b.Alive)
							}
							continue
						}
						read(pos, id, again)
					}
				}
			}
			start(b, producer, consumer)
			return func() error {
				b.r.Repair(b.Alive)
				for {
					pos, again, err := take(b.r, 999)
					if err == ErrHeld {
						b.r.Repair(b.Alive)
						pos, again, err = take(b.r, 999)
					}
					if err != nil {
						if err != ErrEmpty {
							fail("take at the end: %v", err)
						}
						break
					}
					read(pos, 999, again)
				}
				count := map[uint64]int{}
				for _, d := range b.got {
					if d.released {
						count[d.value]++
					}
				}
				for _, v := range b.sent {
					if count[v] != 1 {
						fail("%d delivered %d times", v, count[v])
					}
				}
				if len(count) != len(b.sent) {
					fail("sent %v, got %v", b.sent, b.got)
				}
				// All bytes are good again.
				if pos, _, err := b.r.Claim(999, b.r.Size()); err != nil {
					fail("claim at the end: %v", err)
				} else if err := b.r.Publish(999, pos); err != nil {
					fail("publish at the end: %v", err)
				}
				return b.fault
			}
		}
	}
	type pf = func(id uint32, values, tries int) func()
	type cf = func(id uint32, tries int) func()
	exhaust(t, "2 slots, 24 bytes, 1 producer, 1 consumer, 2 kills", 2, false, build(2, 3, func(b *bb, p pf, c cf) {
		b.Spawn(1, p(1, 2, 2))
		b.Spawn(2, c(2, 2))
	}))
	exhaust(t, "2 slots, 24 bytes, 2 producers, 1 kill", 1, false, build(2, 3, func(b *bb, p pf, c cf) {
		b.Spawn(1, p(1, 1, 1))
		b.Spawn(2, p(2, 1, 1))
	}))
	exhaust(t, "2 slots, 24 bytes, 2 producers, 1 consumer, 1 kill", 1, true, build(2, 3, func(b *bb, p pf, c cf) {
		b.Spawn(1, p(1, 1, 1))
		b.Spawn(2, p(2, 1, 1))
		b.Spawn(3, c(3, 2))
	}))
}
