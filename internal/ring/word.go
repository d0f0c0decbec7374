package ring

import (
	"math/bits"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// The state of a slot, in the top 3 bits of its word. The rest is the lap or, with an id, both.
const (
	free    = 0 // lap: it can be claimed in that lap
	ready   = 1 // lap: it holds the message of that lap
	end     = 2 // lap: the stream ends here
	claimed = 3 // id: the producer that writes it
	taken   = 4 // id: the consumer that reads it; 0: the message was returned
	skipped = 5 // id: the producer whose claim ended without a message
	again   = 6 // id: the consumer that reads a message that was returned
	batch   = 7 // id: the consumer that copies it, with others
)

const (
	stateShift = 61
	lapMask    = 1<<stateShift - 1
	idBits     = 31
	idMask     = 1<<idBits - 1
	shortMask  = 1<<(stateShift-idBits) - 1 // lap in a word with an id
)

// word is the value of a slot's word.
type word uint64

// plain returns a word without an id.
func plain(state, lap uint64) word { return word(state<<stateShift | lap&lapMask) }

// named returns a word with an id.
func named(state, lap uint64, id uint32) word {
	return word(state<<stateShift | lap&shortMask<<idBits | uint64(id)&idMask)
}

func (w word) state() uint64 { return uint64(w >> stateShift) }

// id returns the id. Words from claimed on have one.
func (w word) id() uint32 { return uint32(w & idMask) }

// leased reports whether a consumer has, or had, the message.
func (w word) leased() bool { return w.state() == taken || w.state() >= again }

// lap returns the low bits of the lap of a named word.
func (w word) lap() uint64 { return uint64(w) >> idBits & shortMask }

// rename returns a named word with another state and id, and the same lap.
func (w word) rename(state uint64, id uint32) word {
	return named(state, uint64(w)>>idBits, id)
}

// ahead returns how many laps w is ahead of lap. It is negative if w is behind.
func (w word) ahead(lap uint64) int64 {
	if w>>stateShift >= claimed {
		const up = 64 - (stateShift - idBits)
		return int64((uint64(w)>>idBits-lap)<<up) >> up
	}
	return int64((uint64(w)-lap)<<(64-stateShift)) >> (64 - stateShift)
}

// Slots are the words of slots. In a ring of small items a word begins a cell, and its item is
// behind it: word and item are on one cache line. So a message goes from one core to another as one
// cache line. Otherwise the words stand side by side.
type Slots struct {
	words []atomic.Uint64
	shift uint8 // a slot begins every 1<<shift words
}

// SideBySide returns slots without anything between their words.
func SideBySide(words []atomic.Uint64) Slots { return Slots{words: words} }

// SlotsEvery returns the slots that begin every step words. step is a power of two.
func SlotsEvery(words []atomic.Uint64, step int) (Slots, error) {
	if step < 1 || step&(step-1) != 0 || len(words)%step != 0 {
		return Slots{}, ErrShape
	}
	return Slots{words, uint8(bits.TrailingZeros(uint(step)))}, nil
}

// Len returns the number of slots.
func (s *Slots) Len() int { return len(s.words) >> (s.shift & 63) }

// At returns the word of slot i.
func (s *Slots) At(i uint64) *atomic.Uint64 { return &s.words[i<<(s.shift&63)] }

// A Line keeps the fields before and after it on different pairs of cache lines: CPUs fetch pairs.
type Line [128]byte

// A circle maps a position, which only grows, to slot and lap.
type circle struct {
	n     uint64
	shift uint8
	power bool // n is 1<<shift
}

func newCircle(n int) circle {
	c := circle{n: uint64(n)}
	for 1<<c.shift < n {
		c.shift++
	}
	c.power = 1<<c.shift == n
	return c
}

func (c *circle) at(pos uint64) (i, lap uint64) {
	if c.power {
		return pos & (c.n - 1), pos >> (c.shift & 63)
	}
	return pos % c.n, pos / c.n
}

// before returns the position d before pos, at least 0.
func before(pos, d uint64) uint64 {
	if pos < d {
		return 0
	}
	return pos - d
}

// advance sets an index, which was from, to at least to. Every position before to must be done.
// Other callers only move the index forward, so to-from tries suffice.
func advance(step string, w *atomic.Uint64, from, to uint64) {
	for cur := from; ; {
		if access.CAS(step, w, cur, to) {
			return
		}
		was := cur
		cur = access.Load(step, w)
		if cur <= was || cur >= to { // done, or a process has written nonsense
			return
		}
	}
}
