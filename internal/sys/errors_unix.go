//go:build linux || darwin

package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Errors that the library distinguishes.
var (
	ErrHeld    error = unix.EWOULDBLOCK // the lock byte is held
	ErrNoSpace error = unix.ENOSPC
	ErrLoop    error = unix.ELOOP
	ErrIsDir   error = unix.EISDIR
	ErrNotDir  error = unix.ENOTDIR
	ErrMFile   error = unix.EMFILE
	ErrNFile   error = unix.ENFILE
	ErrNoMem   error = unix.ENOMEM
	ErrQuota   error = unix.EDQUOT
	ErrTooLong error = unix.ENAMETOOLONG
	ErrFBig    error = unix.EFBIG
	ErrROFS    error = unix.EROFS

	ErrNotSupported error = unix.EOPNOTSUPP

	// ErrNoLocks is returned where the kernel or the file system has no locks of open file
	// descriptions.
	ErrNoLocks = errors.New("no locks of open file descriptions")
)

// A noLocks is ErrNoLocks with the kernel's error.
type noLocks struct{ err error }

func (e *noLocks) Error() string        { return e.err.Error() }
func (e *noLocks) Unwrap() error        { return e.err }
func (e *noLocks) Is(target error) bool { return target == ErrNoLocks }
