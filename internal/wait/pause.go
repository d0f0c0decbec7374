//go:build amd64 || arm64

package wait

// pause tells the CPU n times that this is a spinning loop.
//
//go:noescape
func pause(n uint32)
