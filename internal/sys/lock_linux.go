package sys

import "golang.org/x/sys/unix"

// Commands of fcntl for locks of open file descriptions.
const (
	setLock     = unix.F_OFD_SETLK
	setLockWait = unix.F_OFD_SETLKW
	getLock     = unix.F_OFD_GETLK
)
