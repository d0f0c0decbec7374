//go:build linux

package shmem_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// The program changes its directory between opening and closing. Paths count from the one at the
// time of opening.
func TestCloseAfterChdir(t *testing.T) {
	dir := shmemtest.Dir(t)
	check(t, os.WriteFile(filepath.Join(dir, "foreign"), make([]byte, 100), 0o600))
	t.Chdir(dir)
	for _, rel := range []string{".", "../" + filepath.Base(dir)} {
		o := &shmem.Options{Dir: rel}
		b, err := shmem.Open[point]("p", o)
		check(t, err)
		other, err := shmem.Attach[point]("p", o)
		check(t, err)
		f, err := shmem.AttachSegment("./foreign", &shmem.Options{Dir: rel, Foreign: true})
		check(t, err)
		t.Chdir("/")
		if !b.Linked() || !f.Linked() {
			t.Errorf("%s: linked %v, foreign %v", rel, b.Linked(), f.Linked())
		}
		check(t, other.Own())
		check(t, b.Close())
		check(t, f.Close())
		check(t, other.Close())
		wantNames(t, dir, "foreign")
		t.Chdir(dir)
	}
	check(t, os.Remove("foreign"))
	t.Chdir("/")
	if info, err := shmem.Stat("./dev/shm", "shmem-none"); err == nil {
		t.Errorf("%+v", info)
	}
}

// A program that has no directory any more can use absolute paths, and is told why relative ones
// fail.
func TestNoWorkingDirectory(t *testing.T) {
	dir := shmemtest.Dir(t)
	gone := filepath.Join(dir, "gone")
	check(t, os.Mkdir(gone, 0o700))
	t.Chdir(gone)
	check(t, os.Remove(gone))
	t.Setenv("PWD", "")
	_, err := shmem.Open[point]("p", &shmem.Options{Dir: "."})
	wantErr(t, err, fs.ErrNotExist, "open p", "absolute path", "Options.Dir")
	b, err := shmem.Open[point]("p", &shmem.Options{Dir: dir})
	check(t, err)
	check(t, b.Close())
}

// Create finds a name that another user has taken, in a file that cannot even be opened.
func TestCreateWhereUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		return // root can open it
	}
	dir := shmemtest.Dir(t)
	check(t, os.WriteFile(filepath.Join(dir, "p"), nil, 0))
	_, err := shmem.Create[point]("p", &shmem.Options{Dir: dir})
	wantErr(t, err, fs.ErrExist)
	wantErr(t, err, syscall.EACCES)
	check(t, shmem.Remove(dir, "p"))
}
