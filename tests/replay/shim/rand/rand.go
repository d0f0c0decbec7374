//go:build linux && (amd64 || arm64)

// Package rand stands in for math/rand/v2. Its numbers are the same in every run.
package rand

import "github.com/shmembox/shmem/tests/replay/world"

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// N is rand.N.
func N[I integer](n I) I { return I(world.Rand() % uint64(n)) }

// IntN and Uint64 are those of math/rand/v2.
func IntN(n int) int { return int(world.Rand() % uint64(n)) }
func Uint64() uint64 { return world.Rand() }
