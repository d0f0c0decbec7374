package wait

import (
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/mem"
)

// HandOff is the least time between two calls of HandOffDue that report true for the objects of one
// bucket. A hand-off costs the time in which the waiter wakes up, some 50 µs: a small part of it. A
// lock that is held for longer than HandOff is handed over each time.
const HandOff = time.Millisecond

// HandOffDue reports whether this process should leave an object to a waiter that it wakes, and not
// take it again before.
func HandOffDue(m *mem.Mapping, armed *atomic.Uint32) bool {
	last := handedOff(m, armed)
	now, was := int64(clock()), last.Load()
	return (was == 0 || now-was >= int64(HandOff)) && last.CompareAndSwap(was, max(now, 1))
}

// KeepHandOffs makes HandOffDue report false for a while: no waiter has taken what was left to it.
// It was stopped, or none is there any more.
func KeepHandOffs(m *mem.Mapping, armed *atomic.Uint32) {
	handedOff(m, armed).Store(int64(clock() + 20*HandOff))
}

func handedOff(m *mem.Mapping, armed *atomic.Uint32) *atomic.Int64 {
	l := lotOf(m)
	return &l.buckets[l.bucketOf(armed)].handedOff
}
