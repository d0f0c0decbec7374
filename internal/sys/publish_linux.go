//go:build !portable

package sys

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

func CreateNameless(dir string, mode fs.FileMode) (FD, error) {
	return open(dir, unix.O_TMPFILE|unix.O_RDWR, uint32(mode.Perm()))
}

func NoNameless(err error) bool {
	// Kernels that do not know O_TMPFILE return EISDIR.
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) ||
		errors.Is(err, unix.EINVAL)
}

func CreateAnonymous(name string) (FD, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return NoFD, err
	}
	return FD(fd), nil
}

func (fd FD) Seal() error {
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return err
}

func (fd FD) Sealed() bool {
	s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && s&unix.F_SEAL_SHRINK != 0
}

func (fd FD) Link(path string) error {
	return retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, fd.procPath(), unix.AT_FDCWD, path,
			unix.AT_SYMLINK_FOLLOW)
	})
}

func rename(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
}

func RenameExclusive(from, to string) error {
	err := retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	if err := retry(func() error { return unix.Link(from, to) }); err != nil {
		return err
	}
	return Unlink(from)
}

func (fd FD) Allocate(off, n int64) error {
	return retry(func() error { return unix.Fallocate(int(fd), 0, off, n) })
}
