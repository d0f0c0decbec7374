package shmem

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// A request is one call of Open, Create or Attach on its way.
type request struct {
	op, name, path string
	opts           *Options
	size           int                                                          // of the payload; 0 takes what is there
	schema         *format.Type                                                 // nil: raw bytes
	compose        func(payload int, stored *format.Type) (*format.Type, error) // see package compose
	composed       *format.Type                                                 // what compose gave for the segment that was found or made
	init           func(*mem.Mapping) error
	create, attach bool
	anonymous      bool
	visitor        bool // see compose.Plan
	from           *os.File

	deadline time.Time
	prepared *Segment // made, but not published yet
	temp     string   // its name meanwhile, where nameless files cannot be had
	noSpace  int      // how often memory could not be had
}

// errAgain: what was found is gone, or not the same any more.
var errAgain = errors.New("again")

func (r *request) run() (*Segment, error) {
	if !sys.Supported {
		return nil, fmt.Errorf("%w: segments need Linux, and 64-bit atomics of the processor (on arm GOARM=7)", errors.ErrUnsupported)
	}
	r.deadline = time.Now().Add(r.opts.Timeout)
	defer r.discard()
	switch {
	case r.from != nil:
		return r.attachFile()
	case r.anonymous:
		if err := r.prepare(); err != nil {
			return nil, err
		}
		return r.publish()
	}
	var err error
	if r.path, err = locate(r.name, r.opts); err != nil {
		return nil, err
	}
	if r.opts.Foreign {
		return r.attachForeign()
	}
	if r.opts.ReadOnly {
		if !r.attach {
			return nil, fmt.Errorf("%w: Options.ReadOnly is for attaching", ErrReadOnly)
		}
		r.create = false
	}
	for {
		s, err := r.attachNamed()
		if err == nil && s == nil && !r.create {
			return nil, r.absent()
		}
		if err == nil && s == nil {
			s, err = r.createNamed()
		}
		if err != errAgain {
			return s, err
		}
		if !time.Now().Before(r.deadline) {
			return nil, fmt.Errorf("%w: they create and remove the name; try again, or let one process create it", ErrContended)
		}
	}
}

// absent is the error of an Attach that finds nothing.
func (r *request) absent() error {
	if st, err := sys.Lstat(r.opts.Dir); err != nil || !st.Mode.IsDir() {
		return fmt.Errorf("directory %s: %w; set Options.Dir to a tmpfs", r.opts.Dir, fs.ErrNotExist)
	}
	hint := "Open creates it"
	if r.opts.ReadOnly {
		hint += " without Options.ReadOnly"
	}
	return fmt.Errorf("%w in %s; %s", fs.ErrNotExist, r.opts.Dir, hint)
}

// createNamed gives a new segment its name. errAgain: somebody else's has it.
func (r *request) createNamed() (*Segment, error) {
	if r.prepared == nil {
		err := r.prepare()
		if errors.Is(err, ErrNoSpace) {
			return nil, r.outOfSpace(err)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.publish()
}

// prepare makes a complete segment that nobody else can see.
func (r *request) prepare() (err error) {
	o := r.opts
	var encoded []byte
	if r.schema != nil {
		encoded = r.schema.AppendBinary(nil)
	}
	schemaRoom := len(encoded)
	if schemaRoom > format.InlineSchema {
		schemaRoom = 2*schemaRoom + format.HeaderSize // a longer one is written beside it: see storeSchema
	}
	h, err := format.Layout(uint64(r.size), uint64(o.Reserve), o.Slots, o.image(r.size), schemaRoom, uint64(os.Getpagesize()))
	if err != nil {
		return err
	}
	now := time.Now().UnixNano()
	h.Created, h.Program, h.ID = now, program(), randomID()
	h.CreatorPID, h.CreatorUID, h.CreatorNS = pid(), uint32(os.Geteuid()), pidNamespace()

	s := &Segment{name: r.name, path: r.path, opts: o, head: h, file: sys.NoFD}
	s.size.Store(int64(r.size))
	if err := r.newFile(s); err != nil {
		return err
	}
	r.prepared = s // from here on discard gives everything back
	if err := s.file.Chmod(o.Mode); err != nil {
		return err
	}
	if err := r.allocate(s.file, int64(h.TotalSize)); err != nil {
		if errors.Is(err, sys.ErrNoSpace) || errors.Is(err, sys.ErrQuota) || errors.Is(err, sys.ErrNoMem) {
			return r.spaceError(int64(h.TotalSize), err)
		}
		return err
	}
	step.Reach(step.CreateAllocate)
	if r.anonymous {
		if err := s.file.Seal(); err != nil {
			return err
		}
	}
	if s.stat, err = s.file.Stat(); err != nil {
		return err
	}
	if s.m, err = s.mapFile(true); err != nil {
		return err
	}
	step.Reach(step.CreateMap)

	s.id = format.MakeID(format.NextGen(0), 0)
	owner := format.Owner{State: format.Owned, ID: s.id}
	if o.Kept {
		owner = format.Owner{State: format.Kept}
	}
	if !step.Flawed(step.LateSlot) {
		if err := s.file.Lock(sys.SlotByte, false); err != nil {
			return err
		}
	}
	step.Reach(step.CreateSlot)
	buf := pages.Get().(*[format.HeaderSize]byte)
	defer pages.Put(buf)
	page := buf[:]
	clear(page)
	h.Encode(page)
	putUint64(page[format.OffOwner:], owner.Word())
	putUint32(page[format.OffSlotHigh:], 1)
	fingerprint := uint64(0)
	if r.schema != nil {
		fingerprint = r.schema.Fingerprint()
	}
	rec := h.NewRecord(encoded, fingerprint, uint64(r.size))
	rec.Encode(page[format.OffRecord:], encoded)
	if rec.Kind == format.AreaRecord {
		if err := s.file.WriteAt(encoded, int64(rec.Offset)); err != nil {
			return err
		}
	}
	if err := s.file.WriteAt(s.slotRecord(nil), int64(h.SlotsOff)); err != nil {
		return err
	}
	step.Reach(step.CreateControl)
	if err := s.file.WriteAt(page, int64(h.HeaderOff())); err != nil {
		return err
	}
	step.Reach(step.CreateOwner)
	if err := s.m.JoinPeers(s.file, s.id, h); err != nil {
		return err
	}
	s.shared = robust.NewShared(s.m)
	if r.init != nil && !step.Flawed(step.LateInit) {
		if err := r.init(s.m); err != nil {
			return fmt.Errorf("the value's Init: %w", err)
		}
	}
	step.Reach(step.CreateInit)
	return nil
}

// allocate reserves the memory of a new file. It is taken piece by piece; what cannot be had at all is
// refused before anybody is robbed of what there is, or killed for it.
func (r *request) allocate(file sys.FD, n int64) error {
	if n > sys.Piece {
		if total := sys.Memory(); total > 0 && n > total {
			return sys.ErrNoSpace
		}
	}
	if n > sys.Piece && !r.anonymous {
		if m, err := sys.MountOf(r.opts.Dir); err == nil && m.Size > 0 && n > m.Avail {
			return sys.ErrNoSpace
		}
	}
	return file.Allocate(n)
}

// newFile makes the file of s: nameless where that can be had, else with a temporary name and its
// gate held, so that no sweeper takes it.
func (r *request) newFile(s *Segment) (err error) {
	if r.anonymous {
		s.file, err = sys.CreateAnonymous("shmem")
		return r.explain(err)
	}
	if !sys.AvoidNameless {
		s.file, err = sys.CreateNameless(r.opts.Dir, r.opts.Mode)
		if err == nil {
			step.Reach(step.CreateFile)
		}
		if err == nil || !sys.NoNameless(err) {
			return r.explain(err)
		}
	}
	for {
		temp := filepath.Join(r.opts.Dir, tempPrefix+hexString(randomID()))
		file, err := sys.CreateExclusive(temp, r.opts.Mode)
		if err != nil {
			return r.explain(err)
		}
		step.Reach(step.CreateTemp)
		err = file.Lock(sys.GateByte, false)
		if err == nil {
			step.Reach(step.CreateTempGate)
			mine, err1 := file.Stat()
			there, err2 := sys.Lstat(temp)
			if err1 == nil && err2 == nil && mine.Same(there) {
				s.file, r.temp = file, temp
				return nil
			}
		}
		_ = file.Close()
		if err != nil && err != sys.ErrHeld { // a file system without such locks
			_ = sys.Unlink(temp)
			return err
		}
		// A sweeper was faster.
		if !time.Now().Before(r.deadline) {
			return ErrBusy
		}
	}
}

// publish gives the prepared file its name. errAgain: the name exists; the file is kept for another try.
func (r *request) publish() (*Segment, error) {
	s := r.prepared
	if step.Flawed(step.Replace) {
		_ = sys.Unlink(r.path)
	}
	switch {
	case r.anonymous:
	case r.temp != "":
		if err := sys.RenameExclusive(r.temp, r.path); err != nil {
			if errors.Is(err, fs.ErrExist) {
				step.Reach(step.CreateLost)
				return nil, errAgain
			}
			return nil, r.explain(err)
		}
		step.Reach(step.CreateLink)
		leave(s.file)
		r.temp = ""
	default:
		if err := s.file.Link(r.path); err != nil {
			if errors.Is(err, fs.ErrExist) {
				step.Reach(step.CreateLost)
				return nil, errAgain
			}
			return nil, r.explain(err)
		}
		step.Reach(step.CreateLink)
	}
	if step.Flawed(step.LateSlot) {
		_ = s.file.Lock(sys.SlotByte, false)
	}
	if step.Flawed(step.LateInit) && r.init != nil {
		_ = r.init(s.m)
	}
	r.prepared, r.composed = nil, r.schema
	return s, nil
}

// discard gives back what was prepared and not published.
func (r *request) discard() {
	if r.temp != "" {
		_ = sys.Unlink(r.temp)
		r.temp = ""
	}
	if s := r.prepared; s != nil {
		r.prepared = nil
		if s.m != nil {
			s.m.Drain()
			s.m.Retire()
		}
		_ = s.file.Close()
	}
}

// outOfSpace gives the memory back and makes some: others that lose the race to create hold a full
// copy for a moment, and so do dead ones. nil: try again.
func (r *request) outOfSpace(err error) error {
	r.discard()
	step.Reach(step.CreateNoSpace)
	if r.noSpace++; r.noSpace > 5 {
		return err
	}
	for range reclaim(r.opts) {
	}
	time.Sleep(time.Millisecond + randomUpTo(19*time.Millisecond))
	return errAgain
}

func (r *request) spaceError(need int64, err error) error {
	e := &SpaceError{Dir: r.opts.Dir, Need: need, Err: err}
	if r.anonymous {
		e.Dir = "memory (memfd)"
	} else if m, err := sys.MountOf(r.opts.Dir); err == nil {
		e.Free, e.Size = m.Avail, m.Size
	}
	return e
}

// explain says what to do about an error of the directory.
func (r *request) explain(err error) error {
	dir := r.opts.Dir
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sys.ErrMFile), errors.Is(err, sys.ErrNFile):
		return fmt.Errorf("%w: each attachment holds a file open; raise the limit (ulimit -n, LimitNOFILE=) or close some", err)
	case errors.Is(err, sys.ErrNoSpace), errors.Is(err, sys.ErrQuota):
		return r.spaceError(int64(r.size), err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, sys.ErrNotDir):
		if st, e := sys.Lstat(dir); e != nil || !st.Mode.IsDir() && st.Mode&fs.ModeSymlink == 0 {
			return fmt.Errorf("directory %s: %w; create it on a tmpfs, or set Options.Dir to one", dir, err)
		}
		return fmt.Errorf("%w: a file vanished in %s, or /proc is not mounted", err, dir)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, sys.ErrROFS):
		return fmt.Errorf("directory %s: %w: uid %d cannot create files there; set Options.Dir to a directory that it can write", dir, err, os.Geteuid())
	}
	return err
}

// mapFile maps the whole file of a segment of ours.
func (s *Segment) mapFile(slot bool) (*mem.Mapping, error) {
	h := s.head
	if h.TotalSize > math.MaxInt/2 {
		return nil, fmt.Errorf("mapping: %d bytes are too many for this machine's addresses", h.TotalSize)
	}
	m, err := mem.Map(mem.Spec{
		Name: s.name, File: s.file, Payload: int(h.PayloadCap), Length: int(h.TotalSize), Control: int(h.ControlOff),
		Write: !s.opts.ReadOnly, Slot: slot, Huge: s.opts.HugePages, Populate: s.opts.Populate,
	})
	return m, mapError(err)
}

func mapError(err error) error {
	if errors.Is(err, sys.ErrNoMem) {
		return fmt.Errorf("mapping: %w: out of address space or of mappings (sysctl vm.max_map_count; each open box needs two)", err)
	}
	return err
}
