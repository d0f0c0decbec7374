package sys

import (
	"errors"

	"golang.org/x/sys/windows"
)

// Errors that the library distinguishes.
var (
	ErrHeld    error = windows.ERROR_LOCK_VIOLATION // the lock byte is held
	ErrNoSpace error = windows.ERROR_DISK_FULL
	ErrMFile   error = windows.ERROR_TOO_MANY_OPEN_FILES
	ErrNFile   error = windows.ERROR_NO_SYSTEM_RESOURCES
	ErrNoMem   error = windows.ERROR_NOT_ENOUGH_MEMORY
	ErrQuota   error = windows.ERROR_DISK_QUOTA_EXCEEDED
	ErrTooLong error = windows.ERROR_FILENAME_EXCED_RANGE
	ErrFBig    error = windows.ERROR_FILE_TOO_LARGE
	ErrROFS    error = windows.ERROR_WRITE_PROTECT
	ErrNotDir  error = windows.ERROR_DIRECTORY

	ErrNotSupported error = windows.ERROR_NOT_SUPPORTED

	// The system has no errors of their own for these.
	ErrLoop  = errors.New("it is a symbolic link or another reparse point")
	ErrIsDir = errors.New("it is a directory")
	ErrNoDev = errors.New("it is a device")

	// ErrNoLocks is not returned here: every file system has such locks.
	ErrNoLocks = errors.New("no locks of open files")
)
