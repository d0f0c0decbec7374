// Package sys makes the system calls of the library, with the same functions on all systems. What a
// system cannot do returns errors.ErrUnsupported.
//
// Of this module it imports nothing, and no other package may import golang.org/x/sys. Its
// invariant: a call that a signal interrupts is made again, so no caller sees EINTR. Errors are
// errno values, or wrap one, without text: the caller knows the name, and what the user can do.
package sys

import (
	"io/fs"
	"time"
)

// An FD is an open file. Unlike an os.File it has no finalizer: only Close ends an attachment.
type FD int

// NoFD is the FD of no file.
const NoFD FD = -1

// A Stat describes a file.
type Stat struct {
	Dev, Ino uint64
	Size     int64
	Blocks   int64 // of 512 bytes
	Mode     fs.FileMode
	UID, GID uint32
	Nlink    uint64
	Modified time.Time
}

// Same reports whether s and t describe the same file.
func (s Stat) Same(t Stat) bool { return s.Dev == t.Dev && s.Ino == t.Ino }

// A Mount describes the file system under a directory.
type Mount struct {
	Type        int64 // magic number of the file system
	Size, Avail int64 // bytes
	Files       int64 // how many there can be; 0: no limit
	Inodes      int64 // how many more there can be
	ReadOnly    bool
}

// InMemory reports whether its files are in memory and nowhere else.
func (m Mount) InMemory() bool { return inMemory(m.Type) }

func inMemory(magic int64) bool {
	return magic == TmpfsMagic || magic == ramfsMagic || magic == hugetlbfsMagic
}

// Magic numbers of file systems: Mount.Type.
const (
	TmpfsMagic     = 0x01021994
	ramfsMagic     = 0x858458f6
	hugetlbfsMagic = 0x958458f6
)

// A Memory is a limit of memory.
type Memory struct {
	Group       string // the cgroup that has it; "": the machine
	Limit, Free int64  // bytes
}

// Piece is how many bytes a caller asks Allocate for at most: the kernel handles a signal only
// between calls.
const Piece = 16 << 20
