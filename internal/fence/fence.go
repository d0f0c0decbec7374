// Package fence orders a store before a later load where one side does both millions of times a
// second and the other side seldom does.
//
// It imports sys. Its invariant: of two sides that each store a flag and then load the other's
// flag, at least one sees the other's store.
//
// An example: side A stores "done" and checks whether B waits; B stores "waiting" and checks
// whether A is done. Usually both need a full barrier between store and load. On amd64 that barrier
// costs A more than the rest of a message. Linux can run the barrier in all processes at once
// (membarrier): B calls Heavy between its store and its load, and A needs none. Paul McKenney
// describes this as an asymmetric barrier.
package fence

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// Light reports whether the frequent side of this process needs no barrier: the machine keeps all
// other orders by itself, and Heavy of every process reaches this one.
var Light = plainStores && sys.RegisterBarrier() == nil

// plainPeers reports whether other processes can have Light although this one has not: this one may
// be built for the race detector, or for 386.
const plainPeers = runtime.GOARCH == "amd64" || runtime.GOARCH == "386"

// Heavy is a full barrier in this process and in every process in which Light holds. Where the
// kernel refuses, it is a barrier here alone: the seldom side can then miss the frequent side, and
// must check again later.
func Heavy() {
	if !plainPeers || sys.Barrier() != nil {
		var w atomic.Uint32
		w.Add(1)
	}
}

// A Section is a section of code that one goroutine at a time enters often, and that can be shut
// for good. The zero value is open.
type Section struct {
	busy, shut atomic.Uint32
}

// Enter enters the section if it is open, and reports whether it did.
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

// Leave ends Enter.
func (s *Section) Leave() {
	if Light {
		store(&s.busy, 0)
	} else {
		s.busy.Store(0)
	}
}

// Stop makes Enter fail from now on, and reports whether no goroutine is inside. Where one is, it
// finds IsShut after its Leave.
func (s *Section) Stop() (empty bool) {
	s.shut.Store(1)
	Heavy()
	return s.busy.Load() == 0
}

// IsShut reports whether Stop or Shut has been called.
func (s *Section) IsShut() bool { return s.shut.Load() != 0 }

// Shut makes Enter fail from now on, and waits until the goroutine that is inside has left.
func (s *Section) Shut() {
	s.shut.Store(1)
	Heavy()
	for d := time.Microsecond; s.busy.Load() != 0; d = min(2*d, time.Millisecond) {
		runtime.Gosched()
		time.Sleep(d)
	}
}
