//go:build amd64 && !race

package mem

import (
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
)

// blocks reports whether copyBlocks exists. It uses plain stores: on amd64 other processors see
// them in their order too. Go's atomic stores are exchanges there, and cost about 20 times as much.
const blocks = true

//go:noescape
func copyBlocks(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func load(dst, src unsafe.Pointer, n uintptr)

// stringsFrom is the number of bytes from which REP MOVSB copies faster to cache lines that another
// core has. It asks for a cache line without fetching its contents, unlike Go's memmove. On
// processors without fast strings it is never reached.
var stringsFrom = func() uintptr {
	if sys.FastStrings {
		return leastString
	}
	return ^uintptr(0)
}()

//go:noescape
func copyString(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func prefetch(p unsafe.Pointer)

//go:noescape
func prefetchWrite(p unsafe.Pointer)
