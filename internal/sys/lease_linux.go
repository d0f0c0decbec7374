package sys

import "golang.org/x/sys/unix"

// InUse reports whether any open file other than this one leads to the file, also in another PID
// namespace, and also where only a mapping is left of it. This user must own the file. The kernel
// answers by a lease, which it grants only for a file that no other open file leads to. The lease
// is kept until the FD is closed: a process that opens the file meanwhile waits.
func (fd FD) InUse() (bool, error) {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	if err == unix.EAGAIN {
		return true, nil
	}
	return false, err
}
