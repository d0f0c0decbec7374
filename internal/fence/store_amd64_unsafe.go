//go:build amd64 && !race

package fence

import (
	"sync/atomic"
	"unsafe"
)

// plainStores: stores are seen in order without a barrier, but a later load may pass them.
const plainStores = true

// store is a plain MOV; atomic's Store is XCHG, which waits until the line is here. The compiler keeps the order of
// loads and stores around it: it does not move memory accesses across a store.
func store(w *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(w)) = v }
