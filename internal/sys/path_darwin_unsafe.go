//go:build darwin

package sys

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Path asks the kernel for a path of the open file.
func (fd FD) Path() (string, error) {
	var b [1024]byte // MAXPATHLEN, which F_GETPATH may fill
	// FcntlFlock passes any pointer on.
	err := retry(func() error {
		return unix.FcntlFlock(uintptr(fd), unix.F_GETPATH, (*unix.Flock_t)(unsafe.Pointer(&b)))
	})
	if err != nil {
		return "", err
	}
	return string(b[:max(bytes.IndexByte(b[:], 0), 0)]), nil
}
