//go:build !portable

package sys

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// rung waits for a ring.
func rung(t *testing.T, n *Notice, what string) {
	t.Helper()
	select {
	case <-n.C:
	case <-time.After(20 * time.Second):
		t.Fatalf("no ring after %s", what)
	}
}

// quiet takes rings away until a ring of its own has come: all events before it are told then.
func quiet(t *testing.T, n *Notice, dir string) (rings int) {
	t.Helper()
	mark, err := NotifyName(dir, "mark")
	if err != nil {
		t.Fatal(err)
	}
	defer mark.Cancel()
	touch(t, filepath.Join(dir, "mark"))
	rung(t, mark, "the mark")
	if err := os.Remove(filepath.Join(dir, "mark")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.C:
		return 1
	default:
		return 0
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// inotifies counts the inotify instances of this process.
func inotifies(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == "anon_inode:inotify" {
			n++
		}
	}
	return n
}

// noInotify waits until no instance is left.
func noInotify(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); inotifies(t) != 0; {
		if time.Now().After(end) {
			t.Fatalf("%d inotify instances are left", inotifies(t))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestNotifyFile(t *testing.T) {
	noInotify(t)
	dir := tempDir(t)
	path := filepath.Join(dir, "f")
	touch(t, path)
	fd, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	one, err := NotifyFile(fd)
	if err != nil {
		t.Fatal(err)
	}
	two, err := NotifyFile(fd)
	if err != nil {
		t.Fatal(err)
	}
	if n := inotifies(t); n != 1 {
		t.Errorf("%d inotify instances", n)
	}
	if err := os.Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	rung(t, one, "rename")
	rung(t, two, "rename")
	two.Cancel()
	two.Cancel()
	quiet(t, one, dir)
	if err := os.Remove(path + "2"); err != nil {
		t.Fatal(err)
	}
	rung(t, one, "unlink")
	one.Cancel()
	select {
	case <-two.C:
		t.Error("a ring after Cancel")
	default:
	}
	noInotify(t)
}

func TestNotifyName(t *testing.T) {
	dir := tempDir(t)
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	n, err := NotifyName(sub, "name")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Cancel()
	touch(t, filepath.Join(sub, "other"))
	touch(t, filepath.Join(sub, "name2"))
	if quiet(t, n, sub) != 0 {
		t.Error("a ring for another name")
	}
	touch(t, filepath.Join(sub, "name"))
	rung(t, n, "create")
	for _, err := range []error{
		os.Remove(filepath.Join(sub, "name")),
		os.Rename(filepath.Join(sub, "other"), filepath.Join(sub, "name")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	rung(t, n, "rename")
	if err := os.Remove(filepath.Join(sub, "name")); err != nil {
		t.Fatal(err)
	}
	fd, err := CreateNameless(sub, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = fd.Link(filepath.Join(sub, "name"))
	_ = fd.Close() // an open file keeps its directory
	if err != nil {
		t.Fatal(err)
	}
	rung(t, n, "link")
	if err := os.RemoveAll(sub); err != nil {
		t.Fatal(err)
	}
	rung(t, n, "the end of the directory")
}

func TestNotifyErrors(t *testing.T) {
	dir := tempDir(t)
	if _, err := NotifyName(filepath.Join(dir, "none"), "x"); err == nil {
		t.Error("a directory that does not exist can be watched")
	}
	touch(t, filepath.Join(dir, "file"))
	if _, err := NotifyName(filepath.Join(dir, "file"), "x"); err == nil {
		t.Error("a file can be watched as a directory")
	}
	noInotify(t)
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(DefaultDir, "shmem-sys-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
