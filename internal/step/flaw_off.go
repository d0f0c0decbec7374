//go:build !shmemflaws

package step

// WithFlaws reports whether this program was built to be faulty.
const WithFlaws = false

// Flawed reports whether the fault f is turned on: never.
func Flawed(f Flaw) bool { return false }
