//go:build !amd64 || race

package table

import "sync/atomic"

// copyOut copies n bytes of a cell to a value of this process.
func copyOut(to *byte, from *atomic.Uint64, n int) { copyInSteps(to, from, n) }
