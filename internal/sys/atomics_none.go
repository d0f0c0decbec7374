//go:build mips || mipsle || (arm && !arm.7)

package sys

// atomics64 is false where Go emulates 64-bit atomics with a lock inside the process, which other
// processes do not see.
const atomics64 = false
