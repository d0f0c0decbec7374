package shmemtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// base is this process's directory in memory, with the directories of Dir.
var base struct {
	sync.Mutex
	path string
	lock *os.File // shows other processes that the directory is in use
}

// Dir returns a new empty directory for the test, on a tmpfs: in /dev/shm, or else in the directory
// for temporary files or $XDG_RUNTIME_DIR. If none of them is a tmpfs, Dir logs that and returns
// one of t.TempDir, which may be on a disk: segments there need Options.Disk. At the end of the
// test, after the cleanups that were registered later, the test fails if the directory is not
// empty. Then the directory is removed.
//
// Only the user of the test may enter the directory, until the test changes that with os.Chmod.
func Dir(t testing.TB) string {
	t.Helper()
	dir, remove, err := memoryDir(t.Name())
	if err != nil {
		dir, remove = t.TempDir(), func() error { return nil }
		t.Logf("shmemtest: no directory in memory: %v; "+
			"if %s is on a disk, segments there need Options.Disk", err, dir)
	}
	t.Cleanup(func() {
		t.Helper()
		left, err := listTree(dir)
		if err != nil {
			t.Errorf("shmemtest: %v", err)
		}
		if len(left) > 0 {
			t.Errorf("shmemtest: left in %s:\n\t%s", dir, strings.Join(left, "\n\t"))
		}
		if err := errors.Join(os.RemoveAll(dir), remove()); err != nil {
			t.Errorf("shmemtest: %v", err)
		}
	})
	return dir
}

// memoryDir makes a directory in base, and base if there is none. The tests of a process share one
// base, so that one lock shows that all its directories are in use. Where no Main removes base at
// the end, each directory has a base of its own, which remove removes.
func memoryDir(name string) (dir string, remove func() error, err error) {
	base.Lock()
	defer base.Unlock()
	registry.Lock()
	main := registry.main
	registry.Unlock()
	path, lock := base.path, base.lock
	if !main || path == "" {
		if path, lock, err = makeBase(); err != nil {
			return "", nil, err
		}
	}
	remove = func() error { return nil }
	if main {
		base.path, base.lock = path, lock
	} else {
		remove = func() error { return errors.Join(os.Remove(path), lock.Close()) }
	}
	name = strings.Map(func(r rune) rune {
		if r < 0x80 &&
			(r == '_' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z') {
			return r
		}
		return '_'
	}, name)
	dir, err = os.MkdirTemp(path, name[:min(len(name), 40)]+"-")
	return dir, remove, err
}

// removeBase removes base, and returns the directories that were still in it.
func removeBase() (left []string) {
	base.Lock()
	defer base.Unlock()
	if base.path == "" {
		return nil
	}
	entries, err := os.ReadDir(base.path)
	if err != nil {
		left = append(left, err.Error())
	}
	for _, e := range entries {
		left = append(left, filepath.Join(base.path, e.Name()))
	}
	if err := os.RemoveAll(base.path); err != nil {
		left = append(left, err.Error())
	}
	base.lock.Close()
	base.path, base.lock = "", nil
	return left
}

// listTree lists all files and directories below dir, with sizes.
func listTree(dir string) (list []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // It has just been removed.
			}
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		size := "gone"
		if info, err := d.Info(); err == nil {
			size = fmt.Sprintf("%v, %d bytes", info.Mode(), info.Size())
		}
		list = append(list, rel+" ("+size+")")
		return nil
	})
	return list, err
}
