package psync_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

// value is what the tests share.
type value struct {
	mu   psync.Mutex
	cond psync.Cond
	rw   psync.RWMutex
	sem  psync.Semaphore
	ev   [4]psync.Event
	once psync.Once

	//lint:ignore U1000 race builds use it
	n, m uint64 // n == m unless a process is inside mu or rw
	raw  [2]atomic.Uint32
}

func attach(path string, how waittest.How) (*waittest.Seg, *value, error) {
	s, err := waittest.Attach(path, how)
	if err != nil {
		return nil, nil, err
	}
	v, err := mem.At[value](s.M, 0)
	return s, v, err
}

func newFile(t testing.TB) string {
	path := filepath.Join(shmemtest.Dir(t), "seg")
	if err := waittest.Create(path, mem.SizeOf[value](), 64); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	return path
}

func newSeg(t testing.TB) (string, *waittest.Seg, *value) {
	path := newFile(t)
	s, v := again(t, path)
	return path, s, v
}

// again attaches once more.
func again(t testing.TB, path string) (*waittest.Seg, *value) {
	s, v, err := attach(path, waittest.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.M.Closed() {
			s.Close()
		}
	})
	return s, v
}

func removeFile(path string) error { return os.Remove(path) }
