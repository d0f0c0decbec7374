//go:build !linux || !race || !(amd64 || arm64)

package mem

import (
	"errors"
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
)

const (
	overlays   = false
	overlayMax = 0
)

// An overlay exists in race builds only, see overlay_race_unsafe.go.
type overlay struct{ base unsafe.Pointer }

func newOverlay(uintptr, sys.FD, int64, bool) (*overlay, error) {
	return nil, errors.ErrUnsupported
}
func (o *overlay) retire() {}
