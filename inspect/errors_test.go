package inspect_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestErrors: every function returns a *shmem.Error with its operation and the segment's name,
// after Close too.
func TestErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp, err := topic.Create[uint64]("t", &topic.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	box, err := shmem.Create[uint64]("box", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(filepath.Join(dir, "file"))
	open := look(t, dir, "box")
	closed, err := inspect.Open(dir, "t")
	if err != nil {
		t.Fatal(err)
	}
	f, err := closed.Follow(inspect.FromNow)
	if err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, cancelled := f.Next(done)
	if err := errors.Join(closed.Close(), closed.Close()); err != nil {
		t.Fatal(err)
	}
	second := func(_ any, err error) error { return err }
	_, _, tried := f.Try()
	_, errFile := inspect.Open(dir, "nope")
	for name, why := range map[string]string{"": "is empty", "a\x00": "zero byte"} {
		if _, err := inspect.Open(dir, name); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v does not say that the name %q %s", err, name, why)
		}
	}
	for _, c := range []struct {
		err  error
		op   string
		name string
		is   error
	}{
		{errFile, "inspect open", "nope", fs.ErrNotExist},
		{second(inspect.Open(dir, "")), "inspect open", "", shmem.ErrBadName},
		{second(open.Follow(0)), "inspect follow", "box", shmem.ErrMismatch},
		{second(open.Messages(0)), "inspect messages", "box", shmem.ErrMismatch},
		{cancelled, "inspect follow", "t", context.Canceled},
		{second(closed.Status()), "inspect refresh", "t", shmem.ErrClosed},
		{closed.Refresh(), "inspect refresh", "t", shmem.ErrClosed},
		{second(closed.Stats()), "inspect stats", "t", shmem.ErrClosed},
		{second(closed.Messages(1)), "inspect messages", "t", shmem.ErrClosed},
		{second(closed.Snapshot()), "inspect snapshot", "t", shmem.ErrClosed},
		{second(closed.Follow(0)), "inspect follow", "t", shmem.ErrClosed},
		{second(closed.ReadAt(make([]byte, 1), 0)), "inspect read", "t", shmem.ErrClosed},
		{tried, "inspect follow", "t", shmem.ErrClosed},
		{inspect.Set(context.Background(), "nope", &shmem.Options{Dir: dir}), "inspect set", "nope",
			fs.ErrNotExist},
		{inspect.Set(context.Background(), "file", &shmem.Options{Dir: dir}), "inspect set", "file",
			shmem.ErrForeign},
		{inspect.Set(done, "box", &shmem.Options{Dir: dir},
			inspect.Assignment{Path: "x", Value: "1"}), "inspect set", "box", nil},
		{second(inspect.TypeFor[string]()), "inspect type", "", shmem.ErrBadType},
	} {
		var e *shmem.Error
		if !errors.As(c.err, &e) || e.Op != c.op || e.Name != c.name || c.is != nil &&
			!errors.Is(c.err, c.is) {
			t.Errorf("%v (%T), want %s %s: %v", c.err, c.err, c.op, c.name, c.is)
		}
	}
	if _, err := open.ReadAt(make([]byte, 1), 1<<40); err != io.EOF {
		t.Errorf("behind the end: %v, want a bare io.EOF", err)
	}
	if err := tp.End(); err != nil {
		t.Fatal(err)
	}
	f, err = look(t, dir, "t").Follow(inspect.FromOldest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Next(context.Background()); err != io.EOF {
		t.Errorf("the end of a topic: %v, want a bare io.EOF", err)
	}
}
