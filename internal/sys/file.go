package sys

import (
	"io/fs"
	"os"
)

// A file is what an FD does with the file that it is open on, on every system.
type file interface {
	// Stat returns the description of the open file.
	Stat() (Stat, error)

	// ReadAt fills b from offset off. It returns how many bytes it read, and no error when the file
	// is shorter.
	ReadAt(b []byte, off int64) (int, error)

	// WriteAt writes b at offset off.
	WriteAt(b []byte, off int64) error

	// Allocate reserves the memory of n bytes from off, and makes the file that long. So no later
	// store finds the file system full. The caller asks for one Piece at most.
	Allocate(off, n int64) error

	// Truncate sets the file's size. It frees memory beyond that size and reserves none.
	Truncate(size int64) error

	// Reopen opens the same file once more. The new FD has locks of its own. Where ReopensByName
	// is true the file must still have its name.
	Reopen(write bool) (FD, error)

	// Path returns a path by which the file was opened or is known; another file may have it now.
	Path() (string, error)

	// Chmod sets the permissions. The umask does not apply.
	Chmod(mode fs.FileMode) error

	// Chgrp gives the file to a group.
	Chgrp(gid uint32) error

	// InMemory reports whether the file is in memory and nowhere else. Where the system has no such
	// file systems it is true for every file.
	InMemory() bool

	// InUse reports whether any open file other than this one leads to the file, also in another
	// PID namespace, and also where only a mapping is left of it. This user must own the file. Only
	// Linux can tell.
	InUse() (bool, error)

	// Close closes the file. The kernel frees its locks when no mapping and no copy of the FD is
	// left.
	Close() error

	// File returns an os.File, which owns the descriptor from now on.
	File(name string) *os.File
}

// Weaker says in short sentences what this build does less well than Linux does; none for Linux.
// docs/ports.md explains them.
var _ []string = Weaker

// DiskOnly tells that the system has no file systems in memory.
var _ bool = DiskOnly

// HasModes tells that a file has permission bits and a group.
var _ bool = HasModes

// PassesFiles tells that a segment can be attached to by an open file of it.
var _ bool = PassesFiles

// The functions of files.
var (
	_ file = NoFD

	// Open opens the file at path. It follows no symbolic link, does not block on a FIFO, and
	// creates nothing.
	_ func(path string, write bool) (FD, error) = Open

	// OpenPath opens the file at path only to keep its inode and to describe it. It follows no
	// symbolic link, and needs no permission on the file, which may be of any kind. Only Linux has
	// that; elsewhere it needs permission to read.
	_ func(path string) (FD, error) = OpenPath

	// OpenAny opens the file that path leads to, also through links such as /proc/PID/fd/N.
	_ func(path string, write bool) (FD, error) = OpenAny

	// Lstat returns the description of the file at path. It does not follow a symbolic link.
	_ func(path string) (Stat, error) = Lstat

	// MountOf returns the description of the file system under dir.
	_ func(dir string) (Mount, error) = MountOf

	// MakeDefaultDir makes DefaultDir if the system has no such directory, and checks that it is
	// safe to use.
	_ func() error = MakeDefaultDir

	// HasProc reports whether open files can be reached without their names: on Linux whether /proc
	// is mounted. Where the system needs no /proc it is true.
	_ func() bool = HasProc
)
