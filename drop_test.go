package shmem_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// A slowDrop is dropped when the test lets it.
type slowDrop struct{ A, B uint64 }

var dropping, dropNow = make(chan bool), make(chan bool)

func (*slowDrop) Drop() { close(dropping); <-dropNow }

// TestCallsDuringDrop: a call that begins after Close has begun does not see the value while its
// Drop runs.
func TestCallsDuringDrop(t *testing.T) {
	b, err := shmem.Create[slowDrop]("s", &shmem.Options{Dir: shmemtest.Dir(t)})
	check(t, err)
	done := make(chan error)
	go func() { done <- b.Close() }()
	<-dropping
	ctx := context.Background()
	none := func(*slowDrop) error { return nil }
	_, err = b.Load(ctx)
	wantErr(t, err, shmem.ErrClosed)
	wantErr(t, b.Store(ctx, slowDrop{1, 2}), shmem.ErrClosed)
	wantErr(t, b.View(ctx, none), shmem.ErrClosed)
	wantErr(t, b.Update(ctx, none), shmem.ErrClosed)
	close(dropNow)
	check(t, <-done)
}

// TestReadCopy reads a copy of a segment as its error advises.
func TestReadCopy(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[uint64]("original", &shmem.Options{Dir: dir})
	check(t, err)
	defer b.Close()
	*b.Value() = 42
	data, err := os.ReadFile(filepath.Join(dir, "original"))
	check(t, err)
	path := filepath.Join(dir, "copy")
	check(t, os.WriteFile(path, data, 0o600))
	defer os.Remove(path)
	_, err = shmem.Attach[uint64]("copy", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrCopied)
	_, err = shmem.Attach[uint64]("copy", &shmem.Options{Dir: dir, Foreign: true})
	if err == nil {
		t.Error("a copy can be written as a foreign file")
	}
	c, err := shmem.Attach[uint64]("copy", &shmem.Options{Dir: dir, Foreign: true, ReadOnly: true})
	check(t, err)
	defer c.Close()
	if got := *c.Value(); got != 42 {
		t.Errorf("the copy holds %d", got)
	}
}
