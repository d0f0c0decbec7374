package kv_test

import (
	"context"
	"testing"

	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// roles are added by the files that start them.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

var background = context.Background()

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the map "m" in a directory.
func open[K comparable, V any](t testing.TB, dir string, opts kv.Options) *kv.Map[K, V] {
	t.Helper()
	opts.Dir = dir
	m, err := kv.Open[K, V]("m", &opts)
	check(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}
