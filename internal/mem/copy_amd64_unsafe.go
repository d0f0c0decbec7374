//go:build amd64 && !race

package mem

import (
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
)

// blocks says that copyBlocks exists. Go's atomic stores are exchanges on amd64, some 20 times as dear
// as the plain ones, which order just as well here: stores are seen in the order in which they are made.
const blocks = true

//go:noescape
func copyBlocks(dst, src unsafe.Pointer, n uintptr)

// stringsFrom is the number of bytes from which REP MOVSB is the faster way to copy to lines that another
// core has: it asks for them without fetching what they hold, four times as fast at 64 KiB as the
// stores of Go's memmove. It stands for never where the processor does not make that promise.
var stringsFrom = func() uintptr {
	if sys.FastStrings {
		return 2048
	}
	return ^uintptr(0)
}()

//go:noescape
func copyString(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func prefetch(p unsafe.Pointer)

//go:noescape
func prefetchWrite(p unsafe.Pointer)
