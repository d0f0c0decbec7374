//go:build linux && (amd64 || arm64)

// Package unix stands in for golang.org/x/sys/unix: it translates what internal/sys calls to calls
// of package kernel. The code of internal/sys itself runs as it is, retries included.
package unix

import (
	"syscall"
	"time"
	"unsafe"

	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/world"
)

// Types of system calls.
type (
	Stat_t    = syscall.Stat_t
	Flock_t   = syscall.Flock_t
	Statfs_t  = syscall.Statfs_t
	Sysinfo_t = syscall.Sysinfo_t
	Timespec  = syscall.Timespec
	Errno     = syscall.Errno
)

// A PollFd is that of poll(2).
type PollFd struct {
	Fd              int32
	Events, Revents int16
}

// Errors of system calls.
const (
	EACCES       = syscall.EACCES
	EAGAIN       = syscall.EAGAIN
	EBADF        = syscall.EBADF
	EBUSY        = syscall.EBUSY
	EDQUOT       = syscall.EDQUOT
	EEXIST       = syscall.EEXIST
	EFBIG        = syscall.EFBIG
	EINTR        = syscall.EINTR
	EINVAL       = syscall.EINVAL
	EIO          = syscall.EIO
	EISDIR       = syscall.EISDIR
	ELOOP        = syscall.ELOOP
	EMFILE       = syscall.EMFILE
	ENAMETOOLONG = syscall.ENAMETOOLONG
	ENFILE       = syscall.ENFILE
	ENOENT       = syscall.ENOENT
	ENOLCK       = syscall.ENOLCK
	ENOMEM       = syscall.ENOMEM
	ENOSPC       = syscall.ENOSPC
	ENOSYS       = syscall.ENOSYS
	ENOTDIR      = syscall.ENOTDIR
	ENXIO        = syscall.ENXIO
	EOPNOTSUPP   = syscall.EOPNOTSUPP
	EPERM        = syscall.EPERM
	EROFS        = syscall.EROFS
	ESRCH        = syscall.ESRCH
	EWOULDBLOCK  = syscall.EWOULDBLOCK
)

// Flags of system calls, as on Linux.
const (
	AT_EACCESS          = 0x200
	AT_EMPTY_PATH       = 0x1000
	AT_FDCWD            = -0x64
	AT_SYMLINK_FOLLOW   = 0x400
	AT_SYMLINK_NOFOLLOW = 0x100
	F_GETFL             = syscall.F_GETFL
	F_SETFL             = syscall.F_SETFL
	F_ADD_SEALS         = 0x409
	F_GET_SEALS         = 0x40a
	F_OFD_GETLK         = 0x24
	F_SETLEASE          = 0x400
	F_OFD_SETLK         = 0x25
	F_OFD_SETLKW        = 0x26
	F_RDLCK             = syscall.F_RDLCK
	F_UNLCK             = syscall.F_UNLCK
	F_WRLCK             = syscall.F_WRLCK
	F_SEAL_SEAL         = 1
	F_SEAL_SHRINK       = 2
	F_SEAL_GROW         = 4
	F_SEAL_WRITE        = 8
	IN_ATTRIB           = 0x4
	IN_CLOEXEC          = syscall.O_CLOEXEC
	IN_CREATE           = 0x100
	IN_DELETE_SELF      = 0x400
	IN_MOVED_TO         = 0x80
	IN_MOVE_SELF        = 0x800
	IN_NONBLOCK         = syscall.O_NONBLOCK
	IN_ONLYDIR          = 0x1000000
	IN_Q_OVERFLOW       = 0x4000
	MADV_HUGEPAGE       = 0xe
	MADV_COLLAPSE       = 0x19
	MADV_POPULATE_READ  = 0x16
	MADV_POPULATE_WRITE = 0x17
	MAP_ANON            = syscall.MAP_ANON
	SEEK_DATA           = 0x3
	SEEK_HOLE           = 0x4
	MAP_FIXED           = syscall.MAP_FIXED
	MAP_FIXED_NOREPLACE = 0x100000
	MAP_NORESERVE       = syscall.MAP_NORESERVE
	MAP_PRIVATE         = syscall.MAP_PRIVATE
	MAP_SHARED          = syscall.MAP_SHARED
	MFD_ALLOW_SEALING   = 2
	MFD_CLOEXEC         = 1
	O_CLOEXEC           = syscall.O_CLOEXEC
	O_CREAT             = syscall.O_CREAT
	O_EXCL              = syscall.O_EXCL
	O_DIRECTORY         = syscall.O_DIRECTORY
	O_NOATIME           = syscall.O_NOATIME
	O_NOFOLLOW          = syscall.O_NOFOLLOW
	O_PATH              = 0x200000
	O_NONBLOCK          = syscall.O_NONBLOCK
	O_RDONLY            = syscall.O_RDONLY
	O_RDWR              = syscall.O_RDWR
	O_TMPFILE           = kernel.TmpFile
	PIDFD_NONBLOCK      = syscall.O_NONBLOCK
	POLLIN              = 1
	PROT_NONE           = syscall.PROT_NONE
	PROT_READ           = syscall.PROT_READ
	PROT_WRITE          = syscall.PROT_WRITE
	RENAME_NOREPLACE    = 1
	ST_RDONLY           = 1
	S_IFCHR             = syscall.S_IFCHR
	S_IFDIR             = syscall.S_IFDIR
	S_IFIFO             = syscall.S_IFIFO
	S_IFLNK             = syscall.S_IFLNK
	S_IFMT              = syscall.S_IFMT
	S_IFREG             = syscall.S_IFREG
	S_IFSOCK            = syscall.S_IFSOCK
	S_ISVTX             = syscall.S_ISVTX
	W_OK                = 2
	X_OK                = 1
	SizeofInotifyEvent  = 16
	SYS_FUTEX           = syscall.SYS_FUTEX
	SYS_FUTEX_WAITV     = 449
	SYS_MEMBARRIER      = 324
)

// Open, Close, Fchmod and so on are those of Linux.
func Open(path string, flags int, mode uint32) (int, error) {
	return kernel.Open(path, flags, mode)
}
func Close(fd int) error               { return kernel.Close(fd) }
func Fchown(int, int, int) error       { return nil }
func Fchmod(fd int, mode uint32) error { return kernel.Chmod(fd, mode) }
func Unlink(path string) error         { return kernel.Unlink(path) }
func Link(from, to string) error       { return kernel.Link(from, to) }
func Linkat(_ int, from string, _ int, to string, _ int) error {
	return kernel.Link(from, to)
}
func Renameat2(_ int, from string, _ int, to string, _ uint) error {
	return kernel.Rename(from, to)
}
func Seek(fd int, off int64, how int) (int64, error) {
	return kernel.Seek(fd, off, how == SEEK_DATA)
}
func Pread(fd int, b []byte, off int64) (int, error)  { return kernel.Pread(fd, b, off) }
func Pwrite(fd int, b []byte, off int64) (int, error) { return kernel.Pwrite(fd, b, off) }
func Fallocate(fd int, _ uint32, off, n int64) error  { return kernel.Allocate(fd, off, n) }
func Ftruncate(fd int, n int64) error                 { return kernel.Truncate(fd, n) }
func MemfdCreate(string, int) (int, error)            { return kernel.Anonymous() }
func Faccessat(int, string, uint32, int) error        { return nil }

// FcntlInt sets and gets seals. Every process owns every file.
func FcntlInt(fd uintptr, cmd, arg int) (int, error) {
	switch cmd {
	case F_ADD_SEALS:
		return 0, kernel.Seal(int(fd), arg)
	case F_GETFL, F_SETFL:
		return 0, nil
	}
	return kernel.Seals(int(fd))
}

// FcntlFlock sets and gets locks of open file descriptions.
func FcntlFlock(fd uintptr, cmd int, l *Flock_t) error {
	if cmd != F_OFD_GETLK {
		return kernel.SetLock(int(fd), l.Type, l.Start, l.Len)
	}
	held, err := kernel.GetLock(int(fd), l.Type, l.Start, l.Len)
	if err == nil && !held {
		l.Type = F_UNLCK
	}
	return err
}

func fill(s *Stat_t, t kernel.Status, err error) error {
	*s = Stat_t{Dev: 1, Ino: t.Number, Size: t.Size, Mode: t.Mode, Uid: 1000, Blocks: t.Size / 512}
	set(&s.Nlink, t.Nlink)
	return err
}

// set sets a field whose type depends on the processor.
func set[F ~uint16 | ~uint32 | ~uint64, V ~int | ~uint | ~int32 | ~uint32 | ~int64 | ~uint64](
	f *F, v V,
) {
	*f = F(v)
}

// Fstat, Fstatat and Stat are those of Linux.
func Fstat(fd int, s *Stat_t) error {
	t, err := kernel.Fstat(fd)
	return fill(s, t, err)
}

// Fstatat is that of Linux.
func Fstatat(_ int, path string, s *Stat_t, _ int) error {
	t, err := kernel.Lstat(path)
	return fill(s, t, err)
}

// Stat is that of Linux.
func Stat(path string, s *Stat_t) error {
	switch path {
	case "/proc/self/ns/pid":
		*s = Stat_t{Ino: kernel.Namespace()}
		return nil
	case "/proc/self/fd":
		return nil
	}
	return Fstatat(0, path, s, 0)
}

// Statfs is that of Linux: the directory is on a tmpfs.
func Statfs(_ string, s *Statfs_t) error {
	world.Point()
	*s = Statfs_t{Type: 0x01021994, Bsize: 1, Blocks: kernel.Size, Bavail: uint64(kernel.Free()),
		Ffree: 1 << 20}
	return nil
}

// Fstatfs is that of Linux.
func Fstatfs(_ int, s *Statfs_t) error { return Statfs("", s) }

// Sysinfo is that of Linux.
func Sysinfo(s *Sysinfo_t) error {
	*s = Sysinfo_t{Totalram: 1 << 30, Unit: 1}
	return nil
}

// MmapPtr and MunmapPtr are those of x/sys.
func MmapPtr(
	fd int, off int64, addr unsafe.Pointer, n uintptr, prot, flags int,
) (unsafe.Pointer, error) {
	return kernel.Map(fd, off, addr, n, prot, flags&(MAP_FIXED|MAP_FIXED_NOREPLACE) != 0)
}

// MunmapPtr is that of x/sys.
func MunmapPtr(addr unsafe.Pointer, n uintptr) error {
	_, err := kernel.Map(-1, 0, addr, n, PROT_NONE, true)
	return err
}

// Mprotect makes memory read-only.
func Mprotect(b []byte, _ int) error {
	return kernel.Protect(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}

// Madvise does nothing.
func Madvise([]byte, int) error { return nil }

// CLOCK_MONOTONIC is the only clock.
const CLOCK_MONOTONIC = 1

// ClockGettime reads the simulated time.
func ClockGettime(_ int32, ts *Timespec) error {
	*ts = NsecToTimespec(world.Now().UnixNano())
	return nil
}

// NsecToTimespec is that of x/sys.
func NsecToTimespec(n int64) Timespec { return syscall.NsecToTimespec(n) }

// RawSyscall6 is Syscall6 for calls that do not block.
func RawSyscall6(trap, addr, op, val, timeout, x, y uintptr) (r1, r2 uintptr, err Errno) {
	return Syscall6(trap, addr, op, val, timeout, x, y)
}

// Syscall6 is futex(2), without FUTEX_PRIVATE, and futex_waitv(2), without a time limit.
func Syscall6(trap, addr, op, val, timeout, _, _ uintptr) (r1, r2 uintptr, err Errno) {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	var e error
	switch {
	case trap == SYS_FUTEX_WAITV:
		e = kernel.FutexWaitAny(unsafe.Slice((*kernel.Futex)(p), op))
	case trap != SYS_FUTEX:
		return 0, 0, syscall.ENOSYS
	case op == 1:
		return uintptr(kernel.FutexWake(p, int(val))), 0, 0
	default:
		ts := *(**Timespec)(unsafe.Pointer(&timeout))
		e = kernel.FutexWait(p, uint32(val), time.Duration(ts.Nano()))
	}
	if e, ok := e.(Errno); ok {
		return 0, 0, e
	}
	return 0, 0, 0
}

// Syscall is membarrier(2), which this machine does not have.
func Syscall(_, _, _, _ uintptr) (r1, r2 uintptr, err Errno) { return 0, 0, syscall.ENOSYS }

// PidfdOpen is pidfd_open(2).
func PidfdOpen(pid, _ int) (int, error) { return kernel.OpenProcess(pid) }

// SetNonblock does nothing.
func SetNonblock(int, bool) error { return nil }

// InotifyInit1 returns ENOSYS: the library looks by itself then.
func InotifyInit1(int) (int, error)                    { return -1, syscall.ENOSYS }
func InotifyAddWatch(int, string, uint32) (int, error) { return -1, syscall.ENOSYS }
func InotifyRmWatch(fd int, wd uint32) (int, error)    { return -1, syscall.ENOSYS }

// Poll is poll(2) of one descriptor of a process, without waiting.
func Poll(fds []PollFd, _ int) (int, error) {
	ended, err := kernel.Ended(int(fds[0].Fd))
	if ended {
		return 1, err
	}
	return 0, err
}
