//go:build !amd64 || race

package fence

import "sync/atomic"

const plainStores = false

func store(w *atomic.Uint32, v uint32) { w.Store(v) }
