package shmem

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
)

// MaxName is the longest name of a segment, in bytes.
const MaxName = segment.MaxName

// A Segment is a named piece of shared memory, and this process's attachment to it. Its methods
// are safe for concurrent use.
//
// When the process dies, its attachments end without the owner's cleanup. A segment that it owned
// is orphaned: the last one to leave unlinks it.
type Segment struct {
	a *segment.Attachment
	m *mem.Mapping // of a
}

// OpenSegment attaches to the segment of that name, or creates it with size bytes, all zero. An
// existing segment must have the same size. With size 0 any size is accepted, and nothing is
// created.
func OpenSegment(name string, size int, opts *Options) (*Segment, error) {
	return openSegment("open", name, size, opts, true, true)
}

// CreateSegment creates a segment of size bytes, at least 1, all zero. If the name exists the error
// is fs.ErrExist.
func CreateSegment(name string, size int, opts *Options) (*Segment, error) {
	return openSegment("create", name, size, opts, true, false)
}

// AttachSegment attaches to the segment of that name. If there is none the error is fs.ErrNotExist.
func AttachSegment(name string, opts *Options) (*Segment, error) {
	return openSegment("attach", name, 0, opts, false, true)
}

func openSegment(op, name string, size int, opts *Options, create, attach bool) (*Segment, error) {
	c, err := opts.config()
	if err == nil && (size < 0 || size == 0 && create && !attach) {
		err = sizeError(size)
	}
	if err != nil {
		return nil, public(op, name, err)
	}
	return newSegment(op, name)(segment.Open(segment.Request{
		Name: name, Config: c, Size: size, Create: create && size > 0, Attach: attach,
	}))
}

func sizeError(size int) error {
	return fmt.Errorf("a segment of %d bytes is not possible; use 1 or more", size)
}

// newSegment returns a function for the results of an internal call that attaches.
func newSegment(op, name string) func(*segment.Attachment, error) (*Segment, error) {
	return func(a *segment.Attachment, err error) (*Segment, error) {
		if err != nil {
			return nil, public(op, name, err)
		}
		return &Segment{a, a.Mapping()}, nil
	}
}

// CreateAnonymous creates a segment without a name, of size bytes, at least 1, all zero. Other
// processes attach to it with FromFile and a descriptor that they inherit or are sent. Its size is
// sealed: it is the form for peers that do not trust each other, since none can truncate it.
func CreateAnonymous(size int, opts *Options) (*Segment, error) {
	const op = "create anonymous"
	c, err := opts.config()
	if err == nil && size <= 0 {
		err = sizeError(size)
	}
	if err != nil {
		return nil, public(op, "", err)
	}
	return newSegment(op, "")(segment.CreateAnonymous(size, c))
}

// FromFile attaches to the segment that f is open on, such as one of os/exec's ExtraFiles. f stays
// the caller's: the attachment opens the file anew, with locks of its own.
func FromFile(f *os.File, opts *Options) (*Segment, error) {
	const op = "attach from file"
	c, err := opts.config()
	if err != nil {
		return nil, public(op, f.Name(), err)
	}
	return newSegment(op, f.Name())(segment.FromFile(f, c))
}

// Name returns the segment's name; that of an anonymous segment is empty.
func (s *Segment) Name() string { return s.a.Name() }

// Size returns the size of the payload in bytes.
func (s *Segment) Size() int { return s.a.Size() }

// ReadOnly reports whether the payload cannot be written through this attachment.
func (s *Segment) ReadOnly() bool { return s.a.ReadOnly() }

// Foreign reports whether the file has no control block: another program made it.
func (s *Segment) Foreign() bool { return s.a.Foreign() }

// Linked reports whether the name still leads to this segment. After the owner's Close, after
// Remove, or when the file was deleted, it does not: the memory is then shared only with processes
// that are attached already, and a long-lived process will want to attach anew. Linked is false
// for an anonymous segment.
func (s *Segment) Linked() bool { return s.a.Linked() }

// Owned reports whether this attachment owns the segment. It is false after Close.
func (s *Segment) Owned() bool { return s.a.Owned() }

// Own makes this attachment the owner: its Close unlinks the name and drops the value. The former
// owner, if it lives, no longer owns the segment, and its Close only detaches. An orphaned, shared
// or kept segment has an owner from now on: Own on a shared segment ends the equality of its
// attachments, until the owner dies.
//
// The error is ErrReadOnly if the segment is attached read-only, ErrBadOption if the attachment is
// passive, ErrDropped if the former owner
// has dropped the value, and fs.ErrPermission if the directory does not let this process unlink
// the name.
func (s *Segment) Own() error { return public("own", s.Name(), s.a.Own()) }

// Close detaches. If this attachment owns the segment, or is the last one of a shared or
// orphaned segment, it also unlinks the name and drops the value, unless it is a queue with
// unread messages. Close waits for calls in flight, and calls that block return ErrClosed.
// Memory of the segment must not be used afterwards: it faults. A second Close returns nil.
//
// If goroutines hold locks of package psync in the value of a box, Close waits up to 100 ms until
// they have unlocked; calls that lock fail meanwhile. A lock that is still held after that counts
// as one whose holder has died. So a goroutine that holds a lock unlocks it before it calls Close.
//
// If the gate cannot be had within Options.Timeout the error is ErrBusy. The attachment is closed
// all the same, and a segment that it owned is orphaned.
func (s *Segment) Close() error { return public("close", s.Name(), s.a.Detach(false)) }

// Leak detaches and leaves the segment kept: it stays until it is owned or removed. On an owned
// segment only the owner can leak, or any attachment if the owner has died; on a shared one any
// can. For others, and for one that is read-only or passive, Leak is Close.
func (s *Segment) Leak() error { return public("leak", s.Name(), s.a.Detach(true)) }

// File opens the segment's file anew, to be inherited by a child process (os/exec's ExtraFiles) or
// sent over a Unix socket. The receiver attaches with FromFile. The file carries no lock: to hold
// it keeps nothing attached. The caller closes it.
func (s *Segment) File() (*os.File, error) {
	f, err := s.a.File()
	return f, public("file", s.Name(), err)
}

// ReadAt copies from the payload to b; see io.ReaderAt. At the payload's end the error is a bare
// io.EOF. A negative off is an error. The copy is not synchronised: what other processes write
// meanwhile may be read half.
func (s *Segment) ReadAt(b []byte, off int64) (n int, err error) {
	return s.access("read", off, func(p []byte) int { return copy(b, p) }, len(b), io.EOF)
}

// WriteAt copies b to the payload; see io.WriterAt. Bytes beyond the payload's end are not written,
// and the error is io.ErrShortWrite. A negative off is an error. The copy is not synchronised.
func (s *Segment) WriteAt(b []byte, off int64) (n int, err error) {
	if s.ReadOnly() {
		return 0, public("write", s.Name(), ErrReadOnly)
	}
	move := func(p []byte) int { return copy(p, b) }
	n, err = s.access("write", off, move, len(b), io.ErrShortWrite)
	return n, public("write", s.Name(), err)
}

// access calls move with the payload from off on. If fewer than want bytes were moved the error is
// short.
func (s *Segment) access(
	op string, off int64, move func([]byte) int, want int, short error,
) (n int, err error) {
	if off < 0 {
		return 0, public(op, s.Name(), errors.New("negative offset"))
	}
	if !s.m.Pin() {
		return 0, public(op, s.Name(), ErrClosed)
	}
	defer s.m.Unpin()
	p := s.m.Payload()[:s.Size()]
	if off >= int64(len(p)) && want > 0 {
		return 0, short
	}
	fault := s.m.Guard(func() { n = move(p[min(off, int64(len(p))):]) })
	if fault != nil {
		return 0, public(op, s.Name(), s.a.Fault(fault))
	}
	if n < want {
		err = short
	}
	return n, err
}

// Populate makes the payload's pages present in this process, so that their first use costs no page
// fault. It is advice: where the kernel cannot do it, nothing happens. The holes of a foreign file
// take memory then; without room for it the error is ErrNoSpace.
func (s *Segment) Populate() error {
	if !s.m.Pin() {
		return public("populate", s.Name(), ErrClosed)
	}
	defer s.m.Unpin()
	return public("populate", s.Name(), s.a.Populate())
}

// HugePages returns how many bytes of the segment lie in huge pages in this process now: what
// Options.HugePages has brought, or the mount. A huge page counts when it is mapped as one. The
// call reads /proc, so it is not for hot paths.
func (s *Segment) HugePages() (int64, error) {
	if !s.m.Pin() {
		return 0, public("huge pages", s.Name(), ErrClosed)
	}
	defer s.m.Unpin()
	n, err := s.m.Huge()
	return n, public("huge pages", s.Name(), err)
}

// end ends a call that has pinned the mapping. It is deferred, with what
// debug.SetPanicOnFault(true) has returned: a fault in the segment's memory becomes the error of
// the call, other panics pass.
func (s *Segment) end(op string, old bool, err *error) {
	debug.SetPanicOnFault(old)
	s.m.Unpin()
	if r := recover(); r != nil {
		f := s.m.FaultOf(r)
		if f == nil {
			panic(r)
		}
		*err = public(op, s.Name(), s.a.Fault(f))
	}
}

var (
	_ io.ReaderAt = (*Segment)(nil)
	_ io.WriterAt = (*Segment)(nil)
	_ io.Closer   = (*Segment)(nil)
)

// conversions is what the packages above this one need to turn internal types into public ones.
type conversions struct{}

func init() { segment.Shmem = conversions{} }

func (conversions) Config(opts any) (segment.Config, error) { return opts.(*Options).config() }
func (conversions) Segment(a *segment.Attachment) any       { return &Segment{a, a.Mapping()} }
func (conversions) Attachment(s any) *segment.Attachment    { return s.(*Segment).a }
func (conversions) Info(l segment.Look) any                 { return infoOf(l) }
func (conversions) Error(op, name string, err error) error  { return public(op, name, err) }
