//go:build !portable

package sys

import "golang.org/x/sys/unix"

// The kernel answers by a lease, which it grants only for a file that no other open file leads to.
// The lease is kept until the FD is closed: a process that opens the file meanwhile waits.
func (fd FD) InUse() (bool, error) {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	if err == unix.EAGAIN {
		return true, nil
	}
	return false, err
}
