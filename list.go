package shmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// A State is what can be said of a segment from outside.
type State int

// States of a segment.
const (
	Live     State = iota + 1 // its owner is attached
	Orphaned                  // its owner has died, others are attached; the last one to leave unlinks it
	Kept                      // it stays until it is owned or removed
	Garbage                   // its owner has died and nobody is attached: Reclaim or the next Open takes it away
	Foreign                   // another program's file
	Damaged                   // its control block cannot be read; only Remove takes it away
)

// String is the state in a word.
func (s State) String() string {
	if s < Live || s > Damaged {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return [...]string{"live", "orphaned", "kept", "garbage", "foreign", "damaged"}[s-1]
}

// A Peer is an attachment, as its record tells. The pid means something in its own PID namespace only.
type Peer struct {
	Slot         int
	PID          int
	PIDNamespace uint64 // inode; that of this process is the same where the pid is of use
	Since        time.Time
	ReadOnly     bool
}

// Info describes a segment. It is what was true at one moment of the look.
type Info struct {
	Name  string
	Path  string
	State State
	Err   error // why it is Damaged

	Size  int64 // of the payload in bytes; of a foreign one the file's
	File  int64 // of the whole file
	InUse int64 // bytes of memory that it holds
	Mode  fs.FileMode
	UID   int

	Type        string // the type of the value in Go's words, "" if unknown
	Fingerprint uint64 // of that type, 0 if unknown
	Slots       int    // how many can be attached

	Created time.Time
	Program string // that created it
	Owner   *Peer  // nil if there is none alive
	Peers   []Peer // who is attached, the owner included; without those who may only read
	Readers bool   // somebody is attached who may only read
}

// Stat describes the segment of that name. It takes no lock and attaches to nothing, so that
// looking never changes what becomes of a segment.
func Stat(dir, name string) (Info, error) {
	o, err := (&Options{Dir: dir}).filled()
	if err == nil {
		err = checkName(name)
	}
	if err == nil && !sys.Supported {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return Info{}, wrap("stat", name, err)
	}
	info, err := look(filepath.Join(o.Dir, name), name)
	return info, wrap("stat", name, err)
}

// List describes every segment and every other regular file of the directory, by name. Like Stat it
// takes no lock. A file that cannot be looked at is yielded with its name and the error; an error of
// the directory itself comes with no name. What is gone meanwhile is left out.
func List(dir string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o, err := (&Options{Dir: dir}).filled()
		if err == nil && !sys.Supported {
			err = errors.ErrUnsupported
		}
		if err != nil {
			yield(Info{}, wrap("list", "", err))
			return
		}
		names, err := names(o.Dir)
		if err != nil {
			yield(Info{}, wrap("list", o.Dir, err))
			return
		}
		for _, name := range names {
			if checkName(name) != nil {
				continue
			}
			info, err := look(filepath.Join(o.Dir, name), name)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotRegular) {
				continue
			}
			if !yield(info, wrap("list", name, err)) {
				return
			}
		}
	}
}

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

// look describes the file at path.
func look(path, name string) (Info, error) {
	info := Info{Name: name, Path: path}
	file, err := sys.Open(path, false)
	if err != nil {
		switch st, e := sys.Lstat(path); {
		case errors.Is(err, sys.ErrLoop), errors.Is(err, sys.ErrNoDev):
			err = fmt.Errorf("%w: %w", ErrNotRegular, err)
		case errors.Is(err, fs.ErrPermission) && e == nil:
			info.UID, info.Mode = int(st.UID), st.Mode
			err = fmt.Errorf("%w: it belongs to uid %d and has mode %v, this is uid %d; that user and root can see more", err, st.UID, st.Mode, os.Geteuid())
		}
		return info, err
	}
	defer file.Close()
	info, _, _, err = lookAt(file, path, name)
	return info, err
}

// lookAt describes an open file, with its control block and schema where it has them.
func lookAt(file sys.FD, path, name string) (Info, *format.Header, *format.Type, error) {
	info := Info{Name: name, Path: path}
	st, err := file.Stat()
	if err != nil {
		return info, nil, nil, err
	}
	if !st.Mode.IsRegular() {
		return info, nil, nil, ErrNotRegular
	}
	info.Size, info.File, info.InUse = st.Size, st.Size, st.Blocks*512
	info.Mode, info.UID, info.Created = st.Mode, int(st.UID), st.Modified
	h, page, err := readHeader(file, st)
	switch {
	case errors.Is(err, ErrForeign):
		info.State = Foreign
		return info, nil, nil, nil
	case err != nil:
		info.State, info.Err = Damaged, err
		return info, nil, nil, nil
	}
	s := &Segment{name: name, path: path, file: file, stat: st, head: h}
	stored, err := s.describe(&info, page)
	if err != nil {
		info.State, info.Err = Damaged, err
	}
	return info, h, stored, nil
}

// describe fills in what the control block tells. The schema is nil where none is stored.
func (s *Segment) describe(info *Info, page []byte) (*format.Type, error) {
	h := s.head
	info.Created, info.Program, info.Slots = time.Unix(0, h.Created), h.Program, int(h.SlotCount)
	owner := format.OwnerOf(binary.NativeEndian.Uint64(page[format.OffOwner:]))
	if !owner.Valid() {
		return nil, fmt.Errorf("%w: owner word %v", ErrCorrupt, owner)
	}
	rec, stored, err := s.readSchema(page)
	if errors.Is(err, ErrCorrupt) {
		// Without the gate it may have been seen half written: look once more.
		if _, page, err = readHeader(s.file, s.stat); err == nil {
			rec, stored, err = s.readSchema(page)
		}
	}
	if err != nil {
		return nil, err
	}
	info.Size, info.Fingerprint = int64(rec.PayloadSize), rec.Fingerprint
	if stored != nil {
		info.Type = stored.String()
		if stored.Name != "" {
			info.Type = stored.Name
		}
	}
	attached, err := s.othersAttached()
	if err != nil {
		return stored, err
	}
	if attached {
		if err := s.peers(info, page, owner); err != nil {
			return stored, err
		}
	}
	switch {
	case owner.State == format.Dropped, !attached && owner.State != format.Kept:
		info.State = Garbage
	case owner.State == format.Kept:
		info.State = Kept
	case info.Owner != nil:
		info.State = Live
	default:
		info.State = Orphaned
	}
	return stored, nil
}

func (s *Segment) peers(info *Info, page []byte, owner format.Owner) error {
	high := min(binary.NativeEndian.Uint32(page[format.OffSlotHigh:]), s.head.SlotCount)
	b := make([]byte, high*format.SlotSize)
	if n, err := s.file.ReadAt(b, int64(s.head.SlotsOff)); err != nil || n < len(b) {
		return fmt.Errorf("%w: slots cannot be read (%v)", ErrCorrupt, err)
	}
	for i := range high {
		rec := b[i*format.SlotSize:][:format.SlotSize]
		pid := binary.NativeEndian.Uint32(rec[format.SlotPID:])
		owns := owner.State == format.Owned && owner.ID == format.MakeID(binary.NativeEndian.Uint32(rec[format.SlotGen:]), i)
		if pid == 0 && !owns {
			continue
		}
		if held, err := s.file.Held(sys.SlotByte+int64(i), 1); err != nil || !held {
			continue
		}
		p := Peer{
			Slot: int(i), PID: int(pid), PIDNamespace: binary.NativeEndian.Uint64(rec[format.SlotPIDNS:]),
			Since:    time.Unix(0, int64(binary.NativeEndian.Uint64(rec[format.SlotStarted:]))),
			ReadOnly: binary.NativeEndian.Uint32(rec[format.SlotFlags:])&format.SlotReadOnly != 0,
		}
		info.Peers = append(info.Peers, p)
		if owns {
			info.Owner = &p
		}
	}
	var err error
	info.Readers, err = s.file.Held(sys.PresenceByte, 1)
	return err
}

// isTemp reports whether name is that of a file that is being made.
func isTemp(name string) bool {
	id, ok := strings.CutPrefix(name, tempPrefix)
	return ok && len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}
