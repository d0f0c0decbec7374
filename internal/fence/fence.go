// Package fence orders a store before a load where one side does it millions of times a second and
// the other seldom.
//
// A says "done" and looks whether B waits; B says "waiting" and looks whether A is done. One of them
// must see the other, for which both need a full barrier between store and load; on amd64 that costs
// more than all the rest of a message. Linux can run the barrier for A, in all processes at once
// (membarrier): so B calls Heavy between its store and its load, and A needs nothing.
package fence

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// Light reports whether the frequent side may leave its barrier out: the machine orders all else by
// itself, and Heavy of every process reaches this one.
var Light = plainStores && sys.RegisterBarrier() == nil

// plainPeers: there may be processes with Light, if not this one: it may be built for the race detector, or for 386.
const plainPeers = runtime.GOARCH == "amd64" || runtime.GOARCH == "386"

// Heavy is a full barrier here and in every process in which Light holds. Where the kernel refuses
// it, it is one here alone, and the seldom side may overlook the frequent one: it looks again later.
func Heavy() {
	if !plainPeers || sys.Barrier() != nil {
		var w atomic.Uint32
		w.Add(1)
	}
}

// A Section is code that one goroutine at a time runs often, and that can be shut.
type Section struct {
	busy, shut atomic.Uint32
}

// Enter reports whether the section is open, and if so enters it.
func (s *Section) Enter() bool {
	if Light {
		store(&s.busy, 1)
	} else {
		s.busy.Store(1)
	}
	if s.shut.Load() != 0 {
		s.Leave()
		return false
	}
	return true
}

// Leave ends what Enter began.
func (s *Section) Leave() {
	if Light {
		store(&s.busy, 0)
	} else {
		s.busy.Store(0)
	}
}

// Shut lets nobody enter any more, and waits until nobody is inside.
func (s *Section) Shut() {
	s.shut.Store(1)
	Heavy()
	for d := time.Microsecond; s.busy.Load() != 0; d = min(2*d, time.Millisecond) {
		runtime.Gosched()
		time.Sleep(d)
	}
}
