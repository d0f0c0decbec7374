package shmem

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/sys"
)

// A Segment is a piece of shared memory and this process's attachment to it. Its methods are safe
// for concurrent use.
//
// When a process dies, however it dies, its attachments end as if it had closed them without being
// able to do the owner's duty: the segment is orphaned, and the last one to leave unlinks it.
type Segment struct {
	name    string
	path    string // "" if anonymous
	opts    *Options
	file    sys.FD
	stat    sys.Stat       // of the file, when it was opened
	head    *format.Header // nil if foreign
	m       *mem.Mapping
	id      format.ID // format.Nobody if foreign, or read-only by permission
	size    atomic.Int64
	visitor bool           // leaves the duty of the last one to others
	closed  atomic.Bool    // Close or Leak has begun
	shared  *robust.Shared // the box's lock; nil without a slot
	plan    *plan          // what of the value is copied; set with the box
	extent  *plan          // what of the segment's value is, whose type may be longer: see learn
	learnt  uint64         // the fingerprint of that type

	mu     sync.Mutex // one lifecycle step of this attachment at a time
	hidden func()     // makes the box's pointer unreachable
	drop   func()     // drops the box's value
}

// OpenSegment attaches to the segment of that name, or creates it with size bytes, all zero. The
// size of an existing one must be the same; with size 0 it is attached to whatever its size is.
func OpenSegment(name string, size int, opts *Options) (*Segment, error) {
	return openSegment("open", name, size, opts, true, true)
}

// CreateSegment creates a segment of size bytes, all zero. It is fs.ErrExist if there is one.
func CreateSegment(name string, size int, opts *Options) (*Segment, error) {
	return openSegment("create", name, size, opts, true, false)
}

// AttachSegment attaches to the segment of that name. It is fs.ErrNotExist if there is none.
func AttachSegment(name string, opts *Options) (*Segment, error) {
	return openSegment("attach", name, 0, opts, false, true)
}

func openSegment(op, name string, size int, opts *Options, create, attach bool) (*Segment, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, wrap(op, name, err)
	}
	if size < 0 || size == 0 && create && !attach {
		return nil, wrap(op, name, fmt.Errorf("a segment of %d bytes is not possible", size))
	}
	r := &request{op: op, name: name, opts: o, size: size, create: create && size > 0, attach: attach}
	s, err := r.run()
	return s, wrap(op, name, err)
}

// CreateAnonymous creates a segment without a name, of size bytes, all zero. Other processes attach
// to it by FromFile, with a descriptor that they inherit or are sent. Its size is sealed: it is the
// form for peers that do not trust each other, since none can truncate it under the others.
func CreateAnonymous(size int, opts *Options) (*Segment, error) {
	const op = "create anonymous"
	o, err := opts.filled()
	if err == nil && size <= 0 {
		err = fmt.Errorf("a segment of %d bytes is not possible", size)
	}
	if err != nil {
		return nil, wrap(op, "", err)
	}
	r := &request{op: op, opts: o, size: size, create: true, anonymous: true}
	s, err := r.run()
	return s, wrap(op, "", err)
}

// FromFile attaches to the segment that f is open on, such as one of os/exec's ExtraFiles. f stays
// the caller's; the attachment opens the segment anew, with locks of its own.
func FromFile(f *os.File, opts *Options) (*Segment, error) {
	const op = "attach from file"
	o, err := opts.filled()
	if err != nil {
		return nil, wrap(op, f.Name(), err)
	}
	r := &request{op: op, name: f.Name(), opts: o, attach: true, from: f}
	s, err := r.run()
	return s, wrap(op, f.Name(), err)
}

// Name is the segment's name; that of an anonymous one is empty.
func (s *Segment) Name() string { return s.name }

// Size is the size of the payload in bytes.
func (s *Segment) Size() int { return int(s.size.Load()) }

// ReadOnly reports whether the payload cannot be written through this attachment.
func (s *Segment) ReadOnly() bool { return !s.m.Writable() }

// Foreign reports whether another program made the segment, without a control block.
func (s *Segment) Foreign() bool { return s.head == nil }

// Linked reports whether the name still leads to this segment. After the owner's Close, after
// Remove, or when somebody deleted the file, it does not: the memory is then shared only with those
// who were attached already, and a long-lived peer will want to attach anew. An anonymous segment
// has no name.
func (s *Segment) Linked() bool {
	if s.path == "" {
		return false
	}
	if s.head == nil {
		st, err := os.Stat(s.path) // a foreign path may be a link
		if err != nil {
			return false
		}
		mine, err := s.fileInfo()
		return err == nil && os.SameFile(st, mine)
	}
	st, err := sys.Lstat(s.path)
	return err == nil && st.Same(s.stat)
}

func (s *Segment) fileInfo() (fs.FileInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	f, err := s.file.Reopen(false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return os.Stat(fmt.Sprintf("/proc/self/fd/%d", int(f)))
}

// File opens the segment anew, to be inherited by a child process (os/exec's ExtraFiles) or sent
// over a Unix socket; there FromFile attaches to it. It carries no lock: holding it keeps nothing
// alive. The caller closes it.
func (s *Segment) File() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, wrap("file", s.name, ErrClosed)
	}
	fd, err := s.reopen(s.id != format.Nobody || s.m.Writable())
	if err != nil {
		return nil, wrap("file", s.name, err)
	}
	name := s.path
	if name == "" {
		name = "anonymous segment"
	}
	return fd.File(name), nil
}

// reopen opens the file anew, by its name if it still has one: an open file that was nameless at first
// does not tell the name to whom it is passed.
func (s *Segment) reopen(write bool) (sys.FD, error) {
	if s.path != "" && s.head != nil {
		if fd, err := sys.Open(s.path, write); err == nil {
			if st, err := fd.Stat(); err == nil && st.Same(s.stat) {
				return fd, nil
			}
			_ = fd.Close()
		}
	}
	return s.file.Reopen(write)
}

// ReadAt copies from the payload; see io.ReaderAt. What other processes write meanwhile may be read
// half: it is memory.
func (s *Segment) ReadAt(b []byte, off int64) (n int, err error) {
	return s.access("read", off, func(p []byte) int { return copy(b, p) }, len(b), io.EOF)
}

// WriteAt copies to the payload; see io.WriterAt. What lies beyond the payload's end is not written,
// and the error is io.ErrShortWrite.
func (s *Segment) WriteAt(b []byte, off int64) (n int, err error) {
	if !s.m.Writable() {
		return 0, wrap("write", s.name, ErrReadOnly)
	}
	return s.access("write", off, func(p []byte) int { return copy(p, b) }, len(b), io.ErrShortWrite)
}

func (s *Segment) access(op string, off int64, move func([]byte) int, want int, short error) (n int, err error) {
	if off < 0 {
		return 0, wrap(op, s.name, errors.New("negative offset"))
	}
	if !s.m.Pin() {
		return 0, wrap(op, s.name, ErrClosed)
	}
	defer s.m.Unpin()
	p := s.m.Payload()[:s.Size()]
	if off >= int64(len(p)) && want > 0 {
		return 0, short
	}
	fault := s.m.Guard(func() { n = move(p[min(off, int64(len(p))):]) })
	if fault != nil {
		return 0, wrap(op, s.name, s.fault(fault))
	}
	if n < want {
		err = short
	}
	return n, err
}

func (s *Segment) fault(f *mem.Fault) error {
	return &FaultError{Name: s.label(), Addr: f.Addr, Err: f.Err}
}

func (s *Segment) label() string {
	if s.path == "" {
		return "the anonymous segment"
	}
	return s.path
}

// Populate makes the payload's pages present in this process, so that their first use costs no
// page fault. It is advice: where the kernel cannot, nothing happens.
func (s *Segment) Populate() error {
	if !s.m.Pin() {
		return wrap("populate", s.name, ErrClosed)
	}
	defer s.m.Unpin()
	s.m.Populate()
	return nil
}

// Owned reports whether this attachment owns the segment.
func (s *Segment) Owned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || s.id == format.Nobody {
		return false
	}
	o, err := s.owner()
	return err == nil && o.State == format.Owned && o.ID == s.id
}

// Close detaches. If this attachment owns the segment, or is the last one at an orphaned one, it
// unlinks the name as well. Calls in flight are waited for, calls that block return ErrClosed. A
// second Close returns nil. Memory of the segment must not be used afterwards: it faults.
//
// ErrBusy means that the segment's gate could not be had within Options.Timeout: the attachment is
// gone all the same, and a segment that it owned is orphaned.
func (s *Segment) Close() error { return wrap("close", s.name, s.detach(false)) }

// Leak detaches and leaves the segment to itself: it stays until it is owned or removed. Only the
// owner can leak, or anyone if the owner has died; for everybody else Leak is Close.
func (s *Segment) Leak() error { return wrap("leak", s.name, s.detach(true)) }

func (s *Segment) dir() string { return filepath.Dir(s.path) }

func (s *Segment) deadline() time.Time { return time.Now().Add(s.opts.Timeout) }

var (
	_ io.ReaderAt = (*Segment)(nil)
	_ io.WriterAt = (*Segment)(nil)
	_ io.Closer   = (*Segment)(nil)
)
