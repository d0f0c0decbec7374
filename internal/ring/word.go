package ring

import "sync/atomic"

// A slot's state, in the top 3 bits of its word.
const (
	free    = 0 // lap: may be claimed in that lap
	ready   = 1 // lap: holds the message of that lap
	end     = 2 // lap: the stream ends here
	claimed = 3 // id: being written by
	taken   = 4 // id: being read by; id 0: given back
	skipped = 5 // id: no message; was claimed by
)

const (
	stateShift = 61
	lapMask    = 1<<stateShift - 1
	idBits     = 31
	idMask     = 1<<idBits - 1
	shortMask  = 1<<(stateShift-idBits) - 1 // lap of a word that has an id
)

// word is the value of a slot's word.
type word uint64

func plain(state, lap uint64) word { return word(state<<stateShift | lap&lapMask) }

func named(state, lap uint64, id uint32) word {
	return word(state<<stateShift | lap&shortMask<<idBits | uint64(id)&idMask)
}

func (w word) state() uint64 { return uint64(w >> stateShift) }

// id is the holder; only claimed, taken and skipped have one.
func (w word) id() uint32 { return uint32(w & idMask) }

// rename is a named word with another state and id and the same lap.
func (w word) rename(state uint64, id uint32) word {
	return named(state, uint64(w)>>idBits, id)
}

// ahead tells how many laps w is ahead of lap; negative: behind.
func (w word) ahead(lap uint64) int64 {
	if w>>stateShift >= claimed {
		const up = 64 - (stateShift - idBits)
		return int64((uint64(w)>>idBits-lap)<<up) >> up
	}
	return int64((uint64(w)-lap)<<(64-stateShift)) >> (64 - stateShift)
}

// Line keeps what stands before it and after it on different pairs of cache
// lines (CPUs fetch them in pairs).
type Line [128]byte

// circle maps an ever growing position to slot and lap.
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
		return pos & (c.n - 1), pos >> c.shift
	}
	return pos % c.n, pos / c.n
}

// before is the position d before pos, but not below 0.
func before(pos, d uint64) uint64 {
	if pos < d {
		return 0
	}
	return pos - d
}

// hook, when set, is called before every access to a shared word: tests stop,
// reorder and kill there. It is told the step's name and the word.
var hook func(step string, w *atomic.Uint64)

func load(step string, w *atomic.Uint64) uint64 {
	if hook != nil {
		hook(step, w)
	}
	return w.Load()
}

func store(step string, w *atomic.Uint64, v uint64) {
	if hook != nil {
		hook(step, w)
	}
	w.Store(v)
}

// release stores without waiting for the line: what was written before is
// seen before, but a later load may pass it.
func release(step string, w *atomic.Uint64, v uint64) {
	if hook != nil {
		hook(step, w)
	}
	storeRelease(w, v)
}

func cas(step string, w *atomic.Uint64, old, new uint64) bool {
	if hook != nil {
		hook(step, w)
	}
	return w.CompareAndSwap(old, new)
}

func add(step string, w *atomic.Uint64, n uint64) {
	if hook != nil {
		hook(step, w)
	}
	w.Add(n)
}

// advance moves an index that stood at from to to, unless it is there already.
// Every position before to must be done. Whoever moves it in between moves it
// forward, so to-from tries are enough.
func advance(step string, w *atomic.Uint64, from, to uint64) {
	for cur := from; ; {
		if cas(step, w, cur, to) {
			return
		}
		was := cur
		cur = load(step, w)
		if cur <= was || cur >= to { // done, or scribbled on
			return
		}
	}
}
