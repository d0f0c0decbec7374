package mem

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// Mappings lie in one range of reserved address space, the arena, at multiples of a step. So the
// mapping of an address is found by a subtraction, a shift and two loads, with any number of
// mappings. Mappings outside the arena, in race builds or when it cannot grow, are found in a
// sorted table.
const (
	wide     = ^uint(0) >> 63 // 1 where a word has 64 bits, else 0
	stepBits = 16             // a mapping begins at a multiple of 64 KiB
	stepSize = 1 << stepBits
	leafBits = 12          // steps in a leaf of the table
	topBits  = 2 + 12*wide // leaves: the arena ends at 4 TiB, or at 1 GiB of a 32-bit address space
	idBits   = 14 + 6*wide // steps in lockIDs: 64 GiB, or 1 GiB
	growSize = 1 << (26 + 4*wide)
	// Far from the addresses that the Go runtime and the kernel use, so that the arena can grow.
	hintBase = 1 << (44 * wide)
	maxArena = 1 << (topBits + leafBits + stepBits - (1 - wide))
	// A longer mapping lies outside the arena: its entries in the table would take longer to write
	// than it is worth. A file without memory can be of any length.
	maxInArena = 1 << (28 + 4*wide)

	hugeSize  = 2 << 20 // of a huge page, and of what one page of a page table covers
	leafSize  = stepSize << leafBits
	largeSize = 1 << 30 // what one page of the next table covers
)

// A leaf holds the mapping of each step in a part of the arena.
type leaf [1 << leafBits]atomic.Pointer[Mapping]

// A space is the arena with its tables.
type space struct {
	base atomic.Uintptr // where the arena begins; noBase until the first mapping
	top  [1 << topBits]atomic.Pointer[leaf]

	mu       sync.Mutex // guards the fields down to standIns, and writers of others
	start    unsafe.Pointer
	used     uintptr              // bytes that were carved
	size     uintptr              // bytes that are reserved
	closed   bool                 // the arena cannot grow
	free     map[region][]uintptr // offsets of free regions
	retired  retired
	unnamed  *leaf               // of leaves without mappings
	standIns map[string]*Mapping // stand-ins of retired mappings, by segment name

	others atomic.Pointer[[]*Mapping] // outside the arena, by address; replaced under mu
}

// A region says which mappings can lie in a free part of the arena.
type region struct {
	length uintptr
	zeros  bool // it reads as zero, see Spec.Unpinned; else it faults
}

// noBase is a base so far from all addresses that none seems to lie in the arena: the readers of
// base need no second comparison. A 32-bit process has addresses that seem to; the table is empty
// for them.
const noBase = uintptr(1) << (31 + 32*wide)

var arena space

func init() { arena.base.Store(noBase) }

func roundUp(n, to uintptr) uintptr { return (n + to - 1) &^ (to - 1) }

// carve returns n bytes of reserved address space at a multiple of align, nil if the arena has
// none. n and align are multiples of a step. With zeros it may read as zero.
func (a *space) carve(n, align uintptr, zeros bool) unsafe.Pointer {
	if n > maxInArena {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	as := region{n, zeros}
	f := a.free[as]
	for i := len(f) - 1; i >= 0; i-- {
		if p := unsafe.Add(a.start, f[i]); uintptr(p)%align == 0 {
			a.free[as] = slices.Delete(f, i, i+1)
			return p
		}
	}
	pad := roundUp(uintptr(a.start)+a.used, align) - uintptr(a.start) - a.used
	if a.used+pad+n > a.size && !a.grow(pad+n) {
		return nil
	}
	pad = roundUp(uintptr(a.start)+a.used, align) - uintptr(a.start) - a.used // of a new arena
	a.retire(a.used, pad)
	p := unsafe.Add(a.start, a.used+pad)
	a.used += pad + n
	return p
}

// grow reserves address space until n more bytes fit. a.mu is held.
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
	more += 2 * hugeSize // so that the start, and a first mapping, can be aligned
	p, err := sys.Reserve(hint, more, false)
	if err != nil {
		a.closed = true
		return false
	}
	pad := roundUp(uintptr(p), hugeSize) - uintptr(p)
	a.start, a.size = unsafe.Add(p, pad), more-pad
	a.base.Store(uintptr(a.start))
	return true
}

// giveBack makes a carved region free again, which reads as zero with zeros. No user may have a
// pointer into it.
func (a *space) giveBack(p unsafe.Pointer, n uintptr, zeros bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.free == nil {
		a.free = map[region][]uintptr{}
	}
	as := region{n, zeros}
	a.free[as] = append(a.free[as], uintptr(p)-uintptr(a.start))
}

// keep takes a region out of use for good: its addresses were exposed, and its memory is retired.
func (a *space) keep(p unsafe.Pointer, n uintptr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retire(uintptr(p)-uintptr(a.start), n)
}

// A retired counts what is out of use for good: steps, as long as their neighbours are in use.
// Page tables are freed only if all that they cover is removed by one call. So when the last step
// of what a table covers is retired, all of it is retired once more, as one. Guarded by space.mu.
type retired struct {
	steps map[uintptr]uint16 // retired steps of what one page of a page table covers
	large map[uintptr]uint16 // the same of the next table, counting those pages
	leaf  map[uintptr]uint16 // the same of a leaf
}

// retire counts the n bytes from off as out of use for good. a.mu is held.
func (a *space) retire(off, n uintptr) {
	r := &a.retired
	if r.steps == nil {
		*r = retired{map[uintptr]uint16{}, map[uintptr]uint16{}, map[uintptr]uint16{}}
	}
	for n > 0 {
		addr := uintptr(a.start) + off
		here := min(n, hugeSize-addr%hugeSize) // bytes under this page of the page table
		huge, leaf := addr/hugeSize, off/leafSize
		off, n = off+here, n-here
		if !complete(r.steps, huge, here/stepSize, hugeSize/stepSize) {
			continue
		}
		if here < hugeSize {
			_ = sys.Retire(address(huge*hugeSize), hugeSize, false)
		}
		large := huge * hugeSize / largeSize
		if complete(r.large, large, 1, largeSize/hugeSize) {
			_ = sys.Retire(address(large*largeSize), largeSize, false)
		}
		if complete(r.leaf, leaf, 1, leafSize/hugeSize) {
			a.shareLeaf(leaf)
		}
	}
}

// complete counts more parts of the whole i, and reports whether these are all of them.
func complete(parts map[uintptr]uint16, i, more, all uintptr) bool {
	if parts[i] += uint16(more); uintptr(parts[i]) < all {
		return false
	}
	delete(parts, i)
	return true
}

// shareLeaf replaces a leaf without mappings by one that all such leaves share. Its stand-in has no
// name. a.mu is held.
func (a *space) shareLeaf(i uintptr) {
	if a.unnamed == nil {
		a.unnamed = new(leaf)
		m := a.standInOf("")
		for s := range a.unnamed {
			a.unnamed[s].Store(m)
		}
	}
	a.top[i].Store(a.unnamed)
}

// register makes m findable by the addresses of its memory.
func (a *space) register(m *Mapping) {
	if a.setLeaves(m, m) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	table := a.othersWithout(m)
	i, _ := slices.BinarySearchFunc(table, m, byAddress)
	table = slices.Insert(table, i, m)
	a.others.Store(&table)
}

// unregister undoes register. In the arena a stand-in takes the place of m, see standIn.
func (a *space) unregister(m *Mapping) {
	m.putLockID(format.NoID)
	if a.setLeaves(m, a.standIn(m.name)) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	table := a.othersWithout(m)
	a.others.Store(&table)
}

// setLeaves lets Of find the mapping found for all addresses of m. It reports false if m is not in
// the arena.
func (a *space) setLeaves(m, found *Mapping) bool {
	off := uintptr(m.base) - a.base.Load()
	if off >= maxArena || off >= a.reserved() {
		return false
	}
	for s := off >> stepBits; s <= (off+m.length-1)>>stepBits; s++ {
		a.leaf(s >> leafBits)[s&(1<<leafBits-1)].Store(found)
	}
	return true
}

// othersWithout copies the table of the mappings outside the arena, without m. a.mu is held.
func (a *space) othersWithout(m *Mapping) []*Mapping {
	old := a.others.Load()
	if old == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(*old), func(o *Mapping) bool { return o.base == m.base })
}

// maxStandIns bounds the names that the process remembers of segments that it closed.
const maxStandIns = 1 << 16

// standIn returns what Of finds for a stale pointer into a retired mapping of the segment of that
// name: a mapping without memory that is closed for good. So an error after Close can name the
// segment. A process with more than maxStandIns names forgets the others' names.
func (a *space) standIn(name string) *Mapping {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.standInOf(name)
}

// standInOf is standIn. a.mu is held.
func (a *space) standInOf(name string) *Mapping {
	if a.standIns[name] == nil && len(a.standIns) >= maxStandIns {
		name = ""
	}
	m := a.standIns[name]
	if m == nil {
		m = &Mapping{name: name}
		m.phase.Store(newPhase())
		m.Drain()
		if a.standIns == nil {
			a.standIns = map[string]*Mapping{}
		}
		a.standIns[name] = m
	}
	return m
}

// byAddress orders mappings by their addresses.
func byAddress(x, y *Mapping) int {
	switch {
	case uintptr(x.base) < uintptr(y.base):
		return -1
	case uintptr(x.base) > uintptr(y.base):
		return 1
	}
	return 0
}

// reserved returns how many bytes are reserved.
func (a *space) reserved() uintptr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size
}

// leaf returns leaf i, which it makes if there is none.
func (a *space) leaf(i uintptr) *leaf {
	if l := a.top[i].Load(); l != nil {
		return l
	}
	a.top[i].CompareAndSwap(nil, new(leaf))
	return a.top[i].Load()
}

// find returns the mapping of address p, nil if there is none.
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

// findOther is find outside the arena.
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

// Of returns the mapping that p points into, nil if p points to ordinary memory. For a pointer into
// a retired mapping it returns a mapping with the segment's name that is closed, not writable, and
// of which Retired reports true.
func Of[T any](p *T) *Mapping { return arena.find(uintptr(unsafe.Pointer(p))) }
