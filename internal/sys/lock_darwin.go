package sys

// Commands of fcntl for locks of open file descriptions, from bsd/sys/fcntl.h: x/sys does not name
// them.
const (
	setLock     = 90 // F_OFD_SETLK
	setLockWait = 91 // F_OFD_SETLKW
	getLock     = 92 // F_OFD_GETLK
)
