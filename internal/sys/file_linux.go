package sys

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Supported reports whether named segments work on this system.
const Supported = atomics64

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

// Open opens the file at path. It follows no symbolic link, does not block on a FIFO, and creates
// nothing.
func Open(path string, write bool) (FD, error) {
	return open(path, access(write)|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// OpenPath opens the file at path only to keep its inode and to describe it. It follows no symbolic
// link, and needs no permission on the file, which may be of any kind.
func OpenPath(path string) (FD, error) {
	return open(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// OpenAny opens the file that path leads to, also through links such as /proc/PID/fd/N.
func OpenAny(path string, write bool) (FD, error) {
	return open(path, access(write)|unix.O_NONBLOCK, 0)
}

// CreateNameless creates a file in dir that has no name; see Link.
func CreateNameless(dir string, mode fs.FileMode) (FD, error) {
	return open(dir, unix.O_TMPFILE|unix.O_RDWR, uint32(mode.Perm()))
}

// NoNameless reports whether an error of CreateNameless or Link means that the kernel or the file
// system has no nameless files.
func NoNameless(err error) bool {
	// Kernels that do not know O_TMPFILE return EISDIR.
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) ||
		errors.Is(err, unix.EINVAL)
}

// CreateExclusive creates the file at path. It returns fs.ErrExist if path exists.
func CreateExclusive(path string, mode fs.FileMode) (FD, error) {
	return open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, uint32(mode.Perm()))
}

// CreateAnonymous creates a file in memory that has no name in any directory; see Seal.
func CreateAnonymous(name string) (FD, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return NoFD, err
	}
	return FD(fd), nil
}

// Seal makes the size of an anonymous file final: no process can change it afterwards.
func (fd FD) Seal() error {
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return err
}

// Sealed reports whether no process can shrink the file.
func (fd FD) Sealed() bool {
	s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && s&unix.F_SEAL_SHRINK != 0
}

// procPath returns a path of the open file that does not depend on its name.
func (fd FD) procPath() string { return "/proc/self/fd/" + strconv.Itoa(int(fd)) }

// Reopen opens the same file once more. The new FD has locks of its own.
func (fd FD) Reopen(write bool) (FD, error) { return OpenAny(fd.procPath(), write) }

// Link gives a nameless file the name path. It returns fs.ErrExist if path exists.
func (fd FD) Link(path string) error {
	return retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, fd.procPath(), unix.AT_FDCWD, path,
			unix.AT_SYMLINK_FOLLOW)
	})
}

// Rename renames a file. What to leads to is replaced.
func Rename(from, to string) error {
	return retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
	})
}

// RenameExclusive renames a file. It returns fs.ErrExist if to exists.
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

// Unlink removes a name.
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

// Stat returns the description of the open file.
func (fd FD) Stat() (Stat, error) {
	var s unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(fd), &s) }); err != nil {
		return Stat{}, err
	}
	return toStat(&s), nil
}

// Lstat returns the description of the file at path. It does not follow a symbolic link.
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

// Chgrp gives the file to a group.
func (fd FD) Chgrp(gid uint32) error {
	return retry(func() error { return unix.Fchown(int(fd), -1, int(gid)) })
}

// Owned reports whether the kernel takes this process for the file's owner, or for a process with
// the owner's rights. Unlike a comparison of ids that holds in a user namespace, too: the kernel
// lets only the owner set O_NOATIME.
func (fd FD) Owned() bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NOATIME); err != nil {
		return false
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	return true
}

// OverflowUID and OverflowGID return the ids that stand for every user and group that a user
// namespace does not map.
func OverflowUID() uint32 { return overflowUID() }

// OverflowGID is documented at OverflowUID.
func OverflowGID() uint32 { return overflowGID() }

var (
	overflowUID = sync.OnceValue(func() uint32 { return overflow("uid") })
	overflowGID = sync.OnceValue(func() uint32 { return overflow("gid") })
)

func overflow(kind string) uint32 {
	b, err := os.ReadFile("/proc/sys/kernel/overflow" + kind)
	if err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil {
			return uint32(n)
		}
	}
	return 65534 // the default of Linux
}

// GroupID returns the id of a group in /etc/group.
func GroupID(name string) (id uint64, ok bool) {
	b, err := os.ReadFile("/etc/group")
	if err != nil {
		return 0, false
	}
	for l := range strings.SplitSeq(string(b), "\n") {
		f := strings.Split(l, ":") // name, password, id, members
		if len(f) >= 3 && f[0] == name {
			id, err := strconv.ParseUint(f[2], 10, 32)
			return id, err == nil
		}
	}
	return 0, false
}

// Chmod sets the permissions. The umask does not apply.
func (fd FD) Chmod(mode fs.FileMode) error { return unix.Fchmod(int(fd), uint32(mode.Perm())) }

// ReadAt fills b from offset off. It returns how many bytes it read, and no error when the file is
// shorter.
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

// Allocate reserves the memory of n bytes from off, and makes the file that long. So no later store
// finds the file system full. The caller asks for one Piece at most.
func (fd FD) Allocate(off, n int64) error {
	return retry(func() error { return unix.Fallocate(int(fd), 0, off, n) })
}

// Truncate sets the file's size. It frees memory beyond that size and reserves none.
func (fd FD) Truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(int(fd), size) })
}

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

// A noLocks is ErrNoLocks with the kernel's error.
type noLocks struct{ err error }

func (e *noLocks) Error() string        { return e.err.Error() }
func (e *noLocks) Unwrap() error        { return e.err }
func (e *noLocks) Is(target error) bool { return target == ErrNoLocks }

// Lock takes a lock byte, for this FD alone or shared with others that share it. It does not wait,
// and returns ErrHeld if another open file has the byte.
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

// LockWait waits for a lock byte and takes it. It is for tests: a stopped holder blocks it without
// limit.
func (fd FD) LockWait(off int64) error {
	_, err := fd.flock(unix.F_OFD_SETLKW, unix.F_WRLCK, off, 1)
	return err
}

// Unlock frees n lock bytes from off, in one step.
func (fd FD) Unlock(off, n int64) error {
	_, err := fd.flock(unix.F_OFD_SETLK, unix.F_UNLCK, off, n)
	return err
}

// Held reports whether an open file other than this one has any of n lock bytes from off for itself
// alone. Shared locks do not count: a process that may only read the file can take them.
func (fd FD) Held(off, n int64) (bool, error) {
	l, err := fd.flock(unix.F_OFD_GETLK, unix.F_RDLCK, off, n)
	return l.Type != unix.F_UNLCK, err
}

// Shared reports whether an open file other than this one has a lock byte, shared or not.
func (fd FD) Shared(off int64) (bool, error) {
	l, err := fd.flock(unix.F_OFD_GETLK, unix.F_WRLCK, off, 1)
	return l.Type != unix.F_UNLCK, err
}

// Close closes the file. The kernel frees its locks when no mapping and no copy of the FD is left.
func (fd FD) Close() error { return unix.Close(int(fd)) }

// File returns an os.File, which owns the descriptor from now on.
func (fd FD) File(name string) *os.File { return os.NewFile(uintptr(fd), name) }

// MountOf returns the description of the file system under dir.
func MountOf(dir string) (Mount, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return Mount{}, err
	}
	bs := int64(s.Bsize)
	return Mount{
		Type: int64(uint32(s.Type)), Size: int64(s.Blocks) * bs, Avail: int64(s.Bavail) * bs,
		Files: int64(s.Files), Inodes: int64(s.Ffree), ReadOnly: s.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// InMemory reports whether the file is in memory and nowhere else.
func (fd FD) InMemory() bool {
	var s unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(int(fd), &s) })
	return err == nil && inMemory(int64(uint32(s.Type)))
}

// HasProc reports whether /proc is mounted, by which files without a name are reached.
func HasProc() bool {
	var s unix.Stat_t
	return retry(func() error { return unix.Stat("/proc/self/fd", &s) }) == nil
}

// Huge returns how many of the n mapped bytes from addr lie in huge pages of this process.
func Huge(addr, n uintptr) (bytes int64, err error) {
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	in := false
	for l := range strings.Lines(string(b)) {
		key, rest, _ := strings.Cut(l, ":")
		f := strings.Fields(rest)
		switch {
		case strings.Contains(key, "-"): // a mapping: from-to
			from, to, _ := strings.Cut(strings.Fields(l)[0], "-")
			a, err1 := strconv.ParseUint(from, 16, 64)
			e, err2 := strconv.ParseUint(to, 16, 64)
			in = err1 == nil && err2 == nil && a >= uint64(addr) && e <= uint64(addr+n)
		case in && len(f) > 0 && (key == "ShmemPmdMapped" || key == "FilePmdMapped" ||
			key == "Shared_Hugetlb"):
			kb, err := strconv.ParseInt(f[0], 10, 64)
			if err != nil {
				return 0, err
			}
			bytes += kb << 10
		}
	}
	return bytes, nil
}

// totalMemory returns the machine's memory in bytes, swap included, 0 if unknown.
func totalMemory() int64 {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0
	}
	return int64((uint64(s.Totalram) + uint64(s.Totalswap)) * uint64(s.Unit))
}

// MayUnlink returns nil if this process may unlink the file in dir, else the reason.
func MayUnlink(dir string, file FD) error {
	err := retry(func() error {
		return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
	if err != nil {
		return err
	}
	d, err := Lstat(dir)
	if err != nil {
		return err
	}
	if d.Mode&fs.ModeSticky != 0 && !file.Owned() && !ownsDir(dir, d) {
		return unix.EPERM
	}
	return nil
}

// ownsDir reports whether a directory belongs to this user.
func ownsDir(dir string, st Stat) bool {
	me := uint32(os.Geteuid())
	if st.UID != me || me != OverflowUID() {
		return st.UID == me
	}
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer fd.Close()
	return fd.Owned()
}

// Errors that the library distinguishes.
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

	ErrNotSupported error = unix.EOPNOTSUPP

	// ErrNoLocks is returned where the kernel or the file system has no locks of open file
	// descriptions.
	ErrNoLocks = errors.New("no locks of open file descriptions")
)

// DefaultDir is the directory of the files that shm_open creates in C.
const DefaultDir = "/dev/shm"

// PIDNamespace returns the inode of this process's PID namespace, 0 if unknown.
func PIDNamespace() uint64 {
	var s unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &s); err != nil {
		return 0
	}
	return s.Ino
}
