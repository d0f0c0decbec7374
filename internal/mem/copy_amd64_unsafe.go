//go:build amd64 && !race

package mem

import "unsafe"

// blocks says that copyBlocks exists. Go's atomic stores are exchanges on amd64, some 20 times as dear
// as the plain ones, which order just as well here: stores are seen in the order in which they are made.
const blocks = true

//go:noescape
func copyBlocks(dst, src unsafe.Pointer, n uintptr)
