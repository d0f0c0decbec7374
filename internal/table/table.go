package table

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
)

// Errors of calls.
var (
	ErrShape   = errors.New("a shape that is not possible")
	ErrCorrupt = errors.New("a chain that cannot be")
	ErrBusy    = errors.New("it changes faster than it can be read")
	ErrFull    = errors.New("full")
)

// A Shape says how large the parts of a table are.
type Shape struct {
	Capacity int // entries
	Buckets  int // a power of two
	Stripes  int // a power of two, at most Buckets
	Key      int // bytes of a key
	Value    int // bytes of a value
}

// Limits of a Shape.
const (
	MaxCapacity = 1 << 30
	maxStripes  = 1024
)

// ShapeOf returns the shape of a table for so many entries.
func ShapeOf(capacity, key, value int) (Shape, error) {
	if capacity < 1 || capacity > MaxCapacity || key < 1 || value < 1 {
		return Shape{}, ErrShape
	}
	// At least two for each entry: a reader finds the first key of a chain sooner than others.
	buckets := 1 << bits.Len(uint(2*capacity-1))
	return Shape{
		Capacity: capacity, Buckets: buckets,
		Stripes: min(max(buckets/8, 1), maxStripes), Key: key, Value: value,
	}, nil
}

// Cells returns the number of cells: one for each entry, and the spare ones.
func (s Shape) Cells() int { return s.Capacity + s.Stripes }

// Marks returns the number of words of the index of free cells.
func (s Shape) Marks() int { return (s.Cells() + 63) / 64 }

// KeyWords and ValueWords return how many words a key and a value take.
func (s Shape) KeyWords() int   { return (s.Key + 7) / 8 }
func (s Shape) ValueWords() int { return (s.Value + 7) / 8 }

// Stride returns the number of words of a cell.
func (s Shape) Stride() int { return CellWords + s.KeyWords() + s.ValueWords() }

func (s Shape) ok() bool {
	power := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	return s.Capacity > 0 && s.Capacity <= MaxCapacity && power(s.Buckets) && power(s.Stripes) &&
		s.Stripes <= s.Buckets && s.Stripes <= maxStripes && s.Key > 0 && s.Value > 0
}

// Parts are the memory of a table.
type Parts struct {
	Header  *Header
	Stripes []Stripe
	Buckets []atomic.Uint64 // 1 + the first cell of each chain; 0: it is empty
	Marks   []atomic.Uint64 // the index of free cells: a bit each
	Cells   []atomic.Uint64
}

// A Table is a hash table in shared memory. Methods that change a stripe are for the holder of its
// lock; the others may be called concurrently.
type Table struct {
	Shape
	header  *Header
	stripes []Stripe
	buckets []atomic.Uint64
	marks   []atomic.Uint64
	base    base // of the cells
	firsts  base // of the buckets
	room    Room

	cells      uint64 // their number
	bucketMask uint64
	stripeMask uint64
	stride     int // words of a cell
	size       int // bytes of a cell
	keyWords   int
	valueAt    int // word of a cell at which the value begins

	last  atomic.Uint32 // the word of Marks in which a free cell was found last
	quiet quiet
}

// New returns a table over its parts.
func New(s Shape, p Parts, room Room) (*Table, error) {
	if !s.ok() || p.Header == nil || len(p.Stripes) != s.Stripes || len(p.Buckets) != s.Buckets ||
		len(p.Marks) != s.Marks() || len(p.Cells) != s.Cells()*s.Stride() {
		return nil, ErrShape
	}
	return &Table{
		Shape: s, header: p.Header, stripes: p.Stripes, buckets: p.Buckets, marks: p.Marks,
		base: baseOf(p.Cells), firsts: baseOf(p.Buckets), room: room,
		cells: uint64(s.Cells()), bucketMask: uint64(s.Buckets - 1),
		stripeMask: uint64(s.Stripes - 1), stride: s.Stride(), size: wordSize * s.Stride(),
		keyWords: s.KeyWords(),
		valueAt:  CellWords + s.KeyWords(),
	}, nil
}

// ValueAt returns where the value of a cell begins, in bytes from the beginning of the cells.
func (t *Table) ValueAt(cell int) int {
	return wordSize * (cell*t.stride + t.valueAt)
}

// cellIn returns the cell that a link leads to, -1 if it ends the chain.
func (t *Table) cellIn(link uint64) (int, error) {
	if link > t.cells {
		return -1, ErrCorrupt
	}
	return int(link) - 1, nil
}

func (t *Table) bucket(hash uint64) *atomic.Uint64 {
	return &t.buckets[hash&t.bucketMask]
}

// StripeOf returns the number of the stripe of a hash.
func (t *Table) StripeOf(hash uint64) int { return int(hash & t.stripeMask) }

// Seed returns the seed of the hash, which it chooses, from random, if it is not chosen yet. A
// random of 0 chooses none.
func (t *Table) Seed(random uint64) uint64 {
	if random != 0 {
		t.header.Seed.CompareAndSwap(0, random)
	}
	return t.header.Seed.Load()
}

// The factors of Hash.
const p0, p1 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db

// Hash returns the hash of a key, by the multiplications of wyhash.
func Hash(seed uint64, key []uint64) uint64 {
	h := HashBegin(seed)
	for _, w := range key {
		h = HashWord(h, w)
	}
	return HashEnd(h, len(key))
}

// HashBegin, HashWord for each word of a key, and HashEnd with a length of the key are a hash.
func HashBegin(seed uint64) uint64 { return seed ^ p0 }

// HashWord adds a word to a hash.
func HashWord(h, w uint64) uint64 {
	hi, lo := bits.Mul64(h^w, p1)
	return hi ^ lo ^ w
}

// HashEnd ends a hash.
func HashEnd(h uint64, n int) uint64 {
	hi, lo := bits.Mul64(h^p1, p0^uint64(n))
	return hi ^ lo
}

// owner returns 1 + the stripe that owns a cell in that state, 0 if the cell is free. The cells
// behind the capacity are the spare ones that the stripes begin with.
func (t *Table) owner(cell int, state uint64) int {
	switch {
	case state == 0 && cell >= t.Capacity:
		return 1 + cell - t.Capacity
	case state == 0 || state > uint64(t.Stripes):
		return 0
	}
	return int(state)
}

// spare returns the spare cell of a stripe.
func (t *Table) spare(stripe int) (int, error) {
	s := access.Load("spare", &t.stripes[stripe].Spare)
	switch {
	case s == 0:
		return t.Capacity + stripe, nil
	case s > uint64(t.Cells()):
		return -1, ErrCorrupt
	}
	return int(s) - 1, nil
}

// find follows the chain of a hash to the cell of the key. It returns the link that leads to the
// cell, and -1 if there is no cell. Without the lock of the stripe the result counts only if the
// version has not changed meanwhile.
func (t *Table) find(hash uint64, key []uint64) (link *atomic.Uint64, cell int, err error) {
	link = t.bucket(hash)
	for range t.cells + 1 {
		cell, err = t.cellIn(access.Load("link", link))
		if cell < 0 {
			return link, -1, err
		}
		if access.Load("hash", t.word(cell, cellHash)) == hash && t.hasKey(cell, key) {
			return link, cell, nil
		}
		link = t.word(cell, cellNext)
	}
	return link, -1, ErrCorrupt
}

func (t *Table) hasKey(cell int, key []uint64) bool {
	words := t.key(cell)[:len(key)]
	for i := range key {
		if access.Load("key", &words[i]) != key[i] {
			return false
		}
	}
	return true
}

// linkTo returns the link that leads to a cell of the stripe, nil if its chain does not contain the
// cell. The caller holds the lock.
func (t *Table) linkTo(stripe, cell int) (*atomic.Uint64, error) {
	hash := access.Load("hash", t.word(cell, cellHash))
	if t.StripeOf(hash) != stripe {
		return nil, nil
	}
	link := t.bucket(hash)
	for range t.Cells() + 1 {
		at, err := t.cellIn(access.Load("link", link))
		if at < 0 || at == cell {
			if at < 0 {
				link = nil
			}
			return link, err
		}
		link = t.word(at, cellNext)
	}
	return nil, ErrCorrupt
}

// setVersion makes the change of a stripe known.
func (t *Table) setVersion(s *Stripe) {
	access.Release("version", &s.Version, access.Load("version", &s.Version)+1)
	step.Reach(step.MapVersion)
}
