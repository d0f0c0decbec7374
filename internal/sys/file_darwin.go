package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// DefaultDir is a directory of this user alone, on a disk: the system has no file system in memory.
var DefaultDir = fmt.Sprintf("/private/tmp/shmem-%d", os.Geteuid())

var weakerHere = []string{
	"segments are files of a disk: their pages may be written, and a store may wait for that",
}

func MakeDefaultDir() error { return makePrivate(DefaultDir) }

// OpenPath needs permission to read the file.
func OpenPath(path string) (FD, error) { return open(path, unix.O_EVTONLY|unix.O_NOFOLLOW, 0) }

func statfs(s *unix.Statfs_t) Mount {
	bs := int64(s.Bsize)
	return Mount{
		Type: int64(s.Type), Size: int64(s.Blocks) * bs, Avail: int64(s.Bavail) * bs,
		Files: int64(s.Files), Inodes: int64(s.Ffree), ReadOnly: s.Flags&unix.MNT_RDONLY != 0,
	}
}

func MountOf(dir string) (Mount, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return Mount{}, err
	}
	return statfs(&s), nil
}

// DiskOnly: see file.go.
const DiskOnly = true

// InMemory is true: no program has to ask for the disk by an option.
func (fd FD) InMemory() bool { return true }

func HasProc() bool { return true }

func rename(from, to string) error { return unix.Rename(from, to) }

func RenameExclusive(from, to string) error {
	err := retry(func() error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) })
	if err != unix.ENOTSUP && err != unix.EINVAL {
		return err
	}
	if err := retry(func() error { return unix.Link(from, to) }); err != nil {
		return err
	}
	return Unlink(from)
}

// Allocate asks for blocks behind the end of the file, and makes it longer.
func (fd FD) Allocate(off, n int64) error {
	st, err := fd.Stat()
	if err != nil || st.Size >= off+n {
		return err
	}
	store := unix.Fstore_t{
		Flags: unix.F_ALLOCATEALL, Posmode: unix.F_PEOFPOSMODE, Length: off + n - st.Size,
	}
	err = retry(func() error {
		return unix.FcntlFstore(uintptr(fd), unix.F_PREALLOCATE, &store)
	})
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return fd.Truncate(off + n)
}

// ErrNoDev is what opening a socket returns.
var ErrNoDev error = unix.EOPNOTSUPP

// effective makes Faccessat ask for the effective user (AT_EACCESS).
const effective = 0x10
