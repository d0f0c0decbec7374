//go:build linux || darwin

package sys

import (
	"golang.org/x/sys/unix"
)

// flock makes one call about n lock bytes from off.
func (fd FD) flock(cmd int, typ int16, off, n int64) (unix.Flock_t, error) {
	l := unix.Flock_t{Type: typ, Start: off, Len: n}
	err := retry(func() error { return unix.FcntlFlock(uintptr(fd), cmd, &l) })
	switch err {
	case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOLCK:
		err = &noLocks{err} // the arguments are valid, so it is the command that is not known
	}
	return l, err
}

func (fd FD) Lock(off int64, shared bool) error {
	typ := int16(unix.F_WRLCK)
	if shared {
		typ = unix.F_RDLCK
	}
	_, err := fd.flock(setLock, typ, off, 1)
	if err == unix.EAGAIN || err == unix.EACCES {
		return ErrHeld
	}
	return err
}

func (fd FD) LockWait(off int64) error {
	_, err := fd.flock(setLockWait, unix.F_WRLCK, off, 1)
	return err
}

func (fd FD) Unlock(off, n int64) error {
	_, err := fd.flock(setLock, unix.F_UNLCK, off, n)
	return err
}

func (fd FD) Held(off, n int64) (bool, error) {
	l, err := fd.flock(getLock, unix.F_RDLCK, off, n)
	return l.Type != unix.F_UNLCK, err
}

func (fd FD) Shared(off int64) (bool, error) {
	l, err := fd.flock(getLock, unix.F_WRLCK, off, 1)
	return l.Type != unix.F_UNLCK, err
}
