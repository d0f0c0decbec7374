package inspect

import (
	"encoding/binary"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// lockBytes makes the bytes of a lock, of words at offsets.
func lockBytes(size int, words map[int]uint64) []byte {
	b := make([]byte, size)
	for off, w := range words {
		if off+8 <= size && w > 1<<32-1 {
			binary.NativeEndian.PutUint64(b[off:], w)
		} else {
			binary.NativeEndian.PutUint32(b[off:], uint32(w))
		}
	}
	return b
}

// TestLockStates decodes locks that belong to no segment: their holders count as alive.
func TestLockStates(t *testing.T) {
	id, other := uint64(format.MakeID(3, 5)), uint64(format.MakeID(4, 6))
	for _, c := range []struct {
		name  string
		size  int
		words map[int]uint64
		want  string
		dead  bool
	}{
		{"psync.Mutex", layout.MutexSize, nil, "free", false},
		{"psync.Mutex", layout.MutexSize, map[int]uint64{layout.MutexWord: id}, "locked by slot 5",
			false},
		{"psync.Mutex", layout.MutexSize, map[int]uint64{layout.MutexWord: id | format.WaitersBit},
			"locked by slot 5, others wait", false},
		{"psync.Mutex", layout.MutexSize, map[int]uint64{layout.MutexArmed: 1}, "free, others wait",
			false},
		{"psync.Mutex", layout.MutexSize, map[int]uint64{layout.MutexWord: uint64(format.Dead)},
			"DEAD: its holder died; Recover repairs it", true},
		{"psync.RWMutex", layout.RWMutexSize, map[int]uint64{layout.RWMutexWord: id},
			"locked by slot 5", false},
		{"psync.RWMutex", layout.RWMutexSize,
			map[int]uint64{layout.RWMutexMarks: id<<32 | 2,
				layout.RWMutexMarks + layout.EntrySize: other<<32 | layout.EntryFlag | 1,
				layout.RWMutexDrained:                  1},
			"read by slot 5 ×2, by slot 6, others wait", false},
		{"psync.Semaphore", layout.SemaphoreSize, map[int]uint64{layout.SemaphoreLimit: 5},
			"5 of 5 free", false},
		{"psync.Semaphore", layout.SemaphoreSize,
			map[int]uint64{layout.SemaphoreLimit: 5, layout.SemaphoreHolds: id<<32 | 2,
				layout.SemaphoreFreed: 3}, "3 of 5 free, held by slot 5 ×2, others wait", false},
		{"psync.Semaphore", layout.SemaphoreSize,
			map[int]uint64{layout.SemaphoreLimit: 5, layout.SemaphoreHolds: id<<32 | 2,
				layout.SemaphoreReserved: other<<32 | 4, layout.SemaphoreFreed: 3},
			"3 of 5 free, 4 reserved, held by slot 5 ×2, others wait", false},
		{"psync.Semaphore", layout.SemaphoreSize, map[int]uint64{layout.SemaphoreLimit: 1, layout.SemaphoreHolds: id<<32 | 2}, "0 of 1 free, held by slot 5 ×2", false}, // lowered meanwhile
		{"psync.Event", layout.EventSize, nil, "not set", false},
		{"psync.Event", layout.EventSize, map[int]uint64{layout.EventState: 3 << 32}, "set", false},
		{"psync.Event", layout.EventSize,
			map[int]uint64{layout.EventState: 3<<32 | id}, "set, promised by slot 5", false},
		{"psync.Event", layout.EventSize,
			map[int]uint64{layout.EventState: 2<<32 | id, layout.EventArmed: 1},
			"not set, promised by slot 5, others wait", false},
		{"psync.Cond", layout.CondSize, map[int]uint64{layout.CondCount: 4}, "signalled 4 times",
			false},
		{"psync.Once", layout.OnceSize, nil, "not done", false},
		{"psync.Once", layout.OnceSize, map[int]uint64{layout.OnceWord: id}, "running by slot 5",
			false},
		{"psync.Once", layout.OnceSize, map[int]uint64{layout.OnceDone: 1}, "done", false},
		{"psync.Later", 24, nil, "psync.Later, 24 bytes", false},
		{"psync.RWMutex", 8, nil, "free", false}, // a damaged schema: shorter than it must be
		{"psync.Event", 4, map[int]uint64{0: 1}, "not set", false},
	} {
		typ := &format.Type{Kind: format.Sync, Name: c.name, Size: c.size, Align: 4}
		l, ok := Value{typ, lockBytes(c.size, c.words), 0, nil}.Lock()
		if !ok || l.String() != c.want || l.Dead != c.dead || l.Type != c.name {
			t.Errorf("%s %v: %q (dead %v), want %q", c.name, c.words, l, l.Dead, c.want)
		}
	}
	if _, ok := (Value{}).Lock(); ok {
		t.Error("raw bytes are a lock")
	}
}
