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

// base is this process's directory in memory, which holds those of Dir.
var base struct {
	sync.Mutex
	path string
	lock *os.File // says to others that the directory is in use
}

// Dir returns a fresh empty directory for the test, in /dev/shm where that is a
// tmpfs, else one of t.TempDir, and logs why. At the end of the test, before
// which what was started and opened later has been ended by its own cleanup, the
// test fails if anything is left in the directory; then it is removed.
//
// Only the user of the test may enter the directory until the test says
// otherwise with os.Chmod.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := memoryDir(t.Name())
	if err != nil {
		t.Logf("shmemtest: no directory in memory: %v", err)
		dir = t.TempDir()
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
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("shmemtest: %v", err)
		}
	})
	return dir
}

// memoryDir makes a directory in base, and base when there is none. The tests of
// a process share one base, so that one lock tells that they all are in use.
func memoryDir(name string) (string, error) {
	base.Lock()
	defer base.Unlock()
	registry.Lock()
	main := registry.main
	registry.Unlock()
	if !main {
		return "", errors.New("TestMain does not call shmemtest.Main")
	}
	if base.path == "" {
		path, lock, err := makeBase()
		if err != nil {
			return "", err
		}
		base.path, base.lock = path, lock
	}
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z') {
			return r
		}
		return '_'
	}, name)
	return os.MkdirTemp(base.path, name[:min(len(name), 40)]+"-")
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

// listTree lists all that is below dir, with sizes.
func listTree(dir string) (list []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // The test removed it, or someone does so now.
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
