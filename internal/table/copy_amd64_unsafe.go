//go:build amd64 && !race

package table

import (
	"sync/atomic"
	"unsafe"
)

// copyOut copies n bytes of a cell to a value of this process. On amd64 loads are not reordered,
// and the compiler moves no load across a store. It copies pairs of words, and the processor loads
// each of the two by one access: a caller that copies the value by pairs then need not wait until
// single words have reached the cache.
func copyOut(to *byte, from *atomic.Uint64, n int) {
	d, s, i := unsafe.Pointer(to), unsafe.Pointer(from), 0
	for ; i+2*wordSize <= n; i += 2 * wordSize {
		*(*[2]uint64)(unsafe.Add(d, i)) = *(*[2]uint64)(unsafe.Add(s, i))
	}
	if i+wordSize <= n {
		*(*uint64)(unsafe.Add(d, i)) = *(*uint64)(unsafe.Add(s, i))
		i += wordSize
	}
	if i < n {
		w := *(*[wordSize]byte)(unsafe.Add(s, i))
		copy(unsafe.Slice((*byte)(unsafe.Add(d, i)), n-i), w[:])
	}
}
