//go:build !mips && !mipsle && (!arm || arm.7)

package sys

const atomics64 = true
