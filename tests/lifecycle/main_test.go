// Package lifecycle_test has the tests of package shmem that take more than one process: deaths at
// every step, histories, other users and namespaces, and limits of the machine.
package lifecycle_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	lifecycle "github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/tests/boxtest"
)

// roles are the roles of child processes; each file adds its own in init.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

// Short names of what the tests of boxes share.
var (
	segment     = boxtest.Segment
	check       = boxtest.Check
	wantErr     = boxtest.WantErr
	names       = boxtest.Names
	wantNames   = boxtest.WantNames
	reclaim     = boxtest.Reclaim
	needsFaults = boxtest.NeedsFaults
	drops       = boxtest.Drops
)

type guest = boxtest.Guest

func opened[T any](t testing.TB, b *shmem.Box[T], err error) *shmem.Box[T] {
	t.Helper()
	return boxtest.Opened(t, b, err)
}

func open[T any](t testing.TB, dir, name string) *shmem.Box[T] {
	t.Helper()
	return boxtest.Open[T](t, dir, name)
}

func attach[T any](t testing.TB, dir, name string) *shmem.Box[T] {
	t.Helper()
	return boxtest.Attach[T](t, dir, name)
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
