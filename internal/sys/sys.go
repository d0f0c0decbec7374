// Package sys makes every system call of the library, behind one face for all systems.
// Where a system cannot do a thing, it answers errors.ErrUnsupported.
//
// It is the only importer of golang.org/x/sys. Errors are bare errno values (or wrap one):
// the callers know the name and say what to do.
package sys

import (
	"io/fs"
	"time"
)

// FD is an open file. Unlike an os.File it has no finalizer: an attachment ends by Close alone.
type FD int

// NoFD is no file.
const NoFD FD = -1

// Stat is what the library wants to know of a file.
type Stat struct {
	Dev, Ino uint64
	Size     int64
	Blocks   int64 // of 512 bytes
	Mode     fs.FileMode
	UID      uint32
	Nlink    uint64
	Modified time.Time
}

// Same reports whether s and t are the same file.
func (s Stat) Same(t Stat) bool { return s.Dev == t.Dev && s.Ino == t.Ino }

// Mount is what the library wants to know of the file system under a directory.
type Mount struct {
	Type        int64 // magic number of the file system
	Size, Avail int64 // bytes
	Inodes      int64 // free
}

// TmpfsMagic is Mount.Type of a tmpfs.
const TmpfsMagic = 0x01021994

// Lock bytes, far beyond any data.
const (
	GateByte     int64 = 1 << 62
	PresenceByte int64 = GateByte + 15 // shared by all who may only read
	SlotByte     int64 = GateByte + 16 // of slot 0
)

// Piece is how much Allocate asks the kernel for at a time: the kernel does the whole of a call
// before it looks for a signal.
const Piece = 16 << 20

// AvoidNameless has every file made with a temporary name first, as where there are no nameless
// ones. Only tests and tests/chaos set it, before anything else runs.
var AvoidNameless = false
