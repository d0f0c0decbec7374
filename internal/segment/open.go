package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// A Request says which segment to open and what it must hold.
type Request struct {
	Name   string
	Config Config
	Create bool // create the segment if there is none
	Attach bool // attach to the segment if there is one

	// Size is the payload's size in bytes. With 0 any size is attached to and nothing is created.
	Size int
	// Schema is the type of the value; nil: raw bytes.
	Schema *format.Type
	// Compose returns the type of a payload of that many bytes, for a value whose type is known at
	// run time only; Schema is nil then. A new segment is composed with Size and nil; an existing
	// one with the stored size and type (nil: none is stored), which must equal the result. An
	// error says why there can be no such payload.
	Compose func(payload int, stored *format.Type) (*format.Type, error)
	// Grow returns the type that a composed segment is to have, given the one that is stored: that
	// one, or one that differs by fields that are appended to what it has the Fit compare. nil: the
	// type cannot grow.
	Grow func(stored *format.Type, fit Fit) (*format.Type, error)
	// ItemReserve is Config.Reserve of a Compose whose type has the spare room in itself.
	ItemReserve int
	// Foreign is why the file of another program cannot be a value of that type; nil: it can.
	Foreign error
	// Init prepares the zero payload of a new segment before another process can see it. It runs at
	// most once.
	Init func(*mem.Mapping) error
	// NoCleanup leaves the last one's cleanup to other attachments: the caller cannot drop the
	// value.
	NoCleanup bool
}

// An opening is a Request in progress.
type opening struct {
	Request
	cfg       *Config  // Request.Config with defaults
	path      string   // "": anonymous
	from      *os.File // FromFile only
	anonymous bool
	gid       int // of Config.Group; noGroup: none
	deadline  time.Time

	fingerprint uint64   // of Schema; 0: there is none
	ring        ringForm // that Schema describes

	// What compare found: types are decoded and hashed before the gate is taken. It counts while
	// the segment has the same record, whose checksum covers the schema.
	compared struct {
		done    bool
		record  [format.RecordSize]byte
		missing *format.Record // to be stored
		err     error
	}

	prepared *Attachment // made, and not published yet
	temp     string      // its temporary name, on file systems without nameless files
	noSpace  int         // tries that failed for want of memory
	spaceErr error       // the error of the last one
}

// errRetry is returned when what was found is gone or has changed: the caller starts again.
var errRetry = errors.New("retry")

// errStale is returned when the schema record is not the one that was compared.
var errStale = errors.New("stale")

// newOpening checks what every request needs. discard ends the opening.
func newOpening(r Request) (*opening, error) {
	cfg, err := r.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := supported(); err != nil {
		return nil, err
	}
	o := &opening{Request: r, cfg: cfg, deadline: time.Now().Add(cfg.Timeout)}
	if r.Schema != nil {
		o.fingerprint, o.ring = r.Schema.Fingerprint(), ringOf(r.Schema)
	}
	o.gid, err = groupID(cfg.Group)
	return o, err
}

func supported() error {
	if !sys.Supported {
		return fmt.Errorf("%w: segments need Linux, macOS or Windows on 64 bits, whose kernels "+
			"free the locks of an open file when its process dies, and 64-bit atomics of the "+
			"processor (on arm GOARM=7)",
			errors.ErrUnsupported)
	}
	return nil
}

// Open attaches to a segment or creates it, as r says.
func Open(r Request) (*Attachment, error) {
	a, err := openRequest(r)
	return a, explainLocks(err)
}

func openRequest(r Request) (*Attachment, error) {
	if r.Compose != nil && r.Create {
		var err error
		if r.Schema, err = r.Compose(r.Size, nil); err != nil {
			return nil, err
		}
	}
	o, err := newOpening(r)
	if err != nil {
		return nil, err
	}
	defer o.discard()
	if o.path, err = locate(o.Name, o.cfg); err != nil {
		return nil, err
	}
	if o.cfg.Foreign {
		return o.attachForeign()
	}
	switch {
	case o.cfg.ReadOnly && !o.Attach:
		return nil, fmt.Errorf("%w: Options.ReadOnly is for attaching", errs.ReadOnly)
	case o.cfg.Passive && !o.Attach:
		return nil, errPassive()
	case o.cfg.ReadOnly || o.cfg.Passive:
		o.Create = false
	}
	return o.run()
}

// CreateAnonymous creates a segment without a name. Its size is sealed.
func CreateAnonymous(size int, c Config) (*Attachment, error) {
	o, err := newOpening(Request{Config: c, Create: true, Size: size})
	if err != nil {
		return nil, err
	}
	defer o.discard()
	o.anonymous = true
	if o.cfg.Passive {
		return nil, errPassive()
	}
	if err := o.prepare(); err != nil {
		return nil, explainLocks(err)
	}
	return o.publish()
}

func errPassive() error {
	return badOption("Options.Passive is for attaching; leave it out to create a segment")
}

// FromFile attaches to the segment that f is open on. f stays the caller's.
func FromFile(f *os.File, c Config) (*Attachment, error) {
	o, err := newOpening(Request{Name: f.Name(), Config: c, Attach: true})
	if err != nil {
		return nil, err
	}
	if !sys.PassesFiles {
		return nil, fmt.Errorf("%w: this system cannot attach by an open file; "+
			"open the segment by its name", errors.ErrUnsupported)
	}
	o.from = f
	a, err := o.attachFile()
	return a, explainLocks(err)
}

// run attaches and creates by turns until one of them succeeds.
func (o *opening) run() (*Attachment, error) {
	for {
		a, err := o.attachNamed()
		if err == nil && a == nil && !o.Create {
			return nil, o.absent()
		}
		if err == nil && a == nil {
			a, err = o.createNamed()
		}
		if err != errRetry {
			return a, err
		}
		if !time.Now().Before(o.deadline) {
			if o.spaceErr != nil {
				return nil, o.spaceErr
			}
			return nil, fmt.Errorf("%w: they create and remove the name; "+
				"try again, or let one process create it", errs.Contended)
		}
	}
}

// absent returns the error of an attach that finds nothing.
func (o *opening) absent() error {
	if !isDir(o.cfg.Dir) {
		return fmt.Errorf("directory %s: %w; set Options.Dir to a tmpfs", o.cfg.Dir, fs.ErrNotExist)
	}
	hint := "Open creates it"
	if o.Schema == nil && o.Compose == nil {
		hint = "OpenSegment with a size creates it"
	}
	switch {
	case o.cfg.ReadOnly:
		hint += " without Options.ReadOnly"
	case o.cfg.Passive:
		hint += " without Options.Passive"
	}
	if leftBehind(o.path) {
		return fmt.Errorf("%w in %s: the file %s is what dead processes left; %s",
			fs.ErrNotExist, o.cfg.Dir, o.Name, hint)
	}
	return fmt.Errorf("%w in %s; %s", fs.ErrNotExist, o.cfg.Dir, hint)
}

// leftBehind reports whether there is a file, where attaching to it has found no segment in use.
func leftBehind(path string) bool {
	_, err := sys.Lstat(path)
	return err == nil
}

// isDir reports whether a directory exists, by itself or by a link. One that cannot be looked at is
// taken to exist.
func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir() || err != nil && !gone(err)
}

// explain adds to an error of the directory what to do about it.
func (o *opening) explain(err error) error {
	dir := o.cfg.Dir
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sys.ErrMFile), errors.Is(err, sys.ErrNFile):
		return fmt.Errorf("%w: each attachment holds a file open; "+
			"raise the limit (ulimit -n, LimitNOFILE=) or close some", err)
	case errors.Is(err, sys.ErrNoSpace), errors.Is(err, sys.ErrQuota):
		err := o.noSpaceError(o.fileSize(), err)
		if m, e := sys.MountOf(dir); e == nil && m.Files > 0 && m.Inodes == 0 {
			err.NoInode = true
		}
		return err
	case gone(err):
		if !isDir(dir) {
			return fmt.Errorf("directory %s: %w; create it on a tmpfs, or set Options.Dir to one",
				dir, err)
		}
		if !sys.HasProc() {
			return noProc(err)
		}
		return fmt.Errorf("%w: a file vanished in %s; try again", err, dir)
	case errors.Is(err, sys.ErrROFS):
		return readOnlyMount(dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("directory %s: %w: uid %d cannot create files there; "+
			"set Options.Dir to a directory that it can write", dir, err, os.Geteuid())
	}
	return err
}

// readOnlyMount returns the error of a directory that cannot be written because of its mount.
func readOnlyMount(dir string, err error) error {
	return fmt.Errorf("directory %s: %w: it is mounted read-only; mount it read-write "+
		"(mount -o remount,rw), set Options.Dir to another one, or attach with Options.ReadOnly",
		dir, err)
}

// reopenError explains an error of opening an open file once more.
func reopenError(err error) error {
	switch {
	case gone(err) && sys.ReopensByName:
		return fmt.Errorf("%w: the file has no name any more, by which this system opens it anew; "+
			"pass it on while it has one", err)
	case gone(err) && !sys.HasProc():
		return noProc(err)
	}
	return err
}

// noProc returns the error of a call that needs /proc.
func noProc(err error) error {
	return fmt.Errorf("%w: /proc is not mounted, by which open files are reached; "+
		"mount it: mount -t proc proc /proc", err)
}

// explainLocks adds to sys.ErrNoLocks what to do about it. Other errors it returns as they are.
func explainLocks(err error) error {
	if !errors.Is(err, sys.ErrNoLocks) {
		return err
	}
	return fmt.Errorf("%w: locks of open file descriptions (F_OFD_SETLK) do not work here: %w; "+
		"sandboxes such as gVisor have none; use a runtime with Linux's own kernel (runc), "+
		"and a tmpfs as Options.Dir", errors.ErrUnsupported, err)
}

// explainFile adds to an error of the file itself what to do about it. For a Create, a file that is
// there is fs.ErrExist.
func (o *opening) explainFile(err error) error {
	st, e := sys.Lstat(o.path)
	switch {
	case e == nil && (st.Mode&fs.ModeSymlink != 0 || errors.Is(err, sys.ErrIsDir) ||
		errors.Is(err, sys.ErrNoDev)):
		err = NotRegular(st.Mode)
	case errors.Is(err, fs.ErrPermission) && e == nil:
		err = fmt.Errorf("%w: %s belongs to uid %d and has mode %v, this is uid %d; "+
			"its creator sets Options.Mode, and Options.ReadOnly needs less",
			err, o.path, st.UID, st.Mode, os.Geteuid())
	default:
		return o.explain(err)
	}
	if o.Create && !o.Attach {
		return o.asExist(err)
	}
	return err
}

// fileSize returns how many bytes the file of a new segment has; 0 if it cannot be laid out.
func (o *opening) fileSize() int64 {
	n := 0
	if o.Schema != nil {
		n = len(o.Schema.AppendBinary(nil))
	}
	h, err := o.layout(n)
	if err != nil {
		return 0
	}
	return int64(h.TotalSize)
}

func (o *opening) noSpaceError(need int64, err error) *SpaceError {
	e := &SpaceError{Dir: o.cfg.Dir, Need: need, Err: err}
	if o.anonymous {
		e.Dir = "memory (memfd)"
	} else if m, err := sys.MountOf(o.cfg.Dir); err == nil {
		e.Free, e.Size = m.Avail, m.Size
	}
	return e
}
