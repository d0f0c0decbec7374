//go:build amd64 || arm64

package wait

// pause tells the CPU n times that the caller spins.
//
//go:noescape
func pause(n uint32)
