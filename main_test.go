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

// roles are those of child processes; each file adds its own in init.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

// opened ends the test unless err is nil, and closes the box at its end. It wraps a call: opened(t)(shmem.Open[T](...)).
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

// segment wants a segment and no error, and closes it at the end of the test.
func segment(t testing.TB, s *shmem.Segment, err error) *shmem.Segment {
	t.Helper()
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// check ends the test with err, if it is one.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr wants an *Error that is want and whose text has every one of words.
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

// names are the files in dir.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// wantNames wants exactly these files in dir.
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

// reclaim is Reclaim; it gives the names of what was taken away.
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

// needsFaults skips a test where the address of a fault is not to be had.
func needsFaults(t *testing.T) {
	t.Helper()
	if os.Getenv(shmemtest.WrapEnv) != "" {
		t.Skip("an emulator does not say at which address a fault was: needs a real processor")
	}
}
