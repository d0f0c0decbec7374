package shmem_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shmembox/shmem"
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
	wantNames   = boxtest.WantNames
	reclaim     = boxtest.Reclaim
	needsFaults = boxtest.NeedsFaults
	drops       = boxtest.Drops
)

type guest = boxtest.Guest

// A page is as large as a page of most machines.
type page struct {
	N uint64
	_ [4096 - 8]byte
}

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

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// loaded keeps what a test loads.
var loaded page
