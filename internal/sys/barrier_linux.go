//go:build !portable

package sys

import "golang.org/x/sys/unix"

// Commands of membarrier(2), which x/sys does not name.
const (
	globalBarrier   = 1 << 1 // MEMBARRIER_CMD_GLOBAL_EXPEDITED
	registerBarrier = 1 << 2 // MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
)

func RegisterBarrier() error {
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, registerBarrier, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func Barrier() error {
	_, _, e := unix.Syscall(unix.SYS_MEMBARRIER, globalBarrier, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
