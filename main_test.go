package shmem_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// roles are the roles of child processes; each file adds its own in init.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

// opened ends the test unless err is nil, and closes the box at the end of the test.
func opened[T any](t testing.TB, b *shmem.Box[T], err error) *shmem.Box[T] {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func open[T any](t testing.TB, dir, name string) *shmem.Box[T] {
	t.Helper()
	b, err := shmem.Open[T](name, &shmem.Options{Dir: dir})
	return opened(t, b, err)
}

func attach[T any](t testing.TB, dir, name string) *shmem.Box[T] {
	t.Helper()
	b, err := shmem.Attach[T](name, &shmem.Options{Dir: dir})
	return opened(t, b, err)
}

// segment ends the test unless err is nil, and closes the segment at the end of the test.
func segment(t testing.TB, s *shmem.Segment, err error) *shmem.Segment {
	t.Helper()
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// check ends the test unless err is nil.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks that err is an *Error, is want, and has every one of words in its text.
func wantErr(t testing.TB, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want one that is %v", err, want)
		return
	}
	if _, ok := errors.AsType[*shmem.Error](err); !ok {
		t.Errorf("error %v is a %T, want a *shmem.Error", err, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

// names returns the names of the files in dir.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// wantNames checks that dir has exactly these files.
func wantNames(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("in the directory are %q, want %q", got, want)
	}
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// reclaim calls Reclaim and returns the names of what it has removed.
func reclaim(t testing.TB, dir string) (taken []string) {
	t.Helper()
	for info, err := range shmem.Reclaim(dir) {
		if err != nil {
			t.Errorf("reclaim: %v", err)
		}
		taken = append(taken, info.Name)
	}
	return taken
}

// needsFaults skips a test where the address of a fault is unknown.
func needsFaults(t *testing.T) {
	t.Helper()
	if os.Getenv(shmemtest.WrapEnv) != "" {
		t.Skip("an emulator does not report the address of a fault: this needs a real processor")
	}
}
