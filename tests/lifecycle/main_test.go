// Package lifecycle_test has the tests of package shmem that take more than one process: deaths at
// every step, histories, other users and namespaces, and limits of the machine.
package lifecycle_test

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	lifecycle "github.com/shmembox/shmem/internal/segment"
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

// abandon ends an attachment as the kernel does when a process dies: without cleanup.
func abandon(s *shmem.Segment) { lifecycle.Shmem.Attachment(s).Abandon() }

// A point has neither Init nor Drop.
type point struct{ X, Y int64 }

// A page is as large as a page of most machines.
type page struct {
	N uint64
	_ [4096 - 8]byte
}

// A guest calls onDrop when it is dropped.
type guest struct{ N int64 }

var onDrop func(*guest)

func (g *guest) Drop() {
	if onDrop != nil {
		onDrop(g)
	}
}

// drops counts the drops of guests until the end of the test.
func drops(t testing.TB) *int {
	n := new(int)
	onDrop = func(*guest) { *n++ }
	t.Cleanup(func() { onDrop = nil })
	return n
}

// wantMapped checks whether this process has a file of dir mapped.
func wantMapped(t testing.TB, dir string, want bool) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	check(t, err)
	if got := strings.Contains(string(maps), dir+"/"); got != want {
		t.Errorf("a file of the directory is mapped: %v, want %v", got, want)
	}
}

// within fails the test if f does not return within 20 seconds.
func within(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<16)
		t.Fatalf("it hangs:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// fault reports whether f faults.
func fault(f func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			faulted = e.Addr() != 0
		}
	}()
	f()
	return false
}
