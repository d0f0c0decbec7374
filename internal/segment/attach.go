package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// To attach to a segment:
//
//  1. open the file (AttachOpen), check what it is and its header, and compare the type
//     (AttachRead)
//  2. map the file (AttachMap)
//  3. take the gate (AttachGate)
//  4. check that the name still leads to this file, and read the header again
//  5. is it garbage? A creating request unlinks it (AttachGarbage, AttachUnlink) and starts again;
//     an attaching one finds nothing
//  6. are header and schema record still those that the file was mapped by and that were compared?
//     If not, leave the gate and go to 1
//  7. lock a free slot (AttachSlot) and write its record (AttachRecord)
//  8. write the type, if it is new (SchemaWrite)
//  9. leave the gate (AttachRelease), and tell those who wait for events (AttachCounted)
//  10. make the pages present (AttachPopulate)
//
// From step 7 on another attachment may leave, and rely on this one for the cleanup. So what can
// fail comes before: the mapping, and room for a new type. After step 9 nothing fails.
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
	buf := headerPages.Get().(*[format.HeaderSize]byte)
	defer headerPages.Put(buf)
	page := buf[:]
	join := o.joinAtGate
	if !write {
		join = o.joinReading
	}
	for {
		if err := o.examine(a, page); err != nil {
			return nil, err
		}
		if err := o.mapExamined(a, write); err != nil {
			return nil, err
		}
		joined, err := join(a, page)
		if joined {
			break
		}
		a.unmap()
		if err != errStale {
			return nil, err
		}
		if !time.Now().Before(o.deadline) {
			return nil, fmt.Errorf("%w: they change its type or owner; try again", errs.Contended)
		}
	}
	a.identify()
	a.countAt(step.AttachCounted)
	a.populate()
	step.Reach(step.AttachPopulate)
	return a, nil
}

// mapExamined does step 2, unless what was found cannot be attached to.
func (o *opening) mapExamined(a *Attachment, write bool) error {
	e := o.compared.err
	if !o.Attach || e != nil && !errors.Is(e, errs.Corrupt) {
		return nil
	}
	if err := a.mapFile(write); err != nil {
		return err
	}
	if err := a.m.JoinPeers(a.file, format.NoID, a.head); err != nil {
		a.unmap()
		return fmt.Errorf("%w: %v", errs.Corrupt, err)
	}
	step.Reach(step.AttachMap)
	return nil
}

// unmap removes the mapping of an attachment that was not made.
func (a *Attachment) unmap() {
	if a.m != nil {
		a.m.Drain()
		a.m.Retire()
		a.m = nil
	}
}

// examine does step 1.
func (o *opening) examine(a *Attachment, page []byte) (err error) {
	if a.stat, err = a.file.Stat(); err != nil {
		return err
	}
	if err := o.admit(a.stat); err != nil {
		return o.asExist(err)
	}
	if a.head, err = readHeaderTo(page, a.file, a.stat); err != nil {
		return o.asExist(err)
	}
	o.compared.record = [format.RecordSize]byte(page[format.OffRecord:])
	o.compared.missing, o.compared.err = nil, nil
	if o.Attach {
		o.compared.missing, o.compared.err = o.check(a, page)
		if o.compared.err == nil {
			o.compared.err = o.checkClaims(a)
		}
	}
	step.Reach(step.AttachRead)
	return nil
}

// admit checks that the open file is one to attach to at all.
func (o *opening) admit(st sys.Stat) error {
	switch {
	case !st.Mode.IsRegular():
		return fmt.Errorf("%w: it is a %v", errs.NotRegular, st.Mode.Type())
	case st.UID != uint32(os.Geteuid()) && !o.cfg.AnyUser:
		return fmt.Errorf("%w: uid %d, this is uid %d; "+
			"Options.AnyUser accepts it, choose another name otherwise",
			errs.OtherUser, st.UID, os.Geteuid())
	}
	return nil
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

// joinReading does steps 4 to 7 for a file that can only be read.
func (o *opening) joinReading(a *Attachment, page []byte) (joined bool, err error) {
	garbage, err := o.recheck(a, page)
	if garbage {
		return false, a.confirmGarbage(page)
	}
	if err != nil {
		return false, err
	}
	if _, err := o.settled(a, page); err != nil {
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

// settled returns what check returned in step 1, for a record that has not changed since. A schema
// that was read while another process wrote it looks corrupt: it is read again.
func (o *opening) settled(a *Attachment, page []byte) (*format.Record, error) {
	if errors.Is(o.compared.err, errs.Corrupt) {
		return o.check(a, page)
	}
	return o.compared.missing, o.compared.err
}

// joinAtGate does steps 3 to 9.
func (o *opening) joinAtGate(a *Attachment, page []byte) (joined bool, err error) {
	if err := a.enter(o.deadline); err != nil {
		return false, err
	}
	step.Reach(step.AttachGate)
	defer func() {
		o.leaveJoined(a, joined)
		step.Reach(step.AttachRelease)
	}()
	garbage, err := o.recheck(a, page)
	if err != nil {
		return false, err
	}
	if garbage {
		return false, o.unlinkGarbage(a)
	}
	if !o.Attach {
		return false, o.exists()
	}
	if o.compared.record != [format.RecordSize]byte(page[format.OffRecord:]) {
		return false, errStale
	}
	rec, err := o.settled(a, page)
	if err != nil {
		return false, err
	}
	var missing *newSchema
	if rec != nil && !a.cfg.ReadOnly {
		if missing, err = a.placeSchema(a.typ, *rec); err != nil {
			return false, err
		}
	}
	if err := a.takeSlot(page); err != nil {
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

// leaveJoined does step 9. Without an attachment one call frees a slot with the gate: no other
// attachment has seen it.
func (o *opening) leaveJoined(a *Attachment, joined bool) {
	if joined || a.id == format.NoID {
		a.leave()
		return
	}
	a.leaveWith(sys.SlotByte + int64(a.id.Slot()) + 1)
	a.id = format.NoID
}

// recheck does step 4, and reports whether the segment is garbage. Before the gate was taken, the
// segment may have lost its name, and another header may have been read.
func (o *opening) recheck(a *Attachment, page []byte) (garbage bool, err error) {
	if o.path != "" {
		if there, err := sys.Lstat(o.path); err != nil || !there.Same(a.stat) {
			return false, errRetry
		}
	}
	examined := a.head
	if a.head, err = readHeaderTo(page, a.file, a.stat); err != nil {
		return false, o.asExist(err)
	}
	if *a.head != *examined {
		return false, errStale
	}
	owner := format.OwnerOf(binary.NativeEndian.Uint64(page[format.OffOwner:]))
	if !owner.Valid() {
		return false,
			o.asExist(fmt.Errorf("%w: owner word %v; Remove removes it", errs.Corrupt, owner))
	}
	return a.garbage(owner)
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
	return errRetry
}
