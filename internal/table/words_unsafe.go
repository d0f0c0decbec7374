package table

import (
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/internal/access"
)

// base is where the cells of a table are, or its buckets. The number of a cell that was read from
// shared memory is checked before it is used: see cellIn, spare and Repair.
type base struct{ p unsafe.Pointer }

func baseOf(cells []atomic.Uint64) base { return base{unsafe.Pointer(unsafe.SliceData(cells))} }

// word returns a word of a cell.
func (t *Table) word(cell, w int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(t.base.p, wordSize*(cell*t.stride+w)))
}

// Read copies the value of a key, if its entry is the first one of its chain, which is most often
// so. If it reports false the caller is to call Find. The key and the value have the sizes of the
// shape, and what is behind the key up to its last word is zero.
//
// While the link of the bucket leads to a cell the entry of that cell counts, and is whole. If the
// cell has the same generation before and later, what is loaded after the second look at the link
// is of that entry.
//
// It is the call that maps are for. The processor begins the next one while this one waits for
// memory, if there are few instructions between, so there are no hooks and no calls. The explorer
// steps through readInSteps, which has the same accesses (TestReadInSteps).
func (t *Table) Read(key *uint64, value *byte) (found bool) {
	if access.Hook != nil {
		return t.readInSteps(key, value)
	}
	hash := t.hashAt(key)
	link := t.link(hash)
	first := link.Load()
	if first-1 >= t.cells { // there is none, or the link is wrong
		return false
	}
	cell := t.head(first)
	gen := cell[cellGen].Load()
	if link.Load() != first || cell[cellHash].Load() != hash {
		return false
	}
	for i := range t.keyWords {
		if wordAt(cell, CellWords+i).Load() != *keyAt(key, i) {
			return false
		}
	}
	expires := int64(cell[cellExpires].Load())
	if t.room.Marks && cell[cellUsed].Load() == 0 {
		return false
	}
	copyOut(value, wordAt(cell, t.valueAt), t.Value)
	if cell[cellGen].Load() != gen {
		return false
	}
	return expires == 0 || expires > t.room.Now()
}

// readInSteps is Read with a hook before each access of what changes.
func (t *Table) readInSteps(key *uint64, value *byte) (found bool) {
	hash := t.hashAt(key)
	link := t.link(hash)
	first := access.Load("read first", link)
	if first-1 >= t.cells { // there is none, or the link is wrong
		return false
	}
	cell := t.head(first)
	gen := access.Load("read gen", &cell[cellGen])
	if access.Load("read again", link) != first ||
		access.Load("read hash", &cell[cellHash]) != hash {
		return false
	}
	for i := range t.keyWords {
		if access.Load("read key", wordAt(cell, CellWords+i)) != *keyAt(key, i) {
			return false
		}
	}
	expires := int64(access.Load("read expires", &cell[cellExpires]))
	if t.room.Marks && access.Load("read used", &cell[cellUsed]) == 0 {
		return false
	}
	copyInSteps(value, wordAt(cell, t.valueAt), t.Value)
	if access.Load("read gen again", &cell[cellGen]) != gen {
		return false
	}
	return expires == 0 || expires > t.room.Now()
}

// head returns the words with which the cell begins that a link leads to.
func (t *Table) head(link uint64) *[CellWords]atomic.Uint64 {
	return (*[CellWords]atomic.Uint64)(unsafe.Add(t.base.p, int(link-1)*t.size))
}

// wordAt returns a word of a cell, of which cell is the beginning.
func wordAt(cell *[CellWords]atomic.Uint64, i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(unsafe.Pointer(cell), wordSize*i))
}

// keyAt returns a word of a key.
func keyAt(key *uint64, i int) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(key), wordSize*i))
}

// copyInSteps is copyOut with a hook before each access.
func copyInSteps(to *byte, from *atomic.Uint64, n int) {
	dst := unsafe.Slice(to, n)
	words := unsafe.Slice(from, (n+wordSize-1)/wordSize)
	for i := range words {
		w := access.Load("read value", &words[i])
		dst = dst[copy(dst, (*[wordSize]byte)(unsafe.Pointer(&w))[:]):]
	}
}

// link returns the link with which the chain of a hash begins.
func (t *Table) link(hash uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(t.firsts.p, wordSize*int(hash&t.bucketMask)))
}

// hashAt is Hash of a key of the table.
func (t *Table) hashAt(key *uint64) uint64 {
	h := HashBegin(t.header.Seed.Load())
	for i := range t.keyWords {
		h = HashWord(h, *keyAt(key, i))
	}
	return HashEnd(h, t.keyWords)
}

// key returns the words of the key of a cell.
func (t *Table) key(cell int) []atomic.Uint64 {
	return unsafe.Slice(t.word(cell, CellWords), t.keyWords)
}
