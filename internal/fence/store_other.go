//go:build !amd64 || race

package fence

import "sync/atomic"

// plainStores is true where store is a plain store, see store_amd64_unsafe.go.
const plainStores = false

func store(w *atomic.Uint32, v uint32) { w.Store(v) }
