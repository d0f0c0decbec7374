package sys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/windows"
)

// Supported reports whether named segments work on this system. A 32-bit process has no addresses
// that nothing else takes, see Reserve.
const Supported = atomics64 && ^uint(0)>>63 == 1

// Weaker: see file.go.
var Weaker = []string{
	"segments are files of a disk: their pages may be written, and a store may wait for that",
	"the processes of a segment belong to one user and one session: " +
		"a file's owner, group and mode are not looked at",
	"a wake-up is an event of the system, and a goroutine that waits has a thread: " +
		"from 128 mappings on they poll",
	"no segment can be passed on by an open file (FromFile)",
	"a file that is removed while it is in use stays, under a hidden name, until the last " +
		"process leaves it",
	"names that differ only in upper and lower case are one name",
	"Select and waiting for a name or an event look from time to time",
}

// DiskOnly: see file.go.
const DiskOnly = true

// HasModes and PassesFiles: see file.go.
const (
	HasModes    = false
	PassesFiles = false
)

// ReopensByName: see file.go.
const ReopensByName = false

// DefaultDir is a directory of this user alone, on a disk: the system has no file system in memory.
var DefaultDir = defaultDir()

func defaultDir() string {
	dir, err := os.UserCacheDir() // of this machine; not moved to others with the user's profile
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "shmem")
}

// MakeDefaultDir makes a directory that inherits its access list from that of the user's profile:
// the user and the administrators alone may use it.
func MakeDefaultDir() error {
	if err := os.MkdirAll(DefaultDir, 0o700); err != nil {
		return err
	}
	st, err := Lstat(DefaultDir)
	if err == nil && !st.Mode.IsDir() {
		err = fmt.Errorf("%w: it is %w", fs.ErrPermission, ErrNotDir)
	}
	return err
}

// An openFile is what this process knows of an open file beyond its handle.
type openFile struct {
	mu    sync.Mutex
	path  string         // its last known name; "": it has none; guarded by mu
	dev   uint64         // Stat.Dev, if known; guarded by mu
	bytes map[int64]bool // lock bytes that it has, true: shared; guarded by mu
}

// name returns the last name by which this process knows the file.
func (f *openFile) name() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.path
}

// openFiles has the *openFile of each FD.
var openFiles sync.Map

func (fd FD) open() *openFile {
	f, ok := openFiles.Load(fd)
	if !ok {
		f, _ = openFiles.LoadOrStore(fd, &openFile{})
	}
	return f.(*openFile)
}

// share lets other processes do all that they do with a file, and remove it.
const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE

// access returns the rights to ask for. With both of them a process may lock bytes.
func access(write bool) uint32 {
	if write {
		return windows.GENERIC_READ | windows.GENERIC_WRITE
	}
	return windows.GENERIC_READ
}

// busyTries and busyPause bound the tries where a program that looks at all files, such as one that
// looks for viruses, keeps a file from others for a moment.
const (
	busyTries = 20
	busyPause = time.Millisecond
)

// retry calls f until no such program is in the way.
func retry(f func() error) error {
	for i := 0; ; i++ {
		err := f()
		if err != windows.ERROR_SHARING_VIOLATION || i == busyTries {
			return err
		}
		time.Sleep(busyPause)
	}
}

// openHandle opens a file, without what this process knows of it.
func openHandle(path string, access, disposition, flags uint32) (windows.Handle, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return windows.InvalidHandle, err
	}
	var h windows.Handle
	err = retry(func() error {
		h, err = windows.CreateFile(p, access, share, nil, disposition, flags, 0)
		return err
	})
	if err != windows.ERROR_ACCESS_DENIED {
		return h, err
	}
	if a, e := windows.GetFileAttributes(p); e == nil && a&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		err = ErrIsDir
	}
	return h, err
}

func open(path string, access, disposition, flags uint32) (FD, error) {
	h, err := openHandle(path, access, disposition, flags)
	if err != nil {
		return NoFD, err
	}
	openFiles.Store(FD(h), &openFile{path: path})
	_, err = FD(h).Stat() // notes the device
	return FD(h), err
}

func Open(path string, write bool) (FD, error) {
	fd, err := open(path, access(write), windows.OPEN_EXISTING,
		windows.FILE_FLAG_OPEN_REPARSE_POINT|directory(write))
	if err != nil {
		return NoFD, err
	}
	if st, err := fd.Stat(); err != nil || st.Mode&fs.ModeSymlink != 0 {
		_ = fd.Close()
		return NoFD, errors.Join(err, ErrLoop)
	}
	return fd, nil
}

func OpenPath(path string) (FD, error) {
	return open(path, windows.FILE_READ_ATTRIBUTES, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS)
}

func OpenAny(path string, write bool) (FD, error) {
	return open(path, access(write), windows.OPEN_EXISTING, directory(write))
}

// directory returns the flag by which a directory can be opened, for reading.
func directory(write bool) uint32 {
	if write {
		return 0
	}
	return windows.FILE_FLAG_BACKUP_SEMANTICS
}

var reopenFile = windows.NewLazySystemDLL("kernel32.dll").NewProc("ReOpenFile")

// Reopen needs no name, except under Wine, which opens a file by the name that it had at first.
func (fd FD) Reopen(write bool) (FD, error) {
	path := fd.open().name()
	h, _, err := reopenFile.Call(uintptr(fd), uintptr(access(write)), share, 0)
	if windows.Handle(h) != windows.InvalidHandle {
		openFiles.Store(FD(h), &openFile{path: path})
		return FD(h), nil
	}
	if path == "" {
		return NoFD, err
	}
	n, e := Open(path, write)
	if e != nil {
		return NoFD, err
	}
	mine, e1 := fd.Stat()
	there, e2 := n.Stat()
	if e1 != nil || e2 != nil || !mine.Same(there) {
		_ = n.Close()
		return NoFD, fs.ErrNotExist
	}
	return n, nil
}

func (fd FD) Path() (string, error) {
	b := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetFinalPathNameByHandle(windows.Handle(fd), &b[0], uint32(len(b)), 0)
	if err != nil {
		return "", err
	}
	return windows.UTF16ToString(b[:min(int(n), len(b))]), nil
}

// Stat looks at no access list: whose the file is the list of its directory says. No links are
// counted. Wine does not know the device of a file that has another name than at first.
func (fd FD) Stat() (Stat, error) {
	st, err := fd.stat()
	if f, ok := openFiles.Load(fd); ok && err == nil {
		f := f.(*openFile)
		f.mu.Lock()
		defer f.mu.Unlock()
		if st.Dev != 0 {
			f.dev = st.Dev
		}
		st.Dev = f.dev
	}
	return st, err
}

func (fd FD) stat() (Stat, error) {
	var i windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(fd), &i); err != nil {
		return Stat{}, err
	}
	st := Stat{
		Dev:  uint64(i.VolumeSerialNumber),
		Ino:  uint64(i.FileIndexHigh)<<32 | uint64(i.FileIndexLow),
		Size: int64(i.FileSizeHigh)<<32 | int64(i.FileSizeLow), Mode: 0o600,
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
		Modified: time.Unix(0, i.LastWriteTime.Nanoseconds()),
	}
	st.Blocks = (st.Size + 511) / 512
	switch {
	case i.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0:
		st.Mode |= fs.ModeSymlink
	case i.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0:
		st.Mode |= fs.ModeDir | 0o100
	}
	return st, nil
}

func Lstat(path string) (Stat, error) {
	h, err := openHandle(path, windows.FILE_READ_ATTRIBUTES, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS)
	if err != nil {
		return Stat{}, err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	return FD(h).stat()
}

// Chmod does nothing: the access list of the directory says who may open a file.
func (fd FD) Chmod(fs.FileMode) error { return nil }

func (fd FD) Chgrp(uint32) error { return windows.ERROR_NOT_SUPPORTED }

// at says where in a file a call begins.
func at(off int64) *windows.Overlapped {
	return &windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
}

func (fd FD) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		var m uint32
		err := windows.ReadFile(windows.Handle(fd), b[n:], &m, at(off+int64(n)))
		if err == windows.ERROR_HANDLE_EOF || err == nil && m == 0 {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += int(m)
	}
	return n, nil
}

func (fd FD) WriteAt(b []byte, off int64) error {
	for len(b) > 0 {
		var m uint32
		if err := windows.WriteFile(windows.Handle(fd), b, &m, at(off)); err != nil {
			return err
		}
		if m == 0 {
			return io.ErrShortWrite
		}
		b, off = b[m:], off+int64(m)
	}
	return nil
}

// Allocate makes the file longer: that reserves its clusters.
func (fd FD) Allocate(off, n int64) error {
	st, err := fd.Stat()
	if err != nil || st.Size >= off+n {
		return err
	}
	return fd.Truncate(off + n)
}

func (fd FD) Truncate(size int64) error { return windows.Ftruncate(windows.Handle(fd), size) }

// Close frees the lock bytes itself: the system may take its time. It deletes a file that Unlink
// could not delete, if no other process maps it.
func (fd FD) Close() error {
	st, err := fd.Stat()
	f, known := openFiles.LoadAndDelete(fd)
	if known {
		fd.unlockAll(f.(*openFile))
	}
	if e := windows.CloseHandle(windows.Handle(fd)); e != nil {
		return e
	}
	if !known || err != nil || !st.Mode.IsRegular() {
		return nil
	}
	if path := f.(*openFile).name(); path != "" {
		deleteAside(asidePath(filepath.Dir(path), st))
	}
	return nil
}

func (fd FD) File(name string) *os.File {
	openFiles.Delete(fd)
	return os.NewFile(uintptr(fd), name)
}

func MountOf(dir string) (Mount, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return Mount{}, err
	}
	var m Mount
	var avail, size uint64
	err = windows.GetDiskFreeSpaceEx(p, &avail, &size, nil)
	m.Avail, m.Size = int64(avail), int64(size)
	return m, err
}

// InMemory is true: no program has to ask for the disk by an option.
func (fd FD) InMemory() bool { return true }

func HasProc() bool { return true }

func (fd FD) InUse() (bool, error) { return false, errors.ErrUnsupported }

// Data tells of no holes.
func (fd FD) Data(off int64) (start, end int64, err error) {
	st, err := fd.Stat()
	if err == nil && off >= st.Size {
		err = io.EOF
	}
	return off, st.Size, err
}
