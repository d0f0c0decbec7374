//go:build linux && (amd64 || arm64)

// Package os stands in for os.
package os

import (
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/world"
)

// Args are the arguments of every simulated program.
var Args = []string{"simulated"}

// These are those of package os.
const PathSeparator = os.PathSeparator

// Getpid is the number of the running process.
func Getpid() int { return world.Current().PID }

// Geteuid, Getuid and Getpagesize are the same for all processes.
func Geteuid() int     { return 1000 }
func Getuid() int      { return 1000 }
func Getpagesize() int { return 4096 }

// ReadFile is os.ReadFile. The machine has no files but segments.
func ReadFile(string) ([]byte, error) { return nil, fs.ErrNotExist }

// Executable is os.Executable.
func Executable() (string, error) { return "/simulated", nil }

// Readlink is os.Readlink.
func Readlink(name string) (string, error) { return kernel.Readlink(name) }

// A FileInfo is os.FileInfo.
type FileInfo = fs.FileInfo

type info struct {
	fs.FileInfo
	number uint64
	dir    bool
}

// IsDir reports whether it is a directory.
func (i info) IsDir() bool { return i.dir }

// Stat is os.Stat, good for SameFile and IsDir only.
func Stat(name string) (FileInfo, error) {
	s, err := kernel.Lstat(name)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return info{number: s.Number, dir: s.Mode&syscall.S_IFDIR != 0}, nil
}

// SameFile is os.SameFile.
func SameFile(a, b FileInfo) bool { return a.(info).number == b.(info).number }

// A File is os.File: a directory, a descriptor of a process, or a segment's file to be passed on.
type File struct {
	fd   int
	name string
	proc bool

	listed bool // the names were read
}

// NewFile is os.NewFile.
func NewFile(fd uintptr, name string) *File {
	return &File{fd: int(fd), name: name, proc: name == "pidfd"}
}

// Open is os.Open.
func Open(name string) (*File, error) {
	fd, err := kernel.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &File{fd: fd, name: name}, nil
}

// Name, Fd and Close are those of os.File.
func (f *File) Name() string { return f.name }
func (f *File) Fd() uintptr  { return uintptr(f.fd) }

// Stat describes the open file.
func (f *File) Stat() (FileInfo, error) { return Stat("/proc/self/fd/" + strconv.Itoa(f.fd)) }

func (f *File) Close() error {
	if f.proc {
		return kernel.CloseProcess(f.fd)
	}
	return kernel.Close(f.fd)
}

// Readdirnames is that of os.File. It returns all names by one call.
func (f *File) Readdirnames(n int) ([]string, error) {
	if f.listed && n > 0 {
		return nil, io.EOF
	}
	f.listed = true
	return kernel.List(), nil
}

// A DirEntry is os.DirEntry.
type DirEntry = fs.DirEntry

// Read fails: nothing is read by it.
func (f *File) Read([]byte) (int, error) { return 0, syscall.EINVAL }

// SetReadDeadline is that of os.File.
func (f *File) SetReadDeadline(world.Time) error { return nil }

// SyscallConn is that of os.File.
func (f *File) SyscallConn() (syscall.RawConn, error) { return conn{f}, nil }

type conn struct{ f *File }

func (c conn) Control(f func(fd uintptr)) error {
	f(uintptr(c.f.fd))
	return nil
}

func (c conn) Read(f func(fd uintptr) bool) error {
	return kernel.Await(c.f.fd, func() bool { return f(uintptr(c.f.fd)) })
}

func (c conn) Write(func(fd uintptr) bool) error { return syscall.EINVAL }
