//go:build linux && (amd64 || arm64)

// Package rand stands in for crypto/rand. Its bytes are the same in every run.
package rand

import "github.com/shmembox/shmem/tests/replay/world"

// Read fills b.
func Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(world.Rand() >> 32)
	}
	return len(b), nil
}
