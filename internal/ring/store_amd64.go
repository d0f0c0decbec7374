//go:build !race

package ring

import "sync/atomic"

// storeRelease is a plain MOV: on amd64 stores are seen in order. atomic's
// Store is XCHG, which waits until the line is here.
//
//go:noescape
func storeRelease(w *atomic.Uint64, v uint64)
