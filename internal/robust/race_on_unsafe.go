//go:build race

package robust

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/internal/mem"
)

// RaceEnabled reports whether this is a race build.
const RaceEnabled = true

// A dummyKey identifies the dummy of a lock. The race detector sees only the heap of this process,
// so a dummy on the heap stands for every lock, by file and offset: a process may attach a segment
// twice.
//
// The detector cannot see an order that comes about through another process: set one event, on
// which the other process sets a second one, and wait for that. To report no false race, an acquire
// in a segment with other attachments is ordered after all releases in that segment. So the
// detector reports fewer races there. Without other attachments it is exact.
type dummyKey struct {
	file mem.FileID
	off  int
}

var dummies sync.Map // dummyKey → *byte

func dummy(k dummyKey) unsafe.Pointer {
	p, ok := dummies.Load(k)
	if !ok {
		p, _ = dummies.LoadOrStore(k, new(uint64))
	}
	return unsafe.Pointer(p.(*uint64))
}

const wholeFile = -1

func keys(o Object, word *atomic.Uint32) (object, file dummyKey) {
	id := o.M.FileID()
	return dummyKey{id, mem.Offset(o.M, word)}, dummyKey{id, wholeFile}
}

// Acquired tells the race detector that this goroutine sees what others did before Releasing of the
// same word.
func Acquired(o Object, word *atomic.Uint32) {
	if o.M == nil {
		runtime.RaceAcquire(unsafe.Pointer(word))
		return
	}
	object, file := keys(o, word)
	runtime.RaceAcquire(dummy(object))
	if o.M.Peers != nil && o.M.Peers.Others() {
		runtime.RaceAcquire(dummy(file))
	}
}

// Releasing tells the race detector that goroutines that acquire the word later see what this one
// did.
func Releasing(o Object, word *atomic.Uint32) {
	if o.M == nil {
		runtime.RaceReleaseMerge(unsafe.Pointer(word))
		return
	}
	object, file := keys(o, word)
	runtime.RaceReleaseMerge(dummy(object))
	runtime.RaceReleaseMerge(dummy(file))
}

// Hide hides the atomic operations of this goroutine from the race detector, until Unhide.
func Hide() { runtime.RaceDisable() }

// Unhide ends Hide.
func Unhide() { runtime.RaceEnable() }
