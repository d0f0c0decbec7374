package sys

import "golang.org/x/sys/unix"

// Commands of membarrier(2), which x/sys does not name.
const (
	globalBarrier   = 1 << 1 // MEMBARRIER_CMD_GLOBAL_EXPEDITED
	registerBarrier = 1 << 2 // MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
)

// RegisterBarrier makes Barrier of every process reach this one.
func RegisterBarrier() error {
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, registerBarrier, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// Barrier is a full memory barrier in every running thread of every process that has called
// RegisterBarrier. It takes some microseconds.
func Barrier() error {
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, globalBarrier, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
