//go:build linux || darwin

package sys

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Supported reports whether named segments work on this system.
const Supported = atomics64

// HasModes and PassesFiles: see file.go.
const (
	HasModes    = true
	PassesFiles = true
)

// retry calls f until no signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func open(path string, flags int, perm uint32) (FD, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, perm)
		return err
	})
	if err != nil {
		return NoFD, err
	}
	return FD(fd), nil
}

func access(write bool) int {
	if write {
		return unix.O_RDWR
	}
	return unix.O_RDONLY
}

func Open(path string, write bool) (FD, error) {
	return open(path, access(write)|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

func OpenAny(path string, write bool) (FD, error) {
	return open(path, access(write)|unix.O_NONBLOCK, 0)
}

func CreateExclusive(path string, mode fs.FileMode) (FD, error) {
	return open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, uint32(mode.Perm()))
}

func Rename(from, to string) error {
	return retry(func() error {
		return rename(from, to)
	})
}

func Unlink(path string) error { return retry(func() error { return unix.Unlink(path) }) }

func toStat(s *unix.Stat_t) Stat {
	t := Stat{
		Dev: uint64(s.Dev), Ino: s.Ino, Size: s.Size, Blocks: int64(s.Blocks),
		Mode: fs.FileMode(s.Mode & 0o777), UID: s.Uid, GID: s.Gid, Nlink: uint64(s.Nlink),
		Modified: time.Unix(s.Mtim.Unix()),
	}
	if s.Mode&unix.S_ISVTX != 0 {
		t.Mode |= fs.ModeSticky
	}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		t.Mode |= fs.ModeDir
	case unix.S_IFLNK:
		t.Mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		t.Mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		t.Mode |= fs.ModeSocket
	case unix.S_IFCHR:
		t.Mode |= fs.ModeDevice | fs.ModeCharDevice
	default:
		t.Mode |= fs.ModeDevice
	}
	return t
}

func (fd FD) Stat() (Stat, error) {
	var s unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(fd), &s) }); err != nil {
		return Stat{}, err
	}
	return toStat(&s), nil
}

func Lstat(path string) (Stat, error) {
	var s unix.Stat_t
	err := retry(func() error {
		return unix.Fstatat(unix.AT_FDCWD, path, &s, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Stat{}, err
	}
	return toStat(&s), nil
}

func (fd FD) Chgrp(gid uint32) error {
	return retry(func() error { return unix.Fchown(int(fd), -1, int(gid)) })
}

func (fd FD) Chmod(mode fs.FileMode) error { return unix.Fchmod(int(fd), uint32(mode.Perm())) }

func (fd FD) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		var m int
		err := retry(func() (err error) {
			m, err = unix.Pread(int(fd), b[n:], off+int64(n))
			return err
		})
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (fd FD) WriteAt(b []byte, off int64) error {
	for len(b) > 0 {
		var m int
		err := retry(func() (err error) { m, err = unix.Pwrite(int(fd), b, off); return err })
		if err != nil {
			return err
		}
		if m == 0 {
			return unix.EIO
		}
		b, off = b[m:], off+int64(m)
	}
	return nil
}

func (fd FD) Truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(int(fd), size) })
}

func (fd FD) Close() error { return unix.Close(int(fd)) }

func (fd FD) File(name string) *os.File { return os.NewFile(uintptr(fd), name) }
