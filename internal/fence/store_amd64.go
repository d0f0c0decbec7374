//go:build !race

package fence

import "sync/atomic"

// plainStores: stores are seen in order without a barrier, but a later load may pass them.
const plainStores = true

// store is a plain MOV; atomic's Store is XCHG.
//
//go:noescape
func store(w *atomic.Uint32, v uint32)
