//go:build linux && (amd64 || arm64)

package kernel

import (
	"syscall"

	"github.com/shmembox/shmem/tests/replay/world"
)

// Flags of Linux that package syscall does not name.
const TmpFile = 0o20000000 | syscall.O_DIRECTORY

func endOf(pid int) world.Key { return world.Key{Kind: world.End, A: uintptr(pid)} }

// byPID is the process of that number, nil if its end has been told.
func byPID(pid int) *world.Process {
	for _, p := range world.Running().Processes() {
		if p.PID == pid && !p.Told() {
			return p
		}
	}
	return nil
}

// OpenProcess is pidfd_open(2).
func OpenProcess(pid int) (int, error) {
	if err := call(syscall.EMFILE); err != nil {
		return -1, err
	}
	if byPID(pid) == nil {
		return -1, syscall.ESRCH
	}
	return install(&openFile{pid: pid}), nil
}

// Ended reports whether the process that a descriptor is open on has ended.
func Ended(fd int) (bool, error) {
	f, err := file(fd)
	if err != nil {
		return false, err
	}
	return byPID(f.pid) == nil, nil
}

// Await parks the running thread until ready, which is asked when the process of the descriptor has
// ended, and when it is closed: then the error is EBADF.
func Await(fd int, ready func() bool) error {
	world.Point()
	for {
		f, err := file(fd)
		if err != nil {
			return err
		}
		if ready() {
			return nil
		}
		world.Block(-1, endOf(f.pid))
	}
}

// CloseProcess closes a process descriptor and wakes who awaits it.
func CloseProcess(fd int) error {
	f, err := file(fd)
	if err != nil {
		return err
	}
	if err := Close(fd); err != nil {
		return err
	}
	world.Wake(endOf(f.pid), 0)
	return nil
}
