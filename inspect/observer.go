package inspect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/sys"
)

// An Observer looks into a segment from outside. It holds the file open and mapped read-only, but
// takes no lock and no slot: the segment's users do not see it, and it keeps nothing alive.
//
// An Observer and what comes from it (a Follower, but not a Snapshot or a Value) are for one
// goroutine at a time.
type Observer struct {
	file sys.FD // sys.NoFD after Close
	info shmem.Info
	head *format.Header // nil if the file is foreign or damaged
	t    *format.Type   // nil if there is no schema
	m    *mem.Mapping   // nil if there is no control block that can be used

	// The queue or topic in m, made for type t: kept, because a look again and again needs it.
	ring struct {
		t     *format.Type // nil: there is none yet
		queue *queueView
		topic *stream.TopicMemory
	}
}

// Open opens the segment of that name in directory dir, "" being the default directory. It opens a
// segment in any state: that of a crashed program, a foreign file, and a damaged segment, of which
// only the bytes can be read. A name with a slash is a path, such as /proc/PID/fd/N, and dir does
// not count.
//
// The errors are fs.ErrNotExist, fs.ErrPermission, shmem.ErrBadName, shmem.ErrNotRegular and, on
// systems without shared memory, errors.ErrUnsupported.
func Open(dir, name string) (*Observer, error) {
	o, err := open(dir, name)
	if err != nil {
		return nil, &shmem.Error{Op: "inspect open", Name: name, Err: err}
	}
	return o, nil
}

func open(dir, name string) (*Observer, error) {
	if !sys.Supported {
		return nil, errors.ErrUnsupported
	}
	if name == "" {
		return nil, fmt.Errorf("%w: it is empty", shmem.ErrBadName)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return nil, fmt.Errorf("%w: it has a zero byte", shmem.ErrBadName)
	}
	file, path, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	o := &Observer{file: file}
	if err := o.look(path, nameOf(path)); err != nil {
		_ = file.Close()
		return nil, err
	}
	if err := o.mapFile(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return o, nil
}

// openFile opens a segment by its name, or any file by its path. Symbolic links are followed only
// in a path.
func openFile(dir, name string) (file sys.FD, path string, err error) {
	if strings.Contains(name, "/") || strings.ContainsRune(name, filepath.Separator) {
		path = name
		file, err = sys.OpenAny(path, false)
	} else {
		if dir == "" {
			dir = sys.DefaultDir
		}
		path = filepath.Join(dir, name)
		file, err = sys.Open(path, false)
	}
	st, e := sys.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w in %s", fs.ErrNotExist, filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w; its owner or root can read it", err)
	case e == nil && (errors.Is(err, sys.ErrLoop) || errors.Is(err, sys.ErrNoDev)):
		err = segment.NotRegular(st.Mode)
	}
	return file, path, err
}

// nameOf returns the name of the segment that a path leads to. For the path of a descriptor in
// /proc it is the name that the file has, or had before it was unlinked.
func nameOf(path string) string {
	if strings.HasPrefix(path, "/proc/") {
		if to, err := os.Readlink(path); err == nil {
			path = strings.TrimSuffix(to, " (deleted)")
		}
	}
	return filepath.Base(path)
}

// look reads what the control block says into o. A schema that does not fit into the value makes
// the segment a damaged one, so that no other code has to check that.
func (o *Observer) look(path, name string) error {
	l, err := segment.LookFile(o.file, path, name)
	if err != nil {
		return err
	}
	t := l.Schema
	o.info, o.head, o.t = segment.Shmem.Info(l).(shmem.Info), l.Header, t
	if t != nil && int64(t.Size) > o.info.Size {
		o.info.State = shmem.Damaged
		o.info.Err = fmt.Errorf("%w: a type of %d bytes in a value of %d", shmem.ErrCorrupt, t.Size,
			o.info.Size)
	}
	if o.head != nil && o.info.Err == nil && o.info.InUse < o.info.File && o.file.InMemory() {
		o.info.State = shmem.Damaged
		o.info.Err = fmt.Errorf("%w: its file has holes: %d of %d bytes have memory",
			shmem.ErrCorrupt, o.info.InUse, o.info.File)
	}
	if o.info.Err != nil {
		o.head, o.t = nil, nil
	}
	return nil
}

// mapFile maps a segment read-only. No page is populated: a look at one field of a large value must
// not read all of it in.
//
// Only a file without holes is mapped: reading a hole of a file in memory through a mapping would
// give it a page. All other files are read by system calls, which give no page to a hole.
func (o *Observer) mapFile() (err error) {
	if o.head == nil {
		return nil
	}
	spec := mem.Spec{Name: o.info.Name, File: o.file, Length: int(o.info.File),
		Payload: int(o.head.PayloadCap), Control: int(o.head.ControlOff)}
	if o.m, err = mem.Map(spec); err != nil {
		return err
	}
	if err := o.m.JoinPeers(o.file, format.NoID, o.head); err != nil {
		o.unmap()
		return fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
	}
	return nil
}

func (o *Observer) unmap() {
	if o.m != nil {
		o.m.Drain()
		o.m.Retire()
		o.m = nil
	}
}

// Close closes the file. Snapshots and values stay valid; other methods return shmem.ErrClosed
// afterwards. Close may be called again.
func (o *Observer) Close() error {
	if o.file == sys.NoFD {
		return nil
	}
	o.unmap()
	err := o.file.Close()
	o.file = sys.NoFD
	if err != nil {
		return o.error("inspect close", err)
	}
	return nil
}

// A closedError is shmem.ErrClosed that names what is closed.
type closedError struct{}

func (closedError) Error() string { return "the observer is closed" }
func (closedError) Unwrap() error { return shmem.ErrClosed }

// error wraps the cause of a failed call.
func (o *Observer) error(op string, err error) error {
	if err == shmem.ErrClosed {
		err = closedError{}
	}
	return &shmem.Error{Op: op, Name: o.info.Name, Err: err}
}

// usable returns why the control block cannot be used, or nil.
func (o *Observer) usable() error {
	switch {
	case o.file == sys.NoFD:
		return shmem.ErrClosed
	case o.info.Err != nil:
		return o.info.Err
	case o.head == nil:
		return fmt.Errorf("%w: it has no control block", shmem.ErrForeign)
	case o.m == nil:
		return fmt.Errorf("%w: it has got a control block since it was opened", shmem.ErrContended)
	}
	return nil
}

// guarded calls f with the mapping pinned. A fault, which means that another process truncated the
// file, becomes a shmem.FaultError. Errors get the operation and the segment's name.
func (o *Observer) guarded(op string, f func() error) (err error) {
	if err := o.usable(); err != nil {
		return o.error(op, err)
	}
	if !o.m.Pin() {
		return o.error(op, shmem.ErrClosed)
	}
	defer o.m.Unpin()
	if fault := o.m.Guard(func() { err = f() }); fault != nil {
		err = &shmem.FaultError{Name: o.info.Path, Addr: fault.Addr, Err: fault.Err}
	}
	if err != nil {
		return o.error(op, err)
	}
	return nil
}

// Info describes the segment as it was at Open or at the last Refresh.
func (o *Observer) Info() shmem.Info { return o.info }

// Type returns the schema of the value, and nil if there is none: then only its bytes are known.
func (o *Observer) Type() *Type { return typeOf(o.t) }

// Refresh reads the control block again: the state of the segment, and which processes are
// attached.
func (o *Observer) Refresh() error {
	if o.file == sys.NoFD {
		return o.error("inspect refresh", shmem.ErrClosed)
	}
	head, t := o.head, o.t
	if err := o.look(o.info.Path, o.info.Name); err != nil {
		return o.error("inspect refresh", err)
	}
	// The mapping was made for the control block that was there at Open. Another one cannot be used
	// with it.
	if o.head != nil && (head == nil || !sameLayout(o.head, head)) {
		o.head, o.t = nil, nil
		o.info.State = shmem.Damaged
		o.info.Err = fmt.Errorf("%w: its control block was replaced", shmem.ErrCorrupt)
	}
	// Keep the same *format.Type as long as it means the same: Diff and Type compare pointers
	// first.
	if t != nil && o.t != nil && o.t.Fingerprint() == t.Fingerprint() {
		o.t = t
	}
	return nil
}

// sameLayout reports whether two headers put the parts of a segment at the same places.
func sameLayout(a, b *format.Header) bool {
	return a.TotalSize == b.TotalSize && a.PayloadCap == b.PayloadCap &&
		a.ControlOff == b.ControlOff && a.ImageOff == b.ImageOff && a.SlotsOff == b.SlotsOff &&
		a.SlotCount == b.SlotCount
}

// Linked reports whether the name still leads to this segment. It does not after Remove, or after
// another segment has taken the name.
func (o *Observer) Linked() bool {
	st, err := o.file.Stat()
	if err != nil {
		return false
	}
	// a descriptor: its file may have any name, or none
	if strings.HasPrefix(o.info.Path, "/proc/") {
		return st.Nlink > 0
	}
	there, err := sys.Lstat(o.info.Path)
	return err == nil && there.Same(st)
}

// NextData returns the first range of the file at off or behind it that can have other bytes than
// zeros. It returns io.EOF if there is none. Where holes cannot be told from data the range is the
// rest of the file.
func (o *Observer) NextData(off int64) (start, end int64, err error) {
	if o.file == sys.NoFD {
		return 0, 0, o.error("inspect read", shmem.ErrClosed)
	}
	if off >= o.info.File {
		return 0, 0, io.EOF
	}
	start, end, err = o.file.Data(off)
	switch {
	case err == io.EOF:
		return 0, 0, io.EOF
	case err != nil:
		start, end = off, o.info.File
	}
	return start, min(end, o.info.File), nil
}

// ReadAt reads from the file, the control block included. It implements io.ReaderAt.
func (o *Observer) ReadAt(b []byte, off int64) (int, error) {
	if o.file == sys.NoFD {
		return 0, o.error("inspect read", shmem.ErrClosed)
	}
	if off >= o.info.File {
		return 0, io.EOF
	}
	n, err := o.file.ReadAt(b, off)
	switch {
	case err != nil && err != io.EOF:
		err = o.error("inspect read", err)
	case err == nil && n < len(b):
		err = io.EOF
	}
	return n, err
}
