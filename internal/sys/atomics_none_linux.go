//go:build mips || mipsle || (arm && !arm.7)

package sys

// On these machines Go makes 64-bit atomics of a lock inside the process: other processes do not see it.
const atomics64 = false
