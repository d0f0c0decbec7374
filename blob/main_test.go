package blob_test

import (
	"context"
	"testing"

	"github.com/shmembox/shmem/blob"
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

// open opens the pool "p" in a directory.
func open(t testing.TB, dir string, opts blob.Options) *blob.Pool {
	t.Helper()
	opts.Dir = dir
	p, err := blob.Open("p", &opts)
	check(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// small is a pool of two buffers of 128 bytes and one of 8 KiB.
func small(t testing.TB, dir string) *blob.Pool {
	return open(t, dir, blob.Options{Classes: []blob.Class{{Size: 128, Count: 2}, {Size: 8 << 10, Count: 1}}, Shares: 3})
}

// used is how many buffers are taken.
func used(p *blob.Pool) (n int) {
	for _, c := range p.Stats().Classes {
		n += c.Used
	}
	return n
}
