//go:build amd64 && !race

package fence

import (
	"sync/atomic"
	"unsafe"
)

// plainStores reports that other processors see the stores of store in their order, without a
// barrier. A later load may pass such a store.
const plainStores = true

// store is a plain MOV. The Store of sync/atomic is XCHG, which waits until the cache line is here.
// The compiler moves no load and no store across this one.
func store(w *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(w)) = v }
