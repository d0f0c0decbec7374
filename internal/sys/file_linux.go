package sys

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Supported reports whether named segments work on this system.
const Supported = atomics64

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

// Open opens the file at path itself: no symbolic link is followed, a FIFO does not block, nothing is created.
func Open(path string, write bool) (FD, error) {
	return open(path, access(write)|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// OpenAny opens what path leads to, links such as /proc/PID/fd/N included.
func OpenAny(path string, write bool) (FD, error) {
	return open(path, access(write)|unix.O_NONBLOCK, 0)
}

// CreateNameless makes a file in dir that has no name yet.
func CreateNameless(dir string, mode fs.FileMode) (FD, error) {
	return open(dir, unix.O_TMPFILE|unix.O_RDWR, uint32(mode.Perm()))
}

// NoNameless reports whether err of CreateNameless, or of Link, means that the file system or kernel cannot do it.
func NoNameless(err error) bool {
	// EISDIR is the answer of kernels that do not know O_TMPFILE.
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL)
}

// CreateExclusive makes the file at path, which must not exist.
func CreateExclusive(path string, mode fs.FileMode) (FD, error) {
	return open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, uint32(mode.Perm()))
}

// CreateAnonymous makes a file that lives in memory only and cannot shrink or grow once sealed.
func CreateAnonymous(name string) (FD, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return NoFD, err
	}
	return FD(fd), nil
}

// Seal makes the size of an anonymous file final.
func (fd FD) Seal() error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return err
}

// Sealed reports whether nobody can shrink the file.
func (fd FD) Sealed() bool {
	s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && s&unix.F_SEAL_SHRINK != 0
}

// procPath names the open file itself, whatever its name is.
func (fd FD) procPath() string { return "/proc/self/fd/" + strconv.Itoa(int(fd)) }

// Reopen opens the same file again, with locks of its own.
func (fd FD) Reopen(write bool) (FD, error) { return OpenAny(fd.procPath(), write) }

// Link gives a nameless file its name; path must not exist.
func (fd FD) Link(path string) error {
	return retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, fd.procPath(), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	})
}

// RenameExclusive renames a file; there must be none at to.
func RenameExclusive(from, to string) error {
	err := retry(func() error { return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE) })
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	if err := retry(func() error { return unix.Link(from, to) }); err != nil {
		return err
	}
	return Unlink(from)
}

// Unlink takes a name away.
func Unlink(path string) error { return retry(func() error { return unix.Unlink(path) }) }

func toStat(s *unix.Stat_t) Stat {
	t := Stat{
		Dev: uint64(s.Dev), Ino: s.Ino, Size: s.Size, Blocks: int64(s.Blocks),
		Mode: fs.FileMode(s.Mode & 0o777), UID: s.Uid, Nlink: uint64(s.Nlink),
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

// Stat describes the open file.
func (fd FD) Stat() (Stat, error) {
	var s unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(fd), &s) }); err != nil {
		return Stat{}, err
	}
	return toStat(&s), nil
}

// Lstat describes what is at path; a symbolic link is not followed.
func Lstat(path string) (Stat, error) {
	var s unix.Stat_t
	err := retry(func() error { return unix.Fstatat(unix.AT_FDCWD, path, &s, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return Stat{}, err
	}
	return toStat(&s), nil
}

// Chmod sets the mode exactly, whatever the umask is.
func (fd FD) Chmod(mode fs.FileMode) error { return unix.Fchmod(int(fd), uint32(mode.Perm())) }

// ReadAt fills b from offset off and says how much there was.
func (fd FD) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		var m int
		err := retry(func() (err error) { m, err = unix.Pread(int(fd), b[n:], off+int64(n)); return err })
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// WriteAt writes b at offset off.
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

// Allocate makes the file size bytes long and reserves all of its memory, so that no later store
// can find the file system full.
func (fd FD) Allocate(size int64) error {
	for off := int64(0); off < size; off += Piece {
		n := min(Piece, size-off)
		if err := retry(func() error { return unix.Fallocate(int(fd), 0, off, n) }); err != nil {
			return err
		}
	}
	return nil
}

// Truncate sets the size without reserving memory; it is how memory is given back.
func (fd FD) Truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(int(fd), size) })
}

func (fd FD) flock(cmd int, typ int16, off, n int64) (unix.Flock_t, error) {
	l := unix.Flock_t{Type: typ, Start: off, Len: n}
	err := retry(func() error { return unix.FcntlFlock(uintptr(fd), cmd, &l) })
	return l, err
}

// Lock takes a lock byte without waiting. ErrHeld: somebody else has it.
func (fd FD) Lock(off int64, shared bool) error {
	typ := int16(unix.F_WRLCK)
	if shared {
		typ = unix.F_RDLCK
	}
	_, err := fd.flock(unix.F_OFD_SETLK, typ, off, 1)
	if err == unix.EAGAIN || err == unix.EACCES {
		return ErrHeld
	}
	return err
}

// LockWait takes a lock byte, for as long as it takes. It is for tests: a stopped holder blocks it for ever.
func (fd FD) LockWait(off int64) error {
	_, err := fd.flock(unix.F_OFD_SETLKW, unix.F_WRLCK, off, 1)
	return err
}

// Unlock frees n lock bytes at once.
func (fd FD) Unlock(off, n int64) error {
	_, err := fd.flock(unix.F_OFD_SETLK, unix.F_UNLCK, off, n)
	return err
}

// Held reports whether anybody but this open file holds any of n lock bytes.
func (fd FD) Held(off, n int64) (bool, error) {
	l, err := fd.flock(unix.F_OFD_GETLK, unix.F_WRLCK, off, n)
	return l.Type != unix.F_UNLCK, err
}

// Close closes the file. Locks stay for as long as it is mapped anywhere in this process.
func (fd FD) Close() error { return unix.Close(int(fd)) }

// File hands the descriptor over to an os.File.
func (fd FD) File(name string) *os.File { return os.NewFile(uintptr(fd), name) }

// MountOf describes the file system under dir.
func MountOf(dir string) (Mount, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return Mount{}, err
	}
	bs := int64(s.Bsize)
	return Mount{Type: int64(uint32(s.Type)), Size: int64(s.Blocks) * bs, Avail: int64(s.Bavail) * bs, Inodes: int64(s.Ffree)}, nil
}

// Memory is how many bytes the machine has, swap included; 0 if unknown.
func Memory() int64 {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0
	}
	return int64((uint64(s.Totalram) + uint64(s.Totalswap)) * uint64(s.Unit))
}

// MayUnlink reports whether this process may unlink a file of user uid in dir.
func MayUnlink(dir string, uid uint32) error {
	if err := retry(func() error { return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) }); err != nil {
		return err
	}
	d, err := Lstat(dir)
	if err != nil {
		return err
	}
	me := uint32(os.Geteuid())
	if d.Mode&fs.ModeSticky != 0 && me != 0 && me != uid && me != d.UID {
		return unix.EPERM
	}
	return nil
}

// Conditions that the library tells apart.
var (
	ErrHeld    error = unix.EWOULDBLOCK // the lock byte is held
	ErrNoSpace error = unix.ENOSPC
	ErrLoop    error = unix.ELOOP
	ErrIsDir   error = unix.EISDIR
	ErrNoDev   error = unix.ENXIO
	ErrNotDir  error = unix.ENOTDIR
	ErrMFile   error = unix.EMFILE
	ErrNFile   error = unix.ENFILE
	ErrNoMem   error = unix.ENOMEM
	ErrQuota   error = unix.EDQUOT
	ErrTooLong error = unix.ENAMETOOLONG
	ErrFBig    error = unix.EFBIG
	ErrROFS    error = unix.EROFS
)

// DefaultDir is where shm_open of C puts its files.
const DefaultDir = "/dev/shm"

// PIDNamespace is the inode of this process's PID namespace, 0 if unknown.
func PIDNamespace() uint64 {
	var s unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &s); err != nil {
		return 0
	}
	return s.Ino
}
