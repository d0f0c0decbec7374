package robust_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/shmemtest"
)

// TestWatchHeld: the last of many locks is found, unless the deadline passes before.
func TestWatchHeld(t *testing.T) {
	const rows, columns = 32, 32
	mutex := &format.Type{Kind: format.Sync, Name: "psync.Mutex", Size: layout.MutexSize, Align: 4}
	array := func(elem *format.Type, n int) *format.Type {
		return &format.Type{Kind: format.Array, Elem: elem, Len: n, Size: n * elem.Size, Align: 4}
	}
	pair := &format.Type{Kind: format.Struct, Size: 2 * mutex.Size, Align: 4,
		Fields: []format.Field{{Name: "A", Type: mutex},
			{Name: "B", Type: mutex, Offset: mutex.Size}}}
	table := array(array(pair, columns), rows)

	path := filepath.Join(shmemtest.Dir(t), "seg")
	if err := waittest.Create(path, table.Size, 16); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	p := attach(t, path, waittest.ReadWrite)
	last, err := mem.At[robust.Lock](p.M, table.Size-mutex.Size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := robust.Acquire(background, p.o, &last.Word, &last.Armed, robust.Mark); err != nil {
		t.Fatal(err)
	}
	robust.WatchHeld(p.M, table)
	held := *p.M.HoldsLocks.Load()
	if !held(time.Now().Add(time.Hour)) {
		t.Error("a lock that is held is not found")
	}
	if held(time.Now().Add(-time.Hour)) {
		t.Error("the deadline has passed, and it goes on")
	}
}
