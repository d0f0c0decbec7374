package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// A State is the twin of shmem.State, with the same numbers.
type State int

// States of a segment.
const (
	Live State = iota + 1
	Orphaned
	Idle
	Garbage
	Foreign
	Copied
	OtherVersion
	Damaged
)

// String returns the state in a word.
func (s State) String() string {
	if s < Live || s > Damaged {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return [...]string{"live", "orphaned", "idle", "garbage", "foreign", "copied", "other version",
		"damaged"}[s-1]
}

// A Peer is the twin of shmem.Peer: what an attachment's slot record says.
type Peer struct {
	Slot         int
	ID           uint32
	PID          int
	PIDNamespace uint64
	Since        time.Time
	ReadOnly     bool
	Passive      bool
	Owner        bool
}

// A Look is the twin of shmem.Info, with the header and the stored type: what a segment was at one
// moment, seen from outside.
type Look struct {
	Name, Path string
	State      State
	Err        error // why it is Copied, OtherVersion or Damaged

	Size, File, InUse int64 // bytes of the payload, of the file, and of memory in use
	Mode              fs.FileMode
	UID               int

	Type        string
	Fingerprint uint64
	Slots       int

	Created  time.Time
	Program  string
	Owner    *Peer
	Lifetime format.Lifetime // when it ends; 0 if it is Foreign or cannot be read
	Unread   int             // messages of an Idle queue
	Peers    []Peer
	Readers  bool

	Header *format.Header // nil if Foreign, or if it cannot be read
	Schema *format.Type   // nil where none is stored
}

// Stat describes the segment of a name in the directory dir, "" being the default one. It takes no
// lock.
func Stat(dir, name string) (Look, error) {
	path, _, err := locateIn(dir, name)
	if err != nil {
		return Look{}, err
	}
	return lookAt(path, name)
}

// List describes every regular file of the directory dir, "" being the default one, by name. It
// takes no lock. A file that cannot be described is yielded with its name and the error. An error
// of the directory itself comes without a name. Files that vanish meanwhile are left out.
func List(dir string) iter.Seq2[Look, error] {
	return func(yield func(Look, error) bool) {
		cfg, err := Config{Dir: dir}.withDefaults()
		if err == nil {
			err = supported()
		}
		if err != nil {
			yield(Look{}, err)
			return
		}
		all, err := names(cfg.Dir)
		if err != nil {
			yield(Look{Path: cfg.Dir}, err)
			return
		}
		for _, name := range all {
			if checkName(name, "") != nil {
				continue
			}
			l, err := lookAt(filepath.Join(cfg.Dir, name), name)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errs.NotRegular) {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// names returns the names in a directory, sorted.
func names(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	n, err := d.Readdirnames(-1)
	sort.Strings(n)
	return n, err
}

// lookAt describes the file at path.
func lookAt(path, name string) (Look, error) {
	file, err := sys.Open(path, false)
	if err != nil {
		l := Look{Name: name, Path: path}
		switch st, e := sys.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist):
			err = nothing(filepath.Dir(path))
		case e == nil && (errors.Is(err, sys.ErrLoop) || errors.Is(err, sys.ErrNoDev)):
			err = NotRegular(st.Mode)
		case errors.Is(err, fs.ErrPermission) && e == nil:
			l.UID, l.Mode = int(st.UID), st.Mode
			err = fmt.Errorf("%w: it belongs to uid %d and has mode %v, this is uid %d; "+
				"that user and root can see more", err, st.UID, st.Mode, os.Geteuid())
		}
		return l, err
	}
	defer file.Close()
	return LookFile(file, path, name)
}

// nothing returns the error of a name that does not exist in dir.
func nothing(dir string) error {
	return fmt.Errorf("%w in %s; List lists what exists", fs.ErrNotExist, dir)
}

// LookFile describes an open file. Path and name are for the Look only.
func LookFile(file sys.FD, path, name string) (Look, error) {
	l := Look{Name: name, Path: path}
	st, err := file.Stat()
	if err != nil {
		return l, err
	}
	if !st.Mode.IsRegular() {
		return l, NotRegular(st.Mode)
	}
	l.Size, l.File, l.InUse = st.Size, st.Size, st.Blocks*512
	l.Mode, l.UID, l.Created = st.Mode, int(st.UID), st.Modified
	h, page, err := readHeader(file, st)
	switch {
	case errors.Is(err, errs.Foreign):
		l.State = Foreign
		return l, nil
	case errors.Is(err, errs.Copied):
		l.State, l.Err = Copied, err
		return l, nil
	case errors.Is(err, errs.Version):
		l.State, l.Err = OtherVersion, err
		return l, nil
	case errors.Is(err, errs.Corrupt):
		l.State, l.Err = Damaged, err
		return l, nil
	case err != nil:
		return l, err
	}
	l.Header = h
	c := &control{file: file, stat: st, head: h}
	err = c.describe(&l, page)
	if errors.Is(err, errs.Corrupt) {
		l.State, l.Err = Damaged, err
		return l, nil
	}
	return l, explainLocks(err)
}

// describe fills in what the control block says.
func (c *control) describe(l *Look, page []byte) error {
	h := c.head
	l.Created, l.Program, l.Slots = time.Unix(0, h.Created), h.Program, int(h.SlotCount)
	owner := format.OwnerOf(binary.NativeEndian.Uint64(page[format.OffOwner:]))
	if !owner.Valid() {
		return fmt.Errorf("%w: owner word %v", errs.Corrupt, owner)
	}
	rec, stored, err := c.readSchema(page)
	if errors.Is(err, errs.Corrupt) {
		// Without the gate the record may be half written: read it once more.
		if _, page, err = readHeader(c.file, c.stat); err == nil {
			rec, stored, err = c.readSchema(page)
		}
	}
	if err != nil {
		return err
	}
	l.Size, l.Fingerprint, l.Schema = int64(rec.PayloadSize), rec.Fingerprint, stored
	if stored != nil {
		l.Type = stored.String()
		if stored.Name != "" {
			l.Type = stored.Name
		}
	}
	attached, err := c.othersAttached()
	if err != nil {
		return err
	}
	if l.Readers, err = c.file.Shared(sys.PresenceByte); err != nil {
		return err
	}
	passive, err := c.file.Held(sys.PassiveByte, int64(c.head.SlotCount))
	if err != nil {
		return err
	}
	if attached || passive {
		if err := c.describePeers(l, page, owner); err != nil {
			return err
		}
	}
	l.Lifetime = c.lasting(owner)
	if l.Owner != nil {
		l.Lifetime = format.LifetimeOwned
	}
	return c.judge(l, owner, attached)
}

// judge fills in the state, and what an idle queue holds.
func (c *control) judge(l *Look, owner format.Owner, attached bool) (err error) {
	switch {
	case owner.State == format.Dropped:
		l.State = Garbage
	case attached && l.Owner == nil && l.Lifetime == format.LifetimeOwned:
		l.State = Orphaned
	case attached:
		l.State = Live
	case IsTemp(l.Name):
		l.State = Garbage // whatever its lifetime is: a process died while making or removing it
	default:
		stays, err := c.stays(owner)
		if err != nil || !stays {
			l.State = Garbage
			return err
		}
		l.State = Idle
		l.Unread, err = c.unread(0)
		return err
	}
	return nil
}

// describePeers fills in the attachments: those whose slot is locked.
func (c *control) describePeers(l *Look, page []byte, owner format.Owner) (err error) {
	high := min(binary.NativeEndian.Uint32(page[format.OffSlotHigh:]), c.head.SlotCount)
	b := make([]byte, high*format.SlotSize)
	if err := c.readSlots(b, 0); err != nil {
		return err
	}
	for i := range high {
		rec := b[i*format.SlotSize:][:format.SlotSize]
		pid := binary.NativeEndian.Uint32(rec[format.SlotPID:])
		id := format.MakeID(binary.NativeEndian.Uint32(rec[format.SlotGen:]), i)
		owns := owner.State == format.Owned && owner.ID == id
		if pid == 0 && !owns {
			continue
		}
		if held, err := c.file.HeldSlot(int(i)); err != nil || !held {
			continue
		}
		flags := binary.NativeEndian.Uint32(rec[format.SlotFlags:])
		p := Peer{
			Slot: int(i), PID: int(pid),
			PIDNamespace: binary.NativeEndian.Uint64(rec[format.SlotPIDNS:]),
			Since:        time.Unix(0, int64(binary.NativeEndian.Uint64(rec[format.SlotStarted:]))),
			ReadOnly:     flags&format.SlotReadOnly != 0,
			Passive:      flags&format.SlotPassive != 0,
			ID:           uint32(id), Owner: owns,
		}
		l.Peers = append(l.Peers, p)
		if owns {
			l.Owner = &p
		}
	}
	return nil
}
