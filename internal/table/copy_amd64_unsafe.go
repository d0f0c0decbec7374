//go:build amd64 && !race

package table

import (
	"sync/atomic"
	"unsafe"
)

// copyOut copies n bytes of a cell to a value of this process. On amd64 loads are not reordered, and
// the compiler moves no load across a store. It copies pairs of words, and the processor loads each
// of the two by one access: a caller that copies the value by pairs then need not wait until single
// words have reached the cache.
func copyOut(to *byte, from *atomic.Uint64, n int) {
	d, s := unsafe.Pointer(to), unsafe.Pointer(from)
	for ; n >= 2*wordSize; n -= 2 * wordSize {
		*(*[2]uint64)(d) = *(*[2]uint64)(s)
		d, s = unsafe.Add(d, 2*wordSize), unsafe.Add(s, 2*wordSize)
	}
	if n >= wordSize {
		*(*uint64)(d) = *(*uint64)(s)
		d, s, n = unsafe.Add(d, wordSize), unsafe.Add(s, wordSize), n-wordSize
	}
	if n > 0 {
		w := *(*[wordSize]byte)(s)
		copy(unsafe.Slice((*byte)(d), n), w[:])
	}
}
