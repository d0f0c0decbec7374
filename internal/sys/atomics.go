//go:build !mips && !mipsle && (!arm || arm.7)

package sys

// atomics64 reports whether the machine has 64-bit atomic instructions.
const atomics64 = true
