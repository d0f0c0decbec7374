package shmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// attachNamed attaches to what has the name. Without error and segment: nothing has it (any more).
func (r *request) attachNamed() (*Segment, error) {
	file, write, err := r.openFile(r.path, sys.Open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, r.explainFile(err)
	}
	step.Reach(step.AttachOpen)
	s, err := r.join(file, write)
	if s == nil {
		_ = file.Close()
	}
	return s, err
}

// attachFile attaches to the segment that a descriptor is open on.
func (r *request) attachFile() (*Segment, error) {
	rc, err := r.from.SyscallConn()
	if err != nil {
		return nil, err
	}
	var file sys.FD
	var write bool
	if e := rc.Control(func(fd uintptr) {
		file, write, err = r.openFile("", func(_ string, write bool) (sys.FD, error) { return sys.FD(fd).Reopen(write) })
	}); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the file cannot be opened anew by /proc/self/fd; attaching needs permission on the file itself", err)
	}
	r.path = nameOf(file)
	s, err := r.join(file, write)
	if err == errAgain && r.path != "" {
		r.path = "" // the name was taken away meanwhile: attach without it
		s, err = r.join(file, write)
	}
	if s == nil {
		_ = file.Close()
	}
	if err == errAgain || err == nil && s == nil {
		err = fmt.Errorf("%w: its owner has left or died", fs.ErrNotExist)
	}
	return s, err
}

// nameOf is the path that leads to an open file, "" if none does. Whoever attaches by descriptor to a
// segment with a name may become the last one out of it.
func nameOf(file sys.FD) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", int(file)))
	if err != nil {
		return ""
	}
	st, err1 := file.Stat()
	there, err2 := sys.Lstat(path)
	if err1 != nil || err2 != nil || !there.Same(st) {
		return ""
	}
	return path
}

// openFile opens for writing, or, if reading is all that is wanted and allowed, for reading.
func (r *request) openFile(path string, open func(string, bool) (sys.FD, error)) (file sys.FD, write bool, err error) {
	file, err = open(path, true)
	if err != nil && r.opts.ReadOnly && (errors.Is(err, fs.ErrPermission) || errors.Is(err, sys.ErrROFS)) {
		file, err = open(path, false)
		return file, false, err
	}
	return file, true, err
}

// explainFile says what to do about an error of the file itself.
func (r *request) explainFile(err error) error {
	switch st, e := sys.Lstat(r.path); {
	case errors.Is(err, sys.ErrLoop), e == nil && st.Mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%w: %s is a symbolic link, which is never followed", ErrNotRegular, r.path)
	case errors.Is(err, sys.ErrIsDir):
		return fmt.Errorf("%w: %s is a directory", ErrNotRegular, r.path)
	case errors.Is(err, sys.ErrNoDev):
		return fmt.Errorf("%w: %s is a socket or a device", ErrNotRegular, r.path)
	case errors.Is(err, fs.ErrPermission) && e == nil:
		return fmt.Errorf("%w: %s belongs to uid %d and has mode %v, this is uid %d; its creator sets Options.Mode, and Options.ReadOnly needs less",
			err, r.path, st.UID, st.Mode, os.Geteuid())
	}
	return r.explain(err)
}

// admit checks that the open file is one that we attach to at all.
func (r *request) admit(st sys.Stat) error {
	switch {
	case !st.Mode.IsRegular():
		return fmt.Errorf("%w: it is a %v", ErrNotRegular, st.Mode.Type())
	case st.UID != uint32(os.Geteuid()) && !r.opts.AnyUser:
		return fmt.Errorf("%w: uid %d, this is uid %d; Options.AnyUser accepts it, choose another name otherwise", ErrOtherUser, st.UID, os.Geteuid())
	}
	return nil
}

// readHeader reads the control block of an open file.
func readHeader(file sys.FD, st sys.Stat) (*format.Header, []byte, error) {
	page := make([]byte, format.HeaderSize)
	h, err := readHeaderTo(page, file, st)
	return h, page, err
}

func readHeaderTo(page []byte, file sys.FD, st sys.Stat) (*format.Header, error) {
	if st.Size < format.HeaderSize {
		return nil, errForeign(st.Size)
	}
	n, err := file.ReadAt(page, st.Size-format.HeaderSize)
	if err != nil {
		return nil, err
	}
	if n < len(page) {
		return nil, fmt.Errorf("%w: the file was truncated while it was read", ErrCorrupt)
	}
	h, err := format.DecodeHeader(page, st.Size)
	return h, formatError(err, st.Size)
}

// pages are for header pages that are not kept: collecting them as garbage would cost more than reading them.
var pages = sync.Pool{New: func() any { return new([format.HeaderSize]byte) }}

func errForeign(size int64) error {
	return fmt.Errorf("%w: its %d bytes have no control block; if another program made it, attach with Options.Foreign; if it was ours, somebody truncated it, and Remove takes it away", ErrForeign, size)
}

func formatError(err error, size int64) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, format.ErrNone):
		return errForeign(size)
	case errors.Is(err, format.ErrVersion):
		return fmt.Errorf("%w: %v; Remove takes it away", ErrVersion, err)
	}
	return fmt.Errorf("%w: %v; Remove takes it away", ErrCorrupt, err)
}

// join attaches to the segment in an open file. errAgain: the file has lost its name, or was garbage
// and is unlinked now. Without error and segment: it is garbage that this request may not unlink.
// Unless a segment is returned the file remains the caller's.
func (r *request) join(file sys.FD, write bool) (*Segment, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := r.admit(st); err != nil {
		return nil, r.orExist(err)
	}
	buf := pages.Get().(*[format.HeaderSize]byte)
	defer pages.Put(buf)
	page := buf[:]
	if _, err := readHeaderTo(page, file, st); err != nil {
		return nil, r.orExist(err)
	}
	step.Reach(step.AttachRead)
	// The control block says how long the file must be for all that is mapped to be there.
	if err := enter(file, !write, r.deadline); err != nil {
		return nil, err
	}
	step.Reach(step.AttachGate)
	defer func() {
		leave(file)
		step.Reach(step.AttachRelease)
	}()
	if r.path != "" && !step.Flawed(step.NoRecheck) {
		if there, err := sys.Lstat(r.path); err != nil || !there.Same(st) {
			return nil, errAgain
		}
	}
	h, err := readHeaderTo(page, file, st) // what changes is read under the gate
	if err != nil {
		return nil, r.orExist(err)
	}
	s := &Segment{name: r.name, path: r.path, opts: r.opts, file: file, stat: st, head: h, visitor: r.visitor}
	if r.from != nil {
		s.name = ""
		if r.path != "" {
			s.name = filepath.Base(r.path)
		}
	}
	owner := format.OwnerOf(binary.NativeEndian.Uint64(page[format.OffOwner:]))
	if !owner.Valid() {
		return nil, r.orExist(fmt.Errorf("%w: owner word %v; Remove takes it away", ErrCorrupt, owner))
	}
	attached, err := s.othersAttached()
	if err != nil {
		return nil, err
	}
	if owner.State == format.Dropped || !attached && owner.State != format.Kept {
		return nil, r.clear(s, write)
	}
	if !r.attach {
		return nil, fs.ErrExist
	}
	rec, err := r.check(s, page)
	if err != nil {
		return nil, err
	}
	if err := r.takeSlot(s, page, write); err != nil {
		return nil, err
	}
	if rec != nil && s.canWriteSchema() {
		if err := s.storeSchema(r.schema, *rec); err != nil {
			return nil, err
		}
		step.Reach(step.SchemaWrite)
	}
	if s.m, err = s.mapFile(s.id != format.Nobody); err != nil {
		return nil, err
	}
	step.Reach(step.AttachMap)
	if err := s.m.JoinPeers(file, s.id, h); err != nil {
		s.m.Retire()
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if s.id != format.Nobody {
		s.shared = robust.NewShared(s.m)
	}
	return s, nil
}

// orExist makes what hinders attaching the fact that the name is taken, for a Create.
func (r *request) orExist(err error) error {
	if r.attach {
		return err
	}
	return fmt.Errorf("%w: %w", fs.ErrExist, err)
}

// othersAttached reports whether anybody but this attachment is attached.
func (s *Segment) othersAttached() (bool, error) {
	if step.Flawed(step.ByPID) {
		return s.attachedByPID()
	}
	return s.file.Held(sys.PresenceByte, sys.SlotByte-sys.PresenceByte+int64(s.head.SlotCount))
}

// clear unlinks garbage, under the gate.
func (r *request) clear(s *Segment, write bool) error {
	switch {
	case !r.create || !write || r.path == "":
		return nil
	}
	step.Reach(step.AttachGarbage)
	if err := sys.Unlink(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: a dead segment of uid %d has the name, and only that user, the owner of %s or root can remove it", err, s.stat.UID, filepath.Dir(r.path))
	}
	step.Reach(step.AttachUnlink)
	return errAgain
}

// takeSlot locks a free slot and writes its record. Whoever may only read shares one common byte.
func (r *request) takeSlot(s *Segment, page []byte, write bool) error {
	if !write {
		if err := s.file.Lock(sys.PresenceByte, true); err != nil {
			return err
		}
		step.Reach(step.AttachReader)
		return nil
	}
	const chunk = 16
	var buf [chunk * format.SlotSize]byte
	n := int(s.head.SlotCount)
	// The pids are a hint where to look first: the lock alone is the truth.
	for _, hinted := range []bool{true, false} {
		for first := 0; first < n; first += chunk {
			b := buf[:min(chunk, n-first)*format.SlotSize]
			if m, err := s.file.ReadAt(b, int64(s.head.SlotsOff)+int64(first)*format.SlotSize); err != nil || m < len(b) {
				return fmt.Errorf("%w: slots cannot be read (%v)", ErrCorrupt, err)
			}
			for i := 0; i < len(b)/format.SlotSize; i++ {
				rec := b[i*format.SlotSize:][:format.SlotSize]
				if hinted != (binary.NativeEndian.Uint32(rec[format.SlotPID:]) == 0) {
					continue
				}
				switch err := s.file.Lock(sys.SlotByte+int64(first+i), false); {
				case err == sys.ErrHeld:
					continue
				case err != nil:
					return err
				}
				step.Reach(step.AttachSlot)
				err := r.writeSlot(s, page, uint32(first+i), rec)
				step.Reach(step.AttachRecord)
				return err
			}
		}
	}
	return fmt.Errorf("%w: %d processes or handles are attached; create it with more Options.Slots (at most %d)", ErrNoSlot, n, format.MaxSlots)
}

func (r *request) writeSlot(s *Segment, page []byte, slot uint32, old []byte) error {
	gen := format.NextGen(binary.NativeEndian.Uint32(old[format.SlotGen:]) & format.GenMask)
	if step.Flawed(step.SameGen) {
		gen = 1
	}
	s.id = format.MakeID(gen, slot)
	if err := s.file.WriteAt(s.slotRecord(old), int64(s.head.SlotsOff)+int64(slot)*format.SlotSize); err != nil {
		return err
	}
	if high := binary.NativeEndian.Uint32(page[format.OffSlotHigh:]); high <= slot {
		var b [4]byte
		putUint32(b[:], slot+1)
		return s.file.WriteAt(b[:], int64(s.head.HeaderOff())+format.OffSlotHigh)
	}
	return nil
}

// slotRecord is the record of a new tenant; old is that of the last one, whose spare word stays.
func (s *Segment) slotRecord(old []byte) []byte {
	b := make([]byte, format.SlotSize)
	copy(b[format.SlotSpare:], old[min(len(old), format.SlotSpare):])
	putUint32(b[format.SlotGen:], s.id.Gen())
	putUint32(b[format.SlotPID:], pid())
	if s.opts.ReadOnly {
		putUint32(b[format.SlotFlags:], format.SlotReadOnly)
	}
	putUint64(b[format.SlotPIDNS:], pidNamespace())
	putUint64(b[format.SlotStarted:], uint64(time.Now().UnixNano()))
	return b
}

// attachForeign attaches to a file that another program made.
func (r *request) attachForeign() (*Segment, error) {
	if !r.attach {
		return nil, errors.New("Options.Foreign is for attaching; a new segment is ours")
	}
	open := sys.OpenAny
	if r.path == filepath.Join(r.opts.Dir, r.name) {
		open = sys.Open // a name in our directory is no place for links
	}
	o := r.opts
	file, err := open(r.path, !o.ReadOnly)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: no file %s", fs.ErrNotExist, r.path)
		}
		return nil, r.explainFile(err)
	}
	s := &Segment{name: r.name, path: r.path, opts: o, file: file}
	if err := r.mapForeign(s); err != nil {
		_ = file.Close()
		return nil, err
	}
	return s, nil
}

func (r *request) mapForeign(s *Segment) error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	if err := r.admit(st); err != nil {
		return err
	}
	s.stat = st
	if st.Size >= format.HeaderSize {
		if _, _, err := readHeader(s.file, st); !errors.Is(err, ErrForeign) {
			return errors.New("it is a ShmemBox segment: attach to it without Options.Foreign")
		}
	}
	rest := st.Size - r.opts.Offset
	if r.size == 0 && rest > 0 && rest <= math.MaxInt/2 {
		r.size = int(rest)
	}
	if rest <= 0 || int64(r.size) > rest {
		return fmt.Errorf("%w: the file has %d bytes, %d at offset %d are needed", ErrMismatch, st.Size, max(r.size, 1), r.opts.Offset)
	}
	if r.schema != nil && r.opts.Offset%int64(r.schema.Align) != 0 {
		return fmt.Errorf("%w: offset %d is not a multiple of the type's alignment %d", ErrMismatch, r.opts.Offset, r.schema.Align)
	}
	s.size.Store(int64(r.size))
	s.m, err = mem.Map(mem.Spec{
		Name: s.name, File: s.file, Offset: r.opts.Offset, Payload: r.size, Length: r.size,
		Write: !r.opts.ReadOnly, Huge: r.opts.HugePages, Populate: r.opts.Populate,
	})
	return mapError(err)
}
