package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

func itoa(i int) string { return strconv.Itoa(i) }

// A Segment is a segment that is looked at. It holds the file open and mapped, read-only, without a
// lock or a slot. It is not safe for concurrent use.
type Observer struct {
	file sys.FD
	info shmem.Info
	head *format.Header // nil if foreign or damaged
	t    *format.Type   // nil if there is no schema
	m    *mem.Mapping   // nil if there is nothing to map
}

// Open opens the segment of that name to look at it, whatever state it is in: that of a crashed
// program, a foreign file, or a damaged segment, of which only the bytes can be seen. A name with a
// slash is a path, such as /proc/PID/fd/N. Of the options only Dir counts.
func Open(dir, name string) (*Observer, error) {
	s, err := open(dir, name)
	if err != nil {
		return nil, &shmem.Error{Op: "inspect", Name: name, Err: err}
	}
	return s, nil
}

func open(dir, name string) (*Observer, error) {
	if !sys.Supported {
		return nil, errors.ErrUnsupported
	}
	if name == "" || strings.IndexByte(name, 0) >= 0 {
		return nil, shmem.ErrBadName
	}
	path, how := name, sys.OpenAny
	if !strings.Contains(name, "/") {
		if dir == "" {
			dir = sys.DefaultDir
		}
		path, how = filepath.Join(dir, name), sys.Open
	}
	file, err := how(path, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w in %s", fs.ErrNotExist, filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w; its owner or root can read it", err)
	case errors.Is(err, sys.ErrLoop):
		return nil, fmt.Errorf("%w: a symbolic link, which is not followed", shmem.ErrNotRegular)
	case err != nil:
		return nil, err
	}
	s := &Observer{file: file}
	if err := s.look(path, nameOf(path)); err != nil {
		_ = file.Close()
		return nil, err
	}
	if err := s.mapFile(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return s, nil
}

// nameOf is the name of the segment that a path leads to; that of a descriptor is the one the file has, or had.
func nameOf(path string) string {
	if strings.HasPrefix(path, "/proc/") {
		if to, err := os.Readlink(path); err == nil {
			path = strings.TrimSuffix(to, " (deleted)")
		}
	}
	return filepath.Base(path)
}

func (s *Observer) look(path, name string) error {
	info, head, t, err := compose.Look(int(s.file), path, name)
	if err != nil {
		return err
	}
	s.info, s.head, s.t = info.(shmem.Info), head, t
	if t != nil && int64(t.Size) > s.info.Size {
		s.info.State, s.info.Err = shmem.Damaged, fmt.Errorf("%w: a type of %d bytes in a value of %d", shmem.ErrCorrupt, t.Size, s.info.Size)
	}
	if s.info.State == shmem.Damaged {
		s.head, s.t = nil, nil
	}
	return nil
}

func (s *Observer) mapFile() (err error) {
	spec := mem.Spec{File: s.file, Payload: int(s.info.File), Length: int(s.info.File), Populate: -1}
	switch {
	case s.head != nil:
		spec.Payload, spec.Control = int(s.head.PayloadCap), int(s.head.ControlOff)
	case s.info.File == 0:
		return nil
	}
	if s.m, err = mem.Map(spec); err != nil {
		return err
	}
	if s.head != nil {
		if err := s.m.JoinPeers(s.file, format.Nobody, s.head); err != nil {
			s.unmap()
			return fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
		}
	}
	return nil
}

func (s *Observer) unmap() {
	if s.m != nil {
		s.m.Drain()
		s.m.Retire()
		s.m = nil
	}
}

// Close ends the look. Snapshots that were taken stay valid.
func (s *Observer) Close() error {
	if s.file == sys.NoFD {
		return nil
	}
	s.unmap()
	err := s.file.Close()
	s.file = sys.NoFD
	return err
}

// Info describes the segment as it was at Open or at the last Refresh.
func (s *Observer) Info() shmem.Info { return s.info }

// Type is the schema of the value; nil if there is none, and bytes are all there is.
func (s *Observer) Type() *Type { return typeOf(s.t) }

// Refresh looks at the control block again: who is attached, in what state the segment is.
func (s *Observer) Refresh() error {
	if s.file == sys.NoFD {
		return &shmem.Error{Op: "inspect", Name: s.info.Name, Err: shmem.ErrClosed}
	}
	old, t := s.head, s.t
	if err := s.look(s.info.Path, s.info.Name); err != nil {
		return &shmem.Error{Op: "inspect", Name: s.info.Name, Err: err}
	}
	if (s.head == nil) != (old == nil) { // damaged meanwhile: what was mapped is still there
		s.head = nil
	}
	if t != nil && s.t != nil && t.Fingerprint() == s.t.Fingerprint() {
		s.t = t
	}
	return nil
}

// Linked reports whether the name still leads to this segment.
func (s *Observer) Linked() bool {
	st, err := s.file.Stat()
	if err != nil {
		return false
	}
	if strings.HasPrefix(s.info.Path, "/proc/") { // by descriptor: under what name it is there is not known
		return st.Nlink > 0
	}
	there, err := sys.Lstat(s.info.Path)
	return err == nil && there.Same(st)
}

// ReadAt reads from the file, bookkeeping included; see io.ReaderAt.
func (s *Observer) ReadAt(b []byte, off int64) (int, error) { return s.readAt(b, off) }

// A Snapshot is a copy of a segment's value as it was at one moment.
type Snapshot struct {
	Name    string
	Time    time.Time
	Version uint64 // as Box.Version
	// Changing: somebody was in the middle of a change, or has died there; the copy is the value
	// before it, or that which the change is about to make.
	Changing bool
	// Torn: the value was being changed and has no undo image, or it is raw or foreign memory
	// without any order: the copy may mix old and new.
	Torn bool

	t *format.Type
	b []byte
	s *Observer
}

// Value is the value.
func (s *Snapshot) Value() Value { return Value{s.t, s.b, 0, s} }

// snapshotTime bounds how long Snapshot looks for a moment between two changes.
const snapshotTime = time.Second

// Snapshot copies the value. It waits for nobody. A value that changes too fast for a copy is
// shmem.ErrBusy, after a second; of a value without undo image that somebody is changing, or has
// died over, there is a torn copy. A file that was truncated under us is shmem.ErrFault.
func (s *Observer) Snapshot() (*Snapshot, error) {
	snap, err := s.snapshot()
	if err != nil {
		return nil, &shmem.Error{Op: "snapshot", Name: s.info.Name, Err: err}
	}
	return snap, nil
}

func (s *Observer) snapshot() (snap *Snapshot, err error) {
	if s.file == sys.NoFD {
		return nil, shmem.ErrClosed
	}
	size := s.info.Size
	if s.t != nil {
		size = int64(s.t.Size)
	}
	snap = &Snapshot{Name: s.info.Name, Time: time.Now(), t: s.t, s: s}
	if s.m == nil {
		return snap, nil
	}
	size = min(size, int64(len(s.m.Payload()))) // it may have grown, or be damaged, since it was mapped
	if s.t != nil && size < int64(s.t.Size) {
		return nil, fmt.Errorf("%w: the value is larger than its place", shmem.ErrCorrupt)
	}
	snap.b = make([]byte, size)
	fault := s.m.Guard(func() { err = s.copy(snap) })
	if fault != nil {
		return nil, &shmem.FaultError{Name: s.info.Path, Addr: fault.Addr, Err: fault.Err}
	}
	return snap, err
}

func (s *Observer) copy(snap *Snapshot) error {
	if s.head == nil || s.m.Peers == nil {
		s.m.Load(snap.b, 0)
		snap.Torn = true
		return nil
	}
	seq, image := &s.m.Peers.Words.Seq, int(s.head.ImageOff)
	for try := 0; ; try++ {
		before := seq.Load()
		snap.Version, snap.Changing, snap.Torn = before/2, before&1 != 0, s.t == nil
		switch {
		case !snap.Changing:
			s.m.Load(snap.b, 0)
		case image == 0: // half changed, and no image
			s.m.Load(snap.b, 0)
			snap.Torn = true
		default:
			s.m.Load(snap.b, image)
			if s.t != nil {
				for p := range s.t.Spans() {
					s.m.LoadPart(snap.b[p.Off:][:p.Len], p.Off)
				}
			}
		}
		if seq.Load() == before {
			return nil
		}
		if time.Since(snap.Time) > snapshotTime {
			if image == 0 {
				snap.Torn = true
				return nil
			}
			return fmt.Errorf("%w: the value changes faster than it can be copied; try again, or hold the lock with View", shmem.ErrBusy)
		}
		if try > 32 {
			time.Sleep(time.Duration(min(try, 500)) * time.Microsecond)
		}
	}
}

// Unlinked finds segments of the directory whose name is gone while processes are still attached:
// after Remove, after rm, or after Python's resource tracker. A segment whose owner has dropped it
// is none of them. A name that only its creator has seen is # and a number. It looks at the open files of those processes that this user may look at. The
// path in an Info leads to the segment as long as that process lives.
func Unlinked(dir string) ([]shmem.Info, error) {
	if dir == "" {
		dir = sys.DefaultDir
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	seen := map[mem.FileID]int{}
	var all []shmem.Info
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		d, err := os.Open("/proc/" + p.Name() + "/fd")
		if err != nil {
			continue
		}
		fds, _ := d.Readdirnames(-1)
		_ = d.Close()
		for _, fd := range fds {
			path := "/proc/" + p.Name() + "/fd/" + fd
			to, err := os.Readlink(path)
			if err != nil {
				continue
			}
			to, gone := strings.CutSuffix(to, " (deleted)")
			name := filepath.Base(to)
			if !gone || filepath.Dir(to) != dir || name[0] == '.' {
				continue
			}
			// Who made the file sees it under the number that it had before it had a name.
			info, i, err := lookUnlinked(path, name)
			if err != nil {
				continue
			}
			if n, ok := seen[i]; !ok {
				seen[i] = len(all)
				all = append(all, info)
			} else if all[n].Name[0] == '#' {
				all[n] = info
			}
		}
	}
	return all, nil
}

func lookUnlinked(path, name string) (info shmem.Info, id mem.FileID, err error) {
	file, err := sys.OpenAny(path, false)
	if err != nil {
		return info, id, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return info, id, err
	}
	looked, head, _, err := compose.Look(int(file), path, name)
	if err != nil {
		return info, id, err
	}
	info = looked.(shmem.Info)
	making := name[0] == '#' && time.Since(info.Created) < time.Second
	if head == nil || st.Nlink > 0 || making || info.State == shmem.Damaged || info.State == shmem.Garbage {
		return info, id, errors.New("none")
	}
	return info, mem.FileID{Dev: st.Dev, Ino: st.Ino}, nil
}
