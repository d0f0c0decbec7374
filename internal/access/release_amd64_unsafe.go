//go:build amd64 && !race

package access

import (
	"sync/atomic"
	"unsafe"
)

// storeRelease is a plain MOV: on amd64 other processors see stores in their order. The Store of
// sync/atomic is XCHG, which waits until the cache line is here. The compiler moves no memory
// access across a store.
func storeRelease(w *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }
