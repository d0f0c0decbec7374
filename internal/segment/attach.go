package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// To attach to a segment:
//
//  1. open the file (AttachOpen) and check what it is
//  2. a type that is known at run time only is compared now, as in step 6 (AttachCompare)
//  3. map the file (AttachMap)
//  4. take the gate (AttachGate). If another process has it, check the header before waiting
//  5. read header and first slots (AttachRead), check them, and that the name still leads to this
//     file. Is it garbage? A creating request unlinks it (AttachGarbage, AttachUnlink) and starts
//     again; an attaching one finds nothing
//  6. if the type is not the one that is asked for, by its fingerprint, and was not compared yet:
//     leave the gate, decode it and compare (AttachCompare), and go to 4
//  7. lock a free slot (AttachSlot) and write its record (AttachRecord)
//  8. write the type, if it is new (SchemaWrite)
//  9. leave the gate (AttachRelease), and ring what waits for events (AttachCounted); where the
//     slot is that of an attachment that has died, ring all waiters: it may have been the only
//     one that was woken
//  10. make the pages present (AttachPopulate)
//
// From step 7 on another attachment may leave, and rely on this one for the cleanup. So what can
// fail comes before: the mapping, and room for a new type. After step 9 nothing fails.
//
// Under the gate nothing is decoded, hashed, mapped or populated, and no long queue is looked
// through for unread messages. That is done outside, and counts if nothing has changed since.
//
// Where the file can only be read, there is no gate and no slot: step 7 is to lock the presence
// byte (AttachReader). Such an attachment keeps nothing alive, and nothing waits for it. A schema
// record that is being written is read once more.

// attachNamed attaches to the segment that has the name. Without error and attachment there is
// none.
func (o *opening) attachNamed() (*Attachment, error) {
	file, write, err := o.openFile(func(write bool) (sys.FD, error) {
		return sys.Open(o.path, write)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, o.explainFile(err)
	}
	step.Reach(step.AttachOpen)
	a, err := o.join(file, write)
	if a == nil {
		_ = file.Close()
	}
	return a, err
}

// attachFile attaches to the segment that o.from is open on.
func (o *opening) attachFile() (*Attachment, error) {
	rc, err := o.from.SyscallConn()
	if err != nil {
		return nil, err
	}
	var file sys.FD
	var write bool
	reopen := func(fd uintptr) { file, write, err = o.openFile(sys.FD(fd).Reopen) }
	if e := rc.Control(reopen); e != nil {
		return nil, e
	}
	if err != nil {
		if e := reopenError(err); e != err {
			return nil, e
		}
		return nil, fmt.Errorf("%w: the file cannot be opened anew by /proc/self/fd; "+
			"attaching needs permission on the file itself", err)
	}
	o.path = pathOf(file)
	a, err := o.join(file, write)
	if err == errRetry && o.path != "" {
		o.path = "" // the name was removed meanwhile: attach without it
		a, err = o.join(file, write)
	}
	if a == nil {
		_ = file.Close()
	}
	if err == errRetry || err == nil && a == nil {
		err = fmt.Errorf("%w: its owner has left or died", fs.ErrNotExist)
	}
	return a, err
}

// pathOf returns the path that leads to an open file, "" if there is none. An attachment by
// descriptor needs the path because it may become the last one.
func pathOf(file sys.FD) string {
	path, err := file.Path()
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

// openFile opens a file for writing; for reading, if the request is read-only and no more is
// allowed.
func (o *opening) openFile(open func(bool) (sys.FD, error)) (file sys.FD, write bool, err error) {
	file, err = open(true)
	if o.cfg.ReadOnly && (errors.Is(err, fs.ErrPermission) || errors.Is(err, sys.ErrROFS)) {
		file, err = open(false)
		return file, false, err
	}
	return file, true, err
}

// join does steps 1 to 10 for an open file. errRetry: the file has lost its name, or was garbage
// and is unlinked. Without error and attachment it is garbage that this request may not unlink.
// Unless an attachment is returned the file remains the caller's.
func (o *opening) join(file sys.FD, write bool) (*Attachment, error) {
	a := &Attachment{control: control{file: file}, name: o.Name, path: o.path, cfg: o.cfg}
	a.noCleanup = o.NoCleanup
	if o.from != nil {
		a.name = ""
		if o.path != "" {
			a.name = filepath.Base(o.path)
		}
	}
	var err error
	if a.stat, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := o.admit(a.file, a.stat); err != nil {
		return nil, o.asExist(err)
	}
	t := tails.Get().(*tail)
	defer tails.Put(t)
	o.compared.done, o.compared.err = false, nil
	joined, err := o.joinFile(a, t, write)
	if !joined {
		a.unmap()
		return nil, err
	}
	a.identify()
	if a.succeeds {
		a.ringAll()
	}
	a.countAt(step.AttachCounted)
	a.populate()
	step.Reach(step.AttachPopulate)
	return a, nil
}

// joinFile does steps 2 to 9.
func (o *opening) joinFile(a *Attachment, t *tail, write bool) (joined bool, err error) {
	join := o.joinAtGate
	if !write {
		join = o.joinReading
	}
	compare := !write || !o.direct()
	for {
		if compare {
			if err := o.compare(a, t); err != nil {
				return false, err
			}
		}
		if err := o.mapFound(a, t, write); err != nil {
			return false, err
		}
		joined, err := join(a, t)
		if err == errScan {
			a.scanRing()
			continue
		}
		if err != errStale {
			return joined, err
		}
		compare = true
		if !time.Now().Before(o.deadline) {
			return false, fmt.Errorf("%w: they change its type or owner; try again", errs.Contended)
		}
	}
}

// direct reports whether the type can be accepted by its fingerprint, without a look before the
// gate is taken.
func (o *opening) direct() bool {
	return !o.Attach || o.Compose == nil && !o.cfg.ReadOnly
}

// compare reads the header and compares the type. The gate is not held.
func (o *opening) compare(a *Attachment, t *tail) (err error) {
	if a.head, err = a.readTail(t); err != nil {
		return o.asExist(err)
	}
	o.compared.done = true
	o.compared.record = [format.RecordSize]byte(t.header()[format.OffRecord:])
	o.compared.missing, o.compared.err = nil, nil
	if o.Attach {
		o.compared.missing, o.compared.err = o.check(a, t.header())
		if o.compared.err == nil {
			o.compared.err = o.checkClaims(a)
		}
	}
	step.Reach(step.AttachCompare)
	return nil
}

// mapFound does step 3, unless what was found cannot be attached to. It maps the whole file, whose
// size is all that is known of it so far; see fitMapping.
func (o *opening) mapFound(a *Attachment, t *tail, slot bool) error {
	if e := o.compared.err; !o.Attach || e != nil && !errors.Is(e, errs.Corrupt) {
		return nil
	}
	if a.m != nil {
		if a.fitted == nil || *a.fitted == *a.head {
			return nil
		}
		a.unmap()
	}
	err := a.mapSize(slot)
	if err != nil {
		if a.head == nil { // what it is says more
			if e := o.compare(a, t); e != nil {
				return e
			}
		}
		return err
	}
	if a.cfg.ReadOnly { // that costs a call: not under the gate
		if err := a.fitMapping(); err != nil {
			return err
		}
	}
	step.Reach(step.AttachMap)
	return nil
}

// mapSize maps as many bytes as the file has. With slot the control block can be written although
// the payload is read-only.
func (a *Attachment) mapSize(slot bool) (err error) {
	size := a.stat.Size
	switch {
	case size < format.HeaderSize:
		return foreignError(size)
	case size > math.MaxInt/2:
		return fmt.Errorf("mapping: %d bytes are too many for this machine's addresses", size)
	}
	a.m, err = mem.Map(mem.Spec{
		Name: a.name, File: a.file, Length: int(size),
		Write: !a.cfg.ReadOnly, Slot: slot, Huge: a.cfg.HugePages, Notes: a.cfg.notes,
		Unpinned: a.cfg.Unpinned,
	})
	return mapError(err)
}

// fitMapping tells the mapping where payload and control block are. errStale: it was told something
// else before.
func (a *Attachment) fitMapping() error {
	if a.fitted != nil {
		if *a.fitted != *a.head {
			return errStale
		}
		return nil
	}
	h := a.head
	if err := a.m.Fit(int(h.PayloadCap), int(h.ControlOff)); err != nil {
		return mapError(err)
	}
	if err := a.m.JoinPeers(a.file, format.NoID, h); err != nil {
		return fmt.Errorf("%w: %v", errs.Corrupt, err)
	}
	a.fitted = h
	return nil
}

// unmap removes the mapping of an attachment that was not made.
func (a *Attachment) unmap() {
	if a.m != nil {
		a.m.Drain()
		a.m.Retire()
		a.m, a.fitted = nil, nil
	}
}

// asExist makes an error of attaching fs.ErrExist, for a Create: the name is taken.
func (o *opening) asExist(err error) error {
	if o.Attach {
		return err
	}
	return fmt.Errorf("%w in %s: %w", fs.ErrExist, o.cfg.Dir, err)
}

// exists returns the error of a Create whose name is taken.
func (o *opening) exists() error {
	return fmt.Errorf("%w in %s; attach to it, remove it, or use another name", fs.ErrExist,
		o.cfg.Dir)
}

// joinReading does steps 5 to 7 for a file that can only be read.
func (o *opening) joinReading(a *Attachment, t *tail) (joined bool, err error) {
	garbage, err := o.recheck(a, t, a.garbage)
	if garbage {
		return false, a.confirmGarbage(t.header())
	}
	if err != nil {
		return false, err
	}
	if _, err := o.settled(a, t); err != nil {
		return false, err
	}
	if err := a.fitMapping(); err != nil {
		return false, err
	}
	if err := a.file.Lock(sys.PresenceByte, true); err != nil {
		return false, err
	}
	step.Reach(step.AttachReader)
	return true, nil
}

// confirmGarbage returns errStale if the owner word has changed since page was read: without the
// gate, a Leak may have written Kept and freed its slot between the looks at the two.
func (a *Attachment) confirmGarbage(page []byte) error {
	now, err := a.owner()
	if err == nil && now != format.OwnerOf(binary.NativeEndian.Uint64(page[format.OffOwner:])) {
		return errStale
	}
	return err
}

// settled returns what compare found, if the record has not changed since; else errStale. A
// schema that was read while another process wrote it looks corrupt: it is read again.
func (o *opening) settled(a *Attachment, t *tail) (*format.Record, error) {
	if o.compared.record != [format.RecordSize]byte(t.header()[format.OffRecord:]) {
		return nil, errStale
	}
	if errors.Is(o.compared.err, errs.Corrupt) {
		return o.check(a, t.header())
	}
	return o.compared.missing, o.compared.err
}

// accept does step 6: it returns a record if the type is to be stored, and errStale if the types
// must be compared outside.
func (o *opening) accept(a *Attachment, t *tail) (*format.Record, error) {
	if o.compared.done {
		return o.settled(a, t)
	}
	page := t.header()
	rec, err := format.DecodeRecord(a.head, page)
	if err != nil || rec.PayloadSize == 0 {
		return nil, errStale
	}
	var stored []byte
	if rec.Kind == format.InlineRecord {
		stored = page[format.OffInline:][:rec.Length]
	}
	switch {
	case rec.Kind == format.AreaRecord, rec.Fingerprint != o.fingerprint, o.ring != ringIn(a.head),
		o.Schema != nil && uint64(o.Schema.Size) > rec.PayloadSize,
		o.Schema == nil && o.Size != 0 && uint64(o.Size) != rec.PayloadSize,
		rec.Verify(page, stored) != nil:
		return nil, errStale
	}
	a.typ = o.Schema
	a.size.Store(int64(rec.PayloadSize))
	return nil, o.checkClaims(a)
}

// joinAtGate does steps 4 to 9.
func (o *opening) joinAtGate(a *Attachment, t *tail) (joined bool, err error) {
	blocked := func() error {
		if o.compared.done {
			return nil
		}
		if _, err := a.readTail(t); err != nil {
			return o.asExist(err)
		}
		return nil
	}
	if err := a.enterUnless(o.deadline, blocked); err != nil {
		return false, err
	}
	step.Reach(step.AttachGate)
	defer func() {
		o.leaveJoined(a, joined)
		step.Reach(step.AttachRelease)
	}()
	garbage, err := o.recheck(a, t, a.garbageAtGate)
	if err != nil {
		return false, err
	}
	if garbage {
		return false, o.unlinkGarbage(a)
	}
	if !o.Attach {
		return false, o.exists()
	}
	rec, err := o.accept(a, t)
	if err != nil {
		return false, err
	}
	if err := a.fitMapping(); err != nil {
		return false, err
	}
	var missing *newSchema
	if rec != nil && !a.cfg.ReadOnly {
		if missing, err = a.placeSchema(a.typ, *rec); err != nil {
			return false, err
		}
	}
	if err := a.takeSlot(t); err != nil {
		return false, err
	}
	if missing != nil {
		if err := a.writeSchema(missing); err != nil {
			return false, err
		}
		step.Reach(step.SchemaWrite)
	}
	return true, nil
}

// leaveJoined does step 9. Without an attachment one call frees a slot with the gate: its record
// could not be written. An attachment that has left meanwhile may have relied on it; then the
// segment is garbage, as after a death.
func (o *opening) leaveJoined(a *Attachment, joined bool) {
	if joined || a.id == format.NoID {
		a.leave()
		return
	}
	a.leaveWith(sys.SlotByte + int64(a.id.Slot()) + 1)
	a.id = format.NoID
}

// recheck does step 5 up to what garbage decides. Before the gate was taken, the segment may have
// lost its name, and another header may have been read.
func (o *opening) recheck(
	a *Attachment, t *tail, garbage func(format.Owner) (bool, error),
) (bool, error) {
	var err error
	if a.head, err = a.readTail(t); err != nil {
		return false, o.asExist(err)
	}
	step.Reach(step.AttachRead)
	if o.path != "" {
		there, err := sys.Lstat(o.path)
		switch {
		case err != nil && !gone(err):
			return false, o.explainFile(err)
		case err != nil || !there.Same(a.stat):
			return false, errRetry
		}
	}
	owner := format.OwnerOf(binary.NativeEndian.Uint64(t.header()[format.OffOwner:]))
	if !owner.Valid() {
		return false,
			o.asExist(fmt.Errorf("%w: owner word %v; Remove removes it", errs.Corrupt, owner))
	}
	return garbage(owner)
}

// unlinkGarbage does step 5. The gate is held.
func (o *opening) unlinkGarbage(a *Attachment) error {
	if !o.Create || o.path == "" {
		return nil
	}
	step.Reach(step.AttachGarbage)
	if err := sys.Unlink(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: a dead segment of uid %d has the name, "+
			"and only that user, the owner of %s or root can remove it",
			err, a.stat.UID, filepath.Dir(o.path))
	}
	step.Reach(step.AttachUnlink)
	o.noteReclaimed(o.Name, a.head)
	return errRetry
}
