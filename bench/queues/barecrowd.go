//go:build linux

package main

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
)

// The bare rings for many senders and receivers are what a queue for many costs at the least. They
// have the memory of ours: an item of up to 56 bytes is on one cache line with the word of its
// slot. They check nothing, wake no process and see no death. See bareWait for what a side does
// that finds the ring full or empty. The rings differ in the claim.
const (
	// One compare-and-swap of the index claims a position (Vyukov's ring). What a process claimed
	// that dies then is lost: no other process can tell whose it was, or that it died.
	bareIndex = iota
	// The compare-and-swap of the claim is that of the slot, and names the holder: a death can be
	// repaired. A second one advances the index.
	bareNamed
	// The same without the second one: each side begins where it was last, and advances the index
	// at every 16th position only.
	bareSeldom
)

// bareKinds are the names of the cases.
var bareKinds = []string{
	"bare ring, claims by the index", "bare ring, claims that name the holder",
	"the same, index advanced seldom",
}

// A bareHand is one sender or receiver.
type bareHand struct {
	id  uint64
	pos uint64 // of bareSeldom: where it looks next
}

// A crowdRing is a bare ring.
type crowdRing[T any] struct {
	kind       int
	seg        *shmem.Segment
	tail, head *atomic.Uint64
	words      []atomic.Uint64
	step       uint64 // words from one to the next
	items      mem.Table[T]
}

func (x *crowdRing[T]) close() { x.seg.Close() }

func (x *crowdRing[T]) openRing(here bool) {
	const headAt, wordsAt = 128, 256
	size := mem.SizeOf[T]()
	stride, step, at := size, 1, wordsAt+8*capacity
	if size <= 56 {
		for stride = 16; stride < size+8; stride *= 2 {
		}
		step, at = stride/8, wordsAt+8
	}
	var err error
	if here {
		x.seg, err = shmem.CreateSegment(*base+"bare", at+capacity*stride, nil)
	} else {
		x.seg, err = shmem.AttachSegment(*base+"bare", nil)
	}
	must(err)
	m := segment.Shmem.Attachment(x.seg).Mapping()
	x.tail, err = mem.At[atomic.Uint64](m, 0)
	must(err)
	x.head, err = mem.At[atomic.Uint64](m, headAt)
	must(err)
	x.words, err = mem.SliceAt[atomic.Uint64](m, wordsAt, capacity*step)
	must(err)
	x.step = uint64(step)
	x.items, err = mem.TableAt[T](m, at, capacity, stride, size)
	must(err)
}

// Words of slots. Of a position that no process holds: 2 × its lap, and 1 if it has a message. All
// zero is an empty ring.
const (
	heldBit  = 1 << 63
	takenBit = 1 << 62 // held by a receiver, else by a sender
	idBits   = 8
)

const (
	free = 0
	full = 1
)

// plain returns the word of a position that is free or full.
func plain(pos, state uint64) uint64 { return pos/capacity*2 | state }

func held(pos, id uint64, receiver bool) uint64 {
	w := heldBit | pos/capacity<<idBits | id
	if receiver {
		w |= takenBit
	}
	return w
}

// heldLap returns the lap of a word that is held.
func heldLap(w uint64) uint64 { return w &^ (heldBit | takenBit) >> idBits }

func (x *crowdRing[T]) word(pos uint64) *atomic.Uint64 { return &x.words[pos%capacity*x.step] }

// send sends v, or reports false if the ring is full.
func (x *crowdRing[T]) send(h *bareHand, v *T) bool {
	pos, ok := x.claim(x.tail, h, free, false)
	if !ok {
		return false
	}
	*x.items.At(int(pos % capacity)) = *v
	x.done(x.tail, pos, plain(pos, full))
	return true
}

// recv receives a message into v, or reports false if the ring is empty.
func (x *crowdRing[T]) recv(h *bareHand, v *T) bool {
	pos, ok := x.claim(x.head, h, full, true)
	if !ok {
		return false
	}
	*v = *x.items.At(int(pos % capacity))
	x.done(x.head, pos, plain(pos+capacity, free))
	return true
}

// claim claims the next position where the word of the slot is as state says.
func (x *crowdRing[T]) claim(
	index *atomic.Uint64, h *bareHand, state uint64, receiver bool,
) (pos uint64, ok bool) {
	switch x.kind {
	case bareNamed:
		return x.claimNamed(index, h, state, receiver)
	case bareSeldom:
		return x.claimSeldom(index, h, state, receiver)
	default:
		return x.claimIndex(index, state)
	}
}

// done stores the word of a position that was claimed.
func (x *crowdRing[T]) done(index *atomic.Uint64, pos, word uint64) {
	access.Release("", x.word(pos), word)
	if x.kind == bareNamed {
		index.CompareAndSwap(pos, pos+1)
	}
}

// claimIndex claims the next position where the word of the slot is as state says.
func (x *crowdRing[T]) claimIndex(index *atomic.Uint64, state uint64) (uint64, bool) {
	for {
		pos := index.Load()
		switch w := x.word(pos).Load(); {
		case w == plain(pos, state):
			if index.CompareAndSwap(pos, pos+1) {
				return pos, true
			}
		case w < plain(pos, state):
			return 0, false
		}
	}
}

// passed reports whether another sender, or receiver, has claimed pos: its word is w.
func passed(w, pos, state uint64, receiver bool) bool {
	if w&heldBit == 0 {
		return w > plain(pos, state)
	}
	lap := pos / capacity
	return heldLap(w) > lap || heldLap(w) == lap && (receiver == (w&takenBit != 0) || !receiver)
}

func (x *crowdRing[T]) claimNamed(
	index *atomic.Uint64, h *bareHand, state uint64, receiver bool,
) (uint64, bool) {
	for {
		pos := index.Load()
		word := x.word(pos)
		if word.CompareAndSwap(plain(pos, state), held(pos, h.id, receiver)) {
			return pos, true
		}
		w := word.Load()
		if w == plain(pos, state) {
			continue
		}
		if !passed(w, pos, state, receiver) {
			return 0, false
		}
		index.CompareAndSwap(pos, pos+1)
	}
}

func (x *crowdRing[T]) claimSeldom(
	index *atomic.Uint64, h *bareHand, state uint64, receiver bool,
) (uint64, bool) {
	for {
		pos := h.pos
		word := x.word(pos)
		if word.CompareAndSwap(plain(pos, state), held(pos, h.id, receiver)) {
			h.pos++
			if pos%16 == 15 {
				for at := index.Load(); at <= pos && !index.CompareAndSwap(at, pos+1); {
					at = index.Load()
				}
			}
			return pos, true
		}
		w := word.Load()
		if w == plain(pos, state) {
			continue
		}
		if !passed(w, pos, state, receiver) {
			return 0, false
		}
		h.pos = max(pos+1, index.Load())
	}
}

// A bareWait is what a side of a bare ring does that finds it full or empty. As our queue does, it
// rests after a burst, so that the other side gets ahead: where both are at the same cache line,
// both are slower than one alone. Then it tries for a moment, and lets another goroutine run.
type bareWait struct{ burst, tries int }

func (w *bareWait) moved() { w.burst, w.tries = w.burst+1, 0 }

func (w *bareWait) again() {
	if w.burst >= 16 {
		for began := time.Now(); time.Since(began) < 3*time.Microsecond; {
		}
	} else if w.tries++; w.tries%64 == 0 {
		runtime.Gosched()
	}
	w.burst = 0
}

// sendAll sends n messages.
func (x *crowdRing[T]) sendAll(id uint64, n int) {
	h := bareHand{id: id}
	var v T
	var w bareWait
	for i := 0; i < n; {
		if x.send(&h, &v) {
			i++
			w.moved()
		} else {
			w.again()
		}
	}
}

// recvAll receives n messages.
func (x *crowdRing[T]) recvAll(id uint64, n int) {
	h := bareHand{id: id}
	var v T
	var w bareWait
	for i := 0; i < n; {
		if x.recv(&h, &v) {
			i++
			w.moved()
		} else {
			w.again()
		}
	}
}

// A bareCrowd is k senders and k receivers at a bare ring, in one process.
type bareCrowd[T any] struct {
	crowdRing[T]
	k int
}

func (x *bareCrowd[T]) open() { x.openRing(true) }

func (x *bareCrowd[T]) run(n int) {
	n /= x.k
	var ids atomic.Uint64
	go each(x.k, func() { x.sendAll(ids.Add(1), n) })
	each(x.k, func() { x.recvAll(ids.Add(1), n) })
}

// A bareSender and a bareReceiver are in two processes.
type bareSender[T any] struct{ crowdRing[T] }

func (x *bareSender[T]) open()     { x.openRing(true) }
func (x *bareSender[T]) run(n int) { x.sendAll(1, n) }

type bareReceiver[T any] struct{ crowdRing[T] }

func (x *bareReceiver[T]) open()     { x.openRing(false) }
func (x *bareReceiver[T]) run(n int) { x.recvAll(2, n) }
