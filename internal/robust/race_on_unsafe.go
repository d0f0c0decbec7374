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

// The race detector sees the heap of this process only. So every lock has a dummy on the heap that
// stands for it, by file and offset: the same segment may be attached twice.
//
// What is ordered by way of a peer (set one event; the peer waits for it and sets another; wait for
// that) it cannot see. So that this is no false report, whoever acquires anything in a segment
// with other attachments is ordered behind all releases in it: the detector reports less there.
// Without peers it is exact.
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

// Acquired tells the race detector that what was done before Releasing of the same word is seen now.
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

// Releasing tells the race detector that whoever acquires the word later sees what was done before.
func Releasing(o Object, word *atomic.Uint32) {
	if o.M == nil {
		runtime.RaceReleaseMerge(unsafe.Pointer(word))
		return
	}
	object, file := keys(o, word)
	runtime.RaceReleaseMerge(dummy(object))
	runtime.RaceReleaseMerge(dummy(file))
}

// Hide hides what this goroutine does by atomic operations from the race detector, until Unhide.
func Hide() { runtime.RaceDisable() }

// Unhide ends Hide.
func Unhide() { runtime.RaceEnable() }
