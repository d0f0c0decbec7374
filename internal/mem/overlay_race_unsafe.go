//go:build linux && race && (amd64 || arm64)

package mem

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
)

// The race detector sees only the Go heap. So race builds map small segments over heap memory, and
// `go test -race` reports unsynchronised access to shared memory within a process. Such a mapping
// counts as heap and needs a finalizer, so other builds do not do that.
const (
	overlays   = true
	overlayMax = 4 << 20
)

// An overlay is heap memory that a mapping lies over.
type overlay struct {
	base   unsafe.Pointer
	length uintptr
	heap   []byte // keeps the memory allocated, as any pointer into it does
}

func newOverlay(n uintptr, fd sys.FD, off int64, write bool) (*overlay, error) {
	// Above 32 KiB an object has a span of its own, page-aligned and without mark bits inside.
	heap := make([]byte, max(n, 64<<10))
	base := unsafe.Pointer(unsafe.SliceData(heap))
	if uintptr(base)%uintptr(os.Getpagesize()) != 0 {
		return nil, errors.New("heap memory is not on a page")
	}
	if err := sys.MapOver(uintptr(base), n, fd, off, write); err != nil {
		_ = sys.RestoreOver(uintptr(base), n)
		return nil, err
	}
	// A finalizer, not a cleanup: a cleanup may run after the memory was freed.
	runtime.SetFinalizer((*byte)(base), func(b *byte) {
		if err := sys.RestoreOver(uintptr(unsafe.Pointer(b)), n); err != nil {
			panic("shmem: heap memory cannot be restored: " + err.Error())
		}
	})
	return &overlay{base, n, heap}, nil
}

func (o *overlay) retire() {
	_ = sys.RetireOver(uintptr(o.base), o.length)
	o.heap = nil
}
