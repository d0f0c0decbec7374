package segment

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// unlinkedSoon waits until the channel is closed.
func unlinkedSoon(t *testing.T, a *Attachment) {
	t.Helper()
	select {
	case <-a.Unlinked():
	case <-time.After(20 * time.Second):
		t.Fatal("Unlinked is not closed")
	}
}

func stillLinked(t *testing.T, a *Attachment) {
	t.Helper()
	select {
	case <-a.Unlinked():
		t.Fatal("Unlinked is closed at first")
	default:
	}
}

// withoutNotify runs f with and without notices of the kernel.
func withoutNotify(t *testing.T, f func(t *testing.T)) {
	t.Run("inotify", f)
	t.Run("looks", func(t *testing.T) {
		sys.AvoidNotify = true
		defer func() { sys.AvoidNotify = false }()
		f(t)
	})
}

// noGoroutines waits until the number of goroutines is as before.
func noGoroutines(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

func TestUnlinkedChannel(t *testing.T) {
	withoutNotify(t, func(t *testing.T) {
		for name, take := range map[string]func(t *testing.T, dir string, owner *Attachment) error{
			"rm": func(_ *testing.T, dir string, _ *Attachment) error {
				return os.Remove(filepath.Join(dir, "s"))
			},
			"mv": func(_ *testing.T, dir string, _ *Attachment) error {
				return os.Rename(filepath.Join(dir, "s"), filepath.Join(dir, "t"))
			},
			"mv of another file": func(t *testing.T, dir string, _ *Attachment) error {
				if err := os.WriteFile(filepath.Join(dir, "t"), nil, 0o600); err != nil {
					return err
				}
				return os.Rename(filepath.Join(dir, "t"), filepath.Join(dir, "s"))
			},
			"mv of the directory": func(t *testing.T, dir string, _ *Attachment) error {
				t.Cleanup(func() { _ = os.RemoveAll(dir + "2") })
				return os.Rename(dir, dir+"2")
			},
			"Remove": func(_ *testing.T, dir string, _ *Attachment) error {
				return Remove(dir, "s")
			},
			"Close of the owner": func(_ *testing.T, _ string, owner *Attachment) error {
				return owner.Detach(false)
			},
		} {
			t.Run(name, func(t *testing.T) {
				d := dir(t)
				owner := open(t, d)
				a := open(t, d)
				stillLinked(t, a)
				if err := take(t, d, owner); err != nil {
					t.Fatal(err)
				}
				unlinkedSoon(t, a)
				if a.Linked() {
					t.Error("it is linked")
				}
			})
		}
	})
}

// A change of the file that leaves its name alone tells nothing.
func TestUnlinkedOtherChanges(t *testing.T) {
	withoutNotify(t, func(t *testing.T) {
		d := dir(t)
		a := open(t, d)
		stillLinked(t, a)
		for range 10 {
			if err := os.Chmod(filepath.Join(d, "s"), 0o640); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(d, "s"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(filepath.Join(d, "s"), filepath.Join(d, "link")); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(d, "link")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		stillLinked(t, a)
	})
}

// Detach closes the channel, and leaves neither goroutine nor descriptor.
func TestUnlinkedEnds(t *testing.T) {
	withoutNotify(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		d := dir(t)
		var all []*Attachment
		for range 5 {
			all = append(all, open(t, d, createdKept))
		}
		for _, a := range all {
			if c := a.Unlinked(); c != a.Unlinked() {
				t.Error("two channels")
			}
		}
		for _, a := range all {
			if err := a.Detach(false); err != nil {
				t.Fatal(err)
			}
			unlinkedSoon(t, a)
		}
		noGoroutines(t, before)
		closed := open(t, d, createdKept)
		if err := closed.Detach(false); err != nil {
			t.Fatal(err)
		}
		unlinkedSoon(t, closed)
		noGoroutines(t, before)
	})
}

func TestUnlinkedAnonymous(t *testing.T) {
	a, err := CreateAnonymous(64, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Detach(false)
	unlinkedSoon(t, a)
}
