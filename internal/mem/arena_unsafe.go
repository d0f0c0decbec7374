package mem

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
)

// Mappings are carved from one range of reserved address space, in steps, so that the way from an
// address to its mapping is a subtraction, a shift and two loads, however many mappings there are.
// What lies outside (race builds; an arena that cannot grow) is found in a sorted table.
//
// Address space whose pointers were handed out is never used again, see Mapping.Retire.
const (
	wide     = ^uint(0) >> 63 // 1 where a word has 64 bits, else 0
	stepBits = 16             // a mapping begins at a multiple of 64 KiB
	stepSize = 1 << stepBits
	leafBits = 12          // steps in a leaf of the table
	topBits  = 2 + 12*wide // leaves: the arena ends at 4 TiB, or at 1 GiB of a 32-bit address space
	growSize = 1 << (26 + 4*wide)
	// Far from where the runtime and the kernel put things, so that the arena can grow upwards.
	hintBase = 1 << (44 * wide)
	maxArena = 1 << (topBits + leafBits + stepBits - (1 - wide))
)

type leaf [1 << leafBits]atomic.Pointer[Mapping]

type space struct {
	base atomic.Uintptr // 0 until the first mapping
	top  [1 << topBits]atomic.Pointer[leaf]

	mu     sync.Mutex
	start  unsafe.Pointer
	used   uintptr               // carved so far
	size   uintptr               // reserved so far
	closed bool                  // cannot be had, or cannot grow
	free   map[uintptr][]uintptr // offsets of regions that can be used again, by length

	others atomic.Pointer[[]*Mapping] // outside the arena, sorted by address
}

var arena space

func roundUp(n, to uintptr) uintptr { return (n + to - 1) &^ (to - 1) }

// carve gives n bytes of reserved address space, nil where the arena has none.
func (a *space) carve(n uintptr) unsafe.Pointer {
	n = roundUp(n, stepSize)
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.free[n]; len(f) > 0 {
		a.free[n] = f[:len(f)-1]
		return unsafe.Add(a.start, f[len(f)-1])
	}
	if a.used+n > a.size && !a.grow(n) {
		return nil
	}
	p := unsafe.Add(a.start, a.used)
	a.used += n
	return p
}

// grow reserves address space behind the arena until n more bytes fit.
func (a *space) grow(n uintptr) bool {
	if a.closed || n > maxArena || a.used+n > maxArena {
		return false
	}
	more := roundUp(a.used+n-a.size, growSize)
	if a.start != nil {
		if _, err := sys.Reserve(unsafe.Add(a.start, a.size), more, true); err != nil {
			a.closed = true
			return false
		}
		a.size += more
		return true
	}
	var hint unsafe.Pointer
	if wide == 1 {
		hint = address(uintptr(hintBase) + uintptr(rand.IntN(1<<12))<<30)
	}
	more += stepSize // so that the start can be aligned
	p, err := sys.Reserve(hint, more, false)
	if err != nil {
		a.closed = true
		return false
	}
	pad := roundUp(uintptr(p), stepSize) - uintptr(p)
	a.start, a.size = unsafe.Add(p, pad), more-pad
	a.base.Store(uintptr(a.start))
	return true
}

// giveBack makes a carved region available again. No pointer into it may have been handed out.
func (a *space) giveBack(p unsafe.Pointer, n uintptr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.free == nil {
		a.free = map[uintptr][]uintptr{}
	}
	n = roundUp(n, stepSize)
	a.free[n] = append(a.free[n], uintptr(p)-uintptr(a.start))
}

// register makes m findable by address; with nil it forgets what was at [p, p+n).
func (a *space) register(p unsafe.Pointer, n uintptr, m *Mapping) {
	base := a.base.Load()
	if off := uintptr(p) - base; base != 0 && off < maxArena && off < a.reserved() {
		for s := off >> stepBits; s <= (off+n-1)>>stepBits; s++ {
			a.leaf(s >> leafBits)[s&(1<<leafBits-1)].Store(m)
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var table []*Mapping
	if old := a.others.Load(); old != nil {
		table = slices.DeleteFunc(slices.Clone(*old), func(o *Mapping) bool { return o.base == p })
	}
	if m != nil {
		i, _ := slices.BinarySearchFunc(table, m, byAddress)
		table = slices.Insert(table, i, m)
	}
	a.others.Store(&table)
}

func byAddress(x, y *Mapping) int {
	switch {
	case uintptr(x.base) < uintptr(y.base):
		return -1
	case uintptr(x.base) > uintptr(y.base):
		return 1
	}
	return 0
}

func (a *space) reserved() uintptr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size
}

func (a *space) leaf(i uintptr) *leaf {
	if l := a.top[i].Load(); l != nil {
		return l
	}
	a.top[i].CompareAndSwap(nil, new(leaf))
	return a.top[i].Load()
}

// find returns the mapping that p lies in, nil if there is none.
func (a *space) find(p uintptr) *Mapping {
	if off := p - a.base.Load(); off < maxArena {
		if l := a.top[off>>(stepBits+leafBits)].Load(); l != nil {
			if m := l[off>>stepBits&(1<<leafBits-1)].Load(); m != nil {
				return m
			}
		}
	}
	if a.others.Load() == nil {
		return nil
	}
	return a.findOther(p)
}

func (a *space) findOther(p uintptr) *Mapping {
	table := *a.others.Load()
	i, found := slices.BinarySearchFunc(table, p, func(m *Mapping, p uintptr) int {
		switch {
		case uintptr(m.base)+m.length <= p:
			return -1
		case uintptr(m.base) > p:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return table[i]
}

// Of returns the mapping that p points into, nil if it is ordinary memory.
func Of[T any](p *T) *Mapping { return arena.find(uintptr(unsafe.Pointer(p))) }
