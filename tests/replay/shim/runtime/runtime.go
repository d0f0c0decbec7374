//go:build linux && (amd64 || arm64)

// Package runtime stands in for runtime.
package runtime

import "github.com/shmembox/shmem/tests/replay/world"

// GOARCH is a machine for which the library has no code of its own.
const GOARCH = "simulated"

// NumCPU is Config.CPUs, and so is GOMAXPROCS.
func NumCPU() int          { return world.CPUs() }
func GOMAXPROCS(n int) int { return world.CPUs() }

// Gosched is runtime.Gosched.
func Gosched() { world.Relax(100) }
