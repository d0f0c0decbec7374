package ring

import (
	"runtime"
	"sync/atomic"
)

// ordersLoads is true on machines that keep the order of loads.
const ordersLoads = runtime.GOARCH == "amd64" || runtime.GOARCH == "386" ||
	runtime.GOARCH == "s390x"

// OrderLoads orders the caller's plain loads of an item, before it, and the load of the slot's word
// by Valid or Done, after it. Without it the load of the word could come first, and confirm an item
// that was overwritten while it was read.
//
// An acquire load does not do that: it orders what comes after it. A store in the order of all
// atomic operations does: no load before it passes it, and no atomic load after it comes earlier.
// See tests/models/README.md, Weak memory.
func OrderLoads() {
	if !ordersLoads {
		var w atomic.Uint32
		w.Store(1)
	}
}
