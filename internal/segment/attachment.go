// Package segment is the lifecycle of a segment: how it is created, attached to, owned, left and
// removed, and what can be seen of it from outside. It knows nothing of Go types: the value is
// bytes with a schema, and package value reads and changes it.
//
// The protocols are in create.go, attach.go, detach.go, owner.go, remove.go and reclaim.go, each
// with its numbered steps; internal/step names the points at which tests kill a process. Errors
// are sentinels of package errs with cause and remedy; package shmem adds operation and name.
package segment

import (
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/sys"
)

// An Attachment is a segment as one handle of this process sees it. Its methods are safe for
// concurrent use. When the process dies, the kernel frees the attachment's slot; the owner's
// cleanup is left to the last attachment, or to the next process that opens the name.
type Attachment struct {
	control
	name string
	path string // "": anonymous
	cfg  *Config
	m    *mem.Mapping

	fitted *format.Header // that m was told of while attaching; see fitMapping

	id   format.ID      // format.NoID: foreign, or the file can only be read
	lock *robust.Shared // the box's lock; nil without a slot
	typ  *format.Type   // that it was opened with; nil: raw bytes

	copied    bool // foreign, and a copy of a segment
	noCleanup bool
	succeeds  bool         // the attachment that had the slot before did not detach
	size      atomic.Int64 // of the payload
	closed    atomic.Bool  // Detach has begun

	mu      sync.Mutex // one lifecycle step of this attachment at a time
	bound   bool       // a box is bound; guarded by mu
	binding Binding    // guarded by mu

	monitor  *monitor // nil: Unlinked and Events were not called; guarded by mu
	unlinked bool     // Detach has found the name gone, or has taken it
}

// Name returns the segment's name; "" if it has none.
func (a *Attachment) Name() string { return a.name }

// Size returns the payload's size in bytes.
func (a *Attachment) Size() int { return int(a.size.Load()) }

// ReadOnly reports whether the payload cannot be written through this attachment.
func (a *Attachment) ReadOnly() bool { return !a.m.Writable() }

// Foreign reports whether the file has no control block.
func (a *Attachment) Foreign() bool { return a.head == nil }

// OfOthers reports whether another program made the file, with a layout that nothing describes.
func (a *Attachment) OfOthers() bool { return a.head == nil && !a.copied }

// Closed reports whether Detach has begun.
func (a *Attachment) Closed() bool { return a.closed.Load() }

// Mapping returns the segment's memory, whose payload is the value.
func (a *Attachment) Mapping() *mem.Mapping { return a.m }

// Header returns the header of the control block; nil for a foreign file.
func (a *Attachment) Header() *format.Header { return a.head }

// Lock returns the box's lock; nil for a foreign file, and where the file can only be read.
func (a *Attachment) Lock() *robust.Shared { return a.lock }

// Type returns the type that the segment was opened with; nil for raw bytes.
func (a *Attachment) Type() *format.Type { return a.typ }

// ID returns the id of the attachment; format.NoID if it has no slot.
func (a *Attachment) ID() format.ID { return a.id }

// Linked reports whether the name still leads to this segment. Where the path cannot be looked at,
// the file decides: whether it has a name at all.
func (a *Attachment) Linked() bool {
	if a.path == "" {
		return false
	}
	if a.head == nil {
		st, err := os.Stat(a.path) // a foreign path may be a link
		if err != nil {
			return !gone(err) && a.named()
		}
		mine, err := a.fileInfo()
		return err == nil && os.SameFile(st, mine)
	}
	st, err := sys.Lstat(a.path)
	if err != nil {
		return !gone(err) && a.named()
	}
	return st.Same(a.stat)
}

// named reports whether the open file has a name.
func (a *Attachment) named() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Closed() {
		return false
	}
	st, err := a.file.Stat()
	return err == nil && st.Nlink > 0
}

func (a *Attachment) fileInfo() (fs.FileInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Closed() {
		return nil, errs.Closed
	}
	f, err := a.file.Reopen(false)
	if err != nil {
		return nil, err
	}
	file := f.File(a.path)
	defer file.Close()
	return file.Stat()
}

// File opens the segment's file anew, without a lock: for reading only if the attachment is
// read-only. The caller closes it.
func (a *Attachment) File() (*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Closed() {
		return nil, errs.Closed
	}
	fd, err := a.reopen(a.m.Writable())
	if err != nil {
		return nil, reopenError(err)
	}
	name := a.path
	if name == "" {
		name = "anonymous segment"
	}
	return fd.File(name), nil
}

// reopen opens the file by its name if it still has one: a file that was nameless at first does not
// show its name to the process that it is passed to.
func (a *Attachment) reopen(write bool) (sys.FD, error) {
	if a.path != "" && a.head != nil {
		if fd, err := sys.Open(a.path, write); err == nil {
			if st, err := fd.Stat(); err == nil && st.Same(a.stat) {
				return fd, nil
			}
			_ = fd.Close()
		}
	}
	return a.file.Reopen(write)
}

// deadline is when a call that begins now gives up on the gate.
func (a *Attachment) deadline() time.Time { return time.Now().Add(a.cfg.Timeout) }
