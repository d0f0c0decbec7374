//go:build amd64 && !race

package ring

import (
	"sync/atomic"
	"unsafe"
)

// storeRelease is a plain MOV: on amd64 stores are seen in order. atomic's
// Store is XCHG, which waits until the line is here. The compiler does not
// move memory accesses across a store.
func storeRelease(w *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(w)) = v }
