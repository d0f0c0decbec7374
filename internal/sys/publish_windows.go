package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"

	"golang.org/x/sys/windows"
)

func CreateNameless(string, fs.FileMode) (FD, error) { return NoFD, windows.ERROR_NOT_SUPPORTED }

func NoNameless(err error) bool { return errors.Is(err, windows.ERROR_NOT_SUPPORTED) }

// CreateExclusive asks the system to keep the file in memory while there is room.
func CreateExclusive(path string, _ fs.FileMode) (FD, error) {
	fd, err := open(path, access(true), windows.CREATE_NEW, windows.FILE_ATTRIBUTE_TEMPORARY)
	if err == nil {
		created.Store(path, fd.open())
	}
	return fd, err
}

// created has the *openFile of what CreateExclusive made and has its first name still, by name.
var created sync.Map

// CreateAnonymous creates a file that the system deletes with its last handle. A process that dies
// may leave it to Reclaim, as other files in the making.
func CreateAnonymous(string) (FD, error) {
	if err := MakeDefaultDir(); err != nil {
		return NoFD, err
	}
	name := fmt.Sprintf(".shmem-%016x%016x", rand.Uint64(), rand.Uint64())
	path := filepath.Join(DefaultDir, name)
	fd, err := open(path, access(true)|windows.DELETE, windows.CREATE_NEW,
		windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE)
	if err == nil {
		f := fd.open()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.path = ""
	}
	return fd, err
}

// Seal does nothing: no process can shrink a file that another one maps.
func (fd FD) Seal() error { return nil }

func (fd FD) Sealed() bool { return true }

func (fd FD) Link(string) error { return windows.ERROR_NOT_SUPPORTED }

func move(from, to string, flags uint32) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	err = retry(func() error { return windows.MoveFileEx(f, t, flags) })
	if err != nil {
		return err
	}
	if c, ok := created.LoadAndDelete(from); ok {
		f := c.(*openFile)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.path = to
	}
	return nil
}

func Rename(from, to string) error { return move(from, to, windows.MOVEFILE_REPLACE_EXISTING) }

func RenameExclusive(from, to string) error { return move(from, to, 0) }

// Unlink gives the file a hidden name first, which is free at once for another file: a file that is
// mapped cannot be deleted. What is left under that name is deleted by Close of the last process
// that has the file open, or by Reclaim: it is a temporary name.
func Unlink(path string) error {
	st, err := Lstat(path)
	if err != nil {
		return err
	}
	if st.Mode.IsDir() {
		return ErrIsDir
	}
	aside := asidePath(filepath.Dir(path), st)
	if filepath.Base(path) != filepath.Base(aside) {
		if err := move(path, aside, 0); err != nil {
			return err
		}
	}
	deleteAside(aside)
	return nil
}

// asidePath returns the hidden name of a file. All processes that have the file open know it.
func asidePath(dir string, st Stat) string {
	return filepath.Join(dir, fmt.Sprintf(".shmem-%016x%016x", st.Dev, st.Ino))
}

// deleteAside deletes a file under its hidden name, if there is one and it can be deleted.
func deleteAside(path string) {
	if p, err := windows.UTF16PtrFromString(path); err == nil {
		_ = windows.DeleteFile(p)
	}
}
