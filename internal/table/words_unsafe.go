package table

import (
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/internal/access"
)

// base is where the cells of a table are. The number of a cell that was read from shared memory is
// checked before it is used: see cellIn, spare and Repair.
type base struct{ p unsafe.Pointer }

func baseOf(cells []atomic.Uint64) base { return base{unsafe.Pointer(unsafe.SliceData(cells))} }

// word returns a word of a cell.
func (t *Table) word(cell, w int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(t.base.p, wordSize*(cell*t.stride+w)))
}

// First finds the entry of a key if it is the first one of its chain, which is most often so. It
// reports false if the caller is to call Find. It is otherwise as Find.
//
// While the link of the bucket leads to a cell the entry of that cell counts, and is whole. If the
// cell has the same generation before and later, what is loaded after the second look at the link
// is of that entry.
func (t *Table) First(hash uint64, key []uint64) (e Entry, found bool) {
	link := &t.buckets[hash&t.bucketMask]
	first := access.Load("first", link)
	if first-1 >= t.cells { // there is none, or the link is wrong
		return Entry{Cell: -1}, false
	}
	cell := (*[CellWords]atomic.Uint64)(unsafe.Add(t.base.p, int(first-1)*t.size))
	gen := access.Load("first gen", &cell[cellGen])
	if access.Load("first again", link) != first ||
		access.Load("first hash", &cell[cellHash]) != hash {
		return Entry{Cell: -1}, false
	}
	at := unsafe.Pointer(cell)
	for i := range key {
		word := (*atomic.Uint64)(unsafe.Add(at, wordSize*(CellWords+i)))
		if access.Load("first key", word) != key[i] {
			return Entry{Cell: -1}, false
		}
	}
	expires := int64(access.Load("first expires", &cell[cellExpires]))
	return Entry{Cell: int(first - 1), Gen: gen, Expires: expires}, true
}

// key returns the words of the key of a cell.
func (t *Table) key(cell int) []atomic.Uint64 {
	return unsafe.Slice(t.word(cell, CellWords), t.keyWords)
}
