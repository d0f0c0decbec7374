package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// To create a segment:
//
//  1. open a file that has no name (CreateFile; or CreateTemp, CreateTempGate), and look what it is
//  2. reserve the memory of its whole size (CreateAllocate)
//  3. map it and make its pages present (CreateMap)
//  4. lock slot 0 (CreateSlot)
//  5. write a schema that is too long for the header page (CreateControl)
//  6. write the slot's record and the header page with the owner word (CreateOwner)
//  7. initialise the value (CreateInit)
//  8. give the file its name (CreateLink, or CreateLost if the name exists)
//
// Before step 8 no other process sees the file, and a death leaves nothing: the kernel frees a file
// without a name. A temporary name is left, which Reclaim removes.

// createNamed publishes a new segment. errRetry: the name exists.
func (o *opening) createNamed() (*Attachment, error) {
	if o.prepared == nil {
		err := o.prepare()
		if errors.Is(err, errs.NoSpace) {
			return nil, o.outOfSpace(err)
		}
		if err != nil {
			return nil, err
		}
		o.spaceErr = nil
	}
	return o.publish()
}

// prepare does steps 1 to 7. What it has made is in o.prepared, also after an error.
func (o *opening) prepare() error {
	encoded := []byte(nil)
	if o.Schema != nil {
		encoded = o.Schema.AppendBinary(nil)
	}
	h, err := o.layout(len(encoded))
	if err != nil {
		return err
	}
	a := &Attachment{control: control{file: sys.NoFD, head: h}, name: o.Name, path: o.path,
		cfg: o.cfg}
	a.typ = o.Schema
	a.size.Store(int64(o.Size))
	if err := o.newFile(a); err != nil {
		return err
	}
	o.prepared = a
	if err := o.reserve(a); err != nil {
		return err
	}
	if err := a.mapFile(true); err != nil {
		return err
	}
	a.populate()
	step.Reach(step.CreateMap)

	a.id = format.MakeID(format.NextGen(0), 0)
	if err := a.file.Lock(sys.SlotByte, false); err != nil {
		return err
	}
	step.Reach(step.CreateSlot)
	if err := o.writeControl(a, encoded); err != nil {
		return err
	}
	if err := a.join(); err != nil {
		return err
	}
	if err := o.initValue(a); err != nil {
		return err
	}
	step.Reach(step.CreateInit)
	return nil
}

// layout lays out the file of a segment whose schema has schemaLen bytes.
func (o *opening) layout(schemaLen int) (*format.Header, error) {
	reserve := max(o.cfg.Reserve, o.ItemReserve)
	grows := reserve > 0 || o.cfg.Append
	if schemaLen > format.InlineSchema || grows && schemaLen > format.InlineSchema/4 {
		// a longer one is written beside it: see storeSchema
		schemaLen = 2*schemaLen + format.HeaderSize
	}
	image := o.Size <= o.cfg.UndoLimit
	h, err := format.Layout(uint64(o.Size), uint64(o.cfg.Reserve), o.cfg.Slots, image, schemaLen,
		uint64(os.Getpagesize()))
	if err != nil {
		return nil, err
	}
	ringOf(o.Schema).put(h)
	h.Lifetime, h.Reserve = o.cfg.Lifetime, uint64(reserve)
	if grows {
		h.Hints |= format.Grows
	}
	h.Created, h.Program, h.ID = time.Now().UnixNano(), program(), randomID()
	h.CreatorPID, h.CreatorUID, h.CreatorNS = pid(), uint32(os.Geteuid()), pidNamespace()
	return h, nil
}

// hasProc reports whether /proc is mounted. Without it a nameless file cannot get a name.
var hasProc = sync.OnceValue(sys.HasProc)

// newFile does step 1.
func (o *opening) newFile(a *Attachment) (err error) {
	if o.anonymous {
		if a.file, err = sys.CreateAnonymous("shmem"); err != nil {
			return o.explain(err)
		}
	} else if err := o.newNamedFile(a); err != nil {
		return err
	}
	if a.stat, err = a.file.Stat(); err == nil {
		if o.anonymous || o.cfg.Disk || inMemory(a.file, a.stat) {
			return nil
		}
		err = onDisk(o.cfg.Dir)
	}
	_ = a.file.Close()
	if o.temp != "" {
		_ = sys.Unlink(o.temp)
		o.temp = ""
	}
	return err
}

// newNamedFile makes the file of a segment that gets a name.
func (o *opening) newNamedFile(a *Attachment) (err error) {
	if !sys.AvoidNameless && hasProc() {
		a.file, err = sys.CreateNameless(o.cfg.Dir, o.cfg.Mode)
		if err == nil {
			step.Reach(step.CreateFile)
		}
		if err == nil || !sys.NoNameless(err) {
			return o.explain(err)
		}
	}
	for {
		done, err := o.newTempFile(a)
		if done || err != nil {
			return err
		}
		if !time.Now().Before(o.deadline) {
			return fmt.Errorf("%w: they remove its temporary file", errs.Contended)
		}
	}
}

// newTempFile makes a file with a temporary name and takes its gate, so that Reclaim leaves the
// file alone. done is false if a Reclaim was faster.
func (o *opening) newTempFile(a *Attachment) (done bool, err error) {
	temp := filepath.Join(o.cfg.Dir, tempPrefix+hexString(randomID()))
	file, err := sys.CreateExclusive(temp, o.cfg.Mode)
	if err != nil {
		return false, o.explain(err)
	}
	step.Reach(step.CreateTemp)
	err = file.Lock(sys.GateByte, false)
	if err == nil {
		step.Reach(step.CreateTempGate)
		mine, err1 := file.Stat()
		there, err2 := sys.Lstat(temp)
		if err1 == nil && err2 == nil && mine.Same(there) {
			a.file, o.temp = file, temp
			return true, nil
		}
		if err2 != nil && !gone(err2) {
			err1 = errors.Join(err1, err2)
		}
		err = err1
	}
	_ = file.Close()
	if err != nil && err != sys.ErrHeld { // a file system without such locks, for example
		_ = sys.Unlink(temp)
		return false, err
	}
	return false, nil
}

// reserve does step 2, and fixes what the file is: its group, its mode and its size.
func (o *opening) reserve(a *Attachment) error {
	if err := o.share(a); err != nil {
		return err
	}
	total := int64(a.head.TotalSize)
	if err := o.allocate(a.file, total); err != nil {
		return err
	}
	a.stat.Size, a.stat.Blocks = total, (total+511)/512
	step.Reach(step.CreateAllocate)
	if o.anonymous {
		return a.file.Seal()
	}
	return nil
}

// allocate reserves n bytes, piece by piece. A size that cannot be had at all is rejected up
// front, so that it neither starves other processes nor triggers the OOM killer. The room is
// looked at again before each piece: others take memory meanwhile.
func (o *opening) allocate(file sys.FD, n int64) error {
	if n > sys.Piece && !o.anonymous {
		if m, err := sys.MountOf(o.cfg.Dir); err == nil && m.Size > 0 && n > m.Avail {
			return o.noSpaceError(n, sys.ErrNoSpace)
		}
	}
	for off := int64(0); off < n; off += sys.Piece {
		if err := checkRoom(n - off); err != nil {
			return err
		}
		if err := file.Allocate(off, min(sys.Piece, n-off)); err != nil {
			return o.allocateError(n, err)
		}
	}
	return nil
}

// allocateError explains an error of reserving n bytes.
func (o *opening) allocateError(n int64, err error) error {
	switch {
	case errors.Is(err, sys.ErrNoSpace), errors.Is(err, sys.ErrQuota), errors.Is(err, sys.ErrNoMem):
		return o.noSpaceError(n, err)
	case errors.Is(err, sys.ErrFBig):
		return fmt.Errorf("%w: it needs a file of %s, and the process may not make so large a one "+
			"(RLIMIT_FSIZE); raise the limit (ulimit -f, LimitFSIZE=)", err, size(n))
	case errors.Is(err, sys.ErrNotSupported):
		return fmt.Errorf("%w: the file system of %s cannot reserve memory (fallocate); "+
			"set Options.Dir to a tmpfs", err, o.cfg.Dir)
	}
	return err
}

// roomStep is how much memory this process reserves without looking at the room, which takes longer
// than to create a small segment.
const roomStep = 1 << 20

// reserved counts the bytes since the last look at the room.
var reserved atomic.Int64

// checkRoom returns a *SpaceError if the machine or the process's memory cgroup has not n bytes
// left. The kernel would kill a process instead.
func checkRoom(n int64) error {
	if n <= 0 {
		return nil
	}
	if reserved.Add(min(n, roomStep)) < roomStep {
		return nil
	}
	reserved.Store(0)
	room, ok := sys.Room()
	// The process needs some of it by itself: for page tables, at least.
	if !ok || n+n/256+256<<10 <= room.Free {
		return nil
	}
	reserved.Store(roomStep) // look again next time
	return &SpaceError{
		Dir: "memory", Group: room.Group, Need: n, Free: room.Free, Size: room.Limit,
		Err: sys.ErrNoMem,
	}
}

// writeControl does steps 5 and 6.
func (o *opening) writeControl(a *Attachment, encoded []byte) error {
	h := a.head
	owner := format.Owner{State: format.Owned, ID: a.id}
	switch h.Lifetime {
	case format.LifetimeKept:
		owner = format.Owner{State: format.Kept}
	case format.LifetimeShared:
		owner = format.Owner{State: format.Shared}
	}
	buf := tails.Get().(*tail)
	defer tails.Put(buf)
	clear(buf[:])
	page := buf.header()
	copy(buf.slot(0), a.slotRecord(0))
	h.Ino, h.Dev = a.stat.Ino, a.stat.Dev
	h.Encode(page)
	putUint64(page[format.OffOwner:], owner.Word())
	putUint32(page[format.OffSlotHigh:], 1)
	fingerprint := uint64(0)
	if o.Schema != nil {
		fingerprint = o.Schema.Fingerprint()
	}
	rec := h.NewRecord(encoded, fingerprint, uint64(o.Size))
	rec.Encode(page[format.OffRecord:], encoded)
	if rec.Kind == format.AreaRecord {
		if err := a.file.WriteAt(encoded, int64(rec.Offset)); err != nil {
			return err
		}
	}
	step.Reach(step.CreateControl)
	// slot 0 stands directly before the header
	if err := a.file.WriteAt(buf.from(0), a.slotOff(0)); err != nil {
		return err
	}
	step.Reach(step.CreateOwner)
	return nil
}

// initValue does step 7.
func (o *opening) initValue(a *Attachment) error {
	if o.Init == nil {
		return nil
	}
	if err := o.Init(a.m); err != nil {
		return fmt.Errorf("the value's Init: %w", err)
	}
	return nil
}

// publish does step 8. errRetry: the name exists; the file is kept for another try, so that Init
// runs at most once.
func (o *opening) publish() (*Attachment, error) {
	a := o.prepared
	if !o.anonymous {
		if err := o.link(a); err != nil {
			if errors.Is(err, fs.ErrExist) {
				step.Reach(step.CreateLost)
				return nil, errRetry
			}
			return nil, o.explain(err)
		}
		step.Reach(step.CreateLink)
	}
	if o.temp != "" {
		_ = a.file.Unlock(sys.GateByte, 1)
		o.temp = ""
	}
	o.prepared = nil
	return a, nil
}

func (o *opening) link(a *Attachment) error {
	if o.temp != "" {
		return sys.RenameExclusive(o.temp, o.path)
	}
	return a.file.Link(o.path)
}

// discard frees what was prepared and not published.
func (o *opening) discard() {
	if o.temp != "" {
		_ = sys.Unlink(o.temp)
		o.temp = ""
	}
	if a := o.prepared; a != nil {
		o.prepared = nil
		if a.m != nil {
			a.m.Drain()
			a.m.Retire()
		}
		_ = a.file.Close()
	}
}

// outOfSpace frees what was prepared, and reclaims garbage of this user: processes that lose the
// race to create hold a full copy for a moment, and dead ones until it is reclaimed. errRetry: try
// again; otherwise err is the result.
func (o *opening) outOfSpace(err error) error {
	const tries = 5
	o.discard()
	step.Reach(step.CreateNoSpace)
	o.spaceErr = err
	if o.noSpace++; o.noSpace > tries {
		return err
	}
	reclaimUntil(o.cfg.Dir, o.deadline, o.noteReclaimed)
	pause := time.Millisecond + rand.N(19*time.Millisecond)
	time.Sleep(min(pause, max(0, time.Until(o.deadline))))
	return errRetry
}

// mapFile maps the whole file. With slot the control block can be written although the payload is
// read-only.
func (a *Attachment) mapFile(slot bool) (err error) {
	h := a.head
	if h.TotalSize > math.MaxInt/2 {
		return fmt.Errorf("mapping: %d bytes are too many for this machine's addresses",
			h.TotalSize)
	}
	a.m, err = mem.Map(mem.Spec{
		Name: a.name, File: a.file,
		Payload: int(h.PayloadCap), Length: int(h.TotalSize), Control: int(h.ControlOff),
		Write: !a.cfg.ReadOnly, Slot: slot, Huge: a.cfg.HugePages, Notes: a.cfg.notes,
		Unpinned: a.cfg.Unpinned,
	})
	return mapError(err)
}

func mapError(err error) error {
	if errors.Is(err, sys.ErrNoMem) {
		return fmt.Errorf("mapping: %w: out of address space (ulimit -v, LimitAS=) or of mappings "+
			"(sysctl vm.max_map_count; each open box needs two)", err)
	}
	return err
}

// populate asks for huge pages, if they are wanted, and makes the pages of a payload of up to
// Config.Populate bytes present. No gate is held: other processes would wait for it as long as this
// takes.
func (a *Attachment) populate() {
	if a.cfg.HugePages {
		a.m.HugePages()
	}
	// Page faults of a few pages cost less than the call.
	if n := a.m.Size(); n > 4*os.Getpagesize() && n <= a.cfg.Populate {
		a.m.Populate()
	}
}

// Populate makes the pages of the payload present. A file of another program may have holes, whose
// pages take memory: without room for it the error is a *SpaceError.
func (a *Attachment) Populate() error {
	if a.head == nil {
		st, err := a.file.Stat()
		if err != nil {
			return err
		}
		if err := checkRoom(min(st.Size-st.Blocks*512, int64(a.m.Size()))); err != nil {
			return err
		}
	}
	a.m.Populate()
	return nil
}

// join gives the mapping its control block and the box's lock.
func (a *Attachment) join() error {
	if err := a.m.JoinPeers(a.file, format.NoID, a.head); err != nil {
		return fmt.Errorf("%w: %v", errs.Corrupt, err)
	}
	a.identify()
	return nil
}

// identify tells the mapping, which has its control block, which attachment it is. A read-only
// attachment without a slot has no lock.
func (a *Attachment) identify() {
	a.m.Identify(a.id)
	if a.id != format.NoID {
		a.lock = robust.NewShared(a.m)
	}
}
