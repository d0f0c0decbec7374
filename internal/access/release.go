//go:build !amd64 || race

package access

import "sync/atomic"

func storeRelease(w *atomic.Uint64, v uint64) { w.Store(v) }
