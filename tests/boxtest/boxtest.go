// Package boxtest has what the tests of boxes share, those of one process and those of several.
package boxtest

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// Check ends the test unless err is nil.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantErr checks that err is an *Error, is want, and has every one of words in its text.
func WantErr(t testing.TB, err, want error, words ...string) {
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

// Opened ends the test unless err is nil, and closes the box at the end of the test.
func Opened[T any](t testing.TB, b *shmem.Box[T], err error) *shmem.Box[T] {
	t.Helper()
	Check(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Open opens a box, and closes it at the end of the test.
func Open[T any](t testing.TB, dir, name string) *shmem.Box[T] {
	t.Helper()
	b, err := shmem.Open[T](name, &shmem.Options{Dir: dir})
	return Opened(t, b, err)
}

// Attach attaches to a box, and closes it at the end of the test.
func Attach[T any](t testing.TB, dir, name string) *shmem.Box[T] {
	t.Helper()
	b, err := shmem.Attach[T](name, &shmem.Options{Dir: dir})
	return Opened(t, b, err)
}

// Segment ends the test unless err is nil, and closes the segment at the end of the test.
func Segment(t testing.TB, s *shmem.Segment, err error) *shmem.Segment {
	t.Helper()
	Check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Names returns the names of the files in dir, without those that a system gives to removed files
// until the last process leaves them.
func Names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	Check(t, err)
	for _, e := range entries {
		if runtime.GOOS == "windows" && strings.HasPrefix(e.Name(), ".shmem-00000000") {
			continue
		}
		list = append(list, e.Name())
	}
	return list
}

// WantNames checks that dir has exactly these files.
func WantNames(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := Names(t, dir); !slices.Equal(got, want) {
		t.Errorf("in the directory are %q, want %q", got, want)
	}
}

// Reclaim calls shmem.Reclaim and returns the names of what it has removed.
func Reclaim(t testing.TB, dir string) (taken []string) {
	t.Helper()
	for info, err := range shmem.Reclaim(dir) {
		if err != nil {
			t.Errorf("reclaim: %v", err)
		}
		taken = append(taken, info.Name)
	}
	return taken
}

// NeedsFaults skips a test where the address of a fault is unknown.
func NeedsFaults(t *testing.T) {
	t.Helper()
	if os.Getenv(shmemtest.WrapEnv) != "" {
		t.Skip("an emulator does not report the address of a fault: this needs a real processor")
	}
}

// A Guest calls OnDrop when it is dropped.
type Guest struct{ N int64 }

// OnDrop is called for each guest that is dropped, if it is set.
var OnDrop func(*Guest)

// Drop implements shmem.Dropper.
func (g *Guest) Drop() {
	if OnDrop != nil {
		OnDrop(g)
	}
}

// Drops counts the drops of guests until the end of the test.
func Drops(t testing.TB) *int {
	n := new(int)
	OnDrop = func(*Guest) { *n++ }
	t.Cleanup(func() { OnDrop = nil })
	return n
}
