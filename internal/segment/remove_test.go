//go:build linux

package segment

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// removable are files that Remove cannot take for a segment, by how they are made.
var removable = map[string]func(path string) error{
	"foreign":   func(path string) error { return os.WriteFile(path, make([]byte, 8192), 0o600) },
	"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
	"truncated": func(path string) error { return changed(path, func(b []byte) []byte { return b[:4096] }) },
	"damaged": func(path string) error {
		return changed(path, func(b []byte) []byte { b[len(b)-format.HeaderSize+16]++; return b })
	},
	"other version": func(path string) error {
		return changed(path, func(b []byte) []byte {
			binary.NativeEndian.PutUint32(b[len(b)-format.HeaderSize+8:], 99)
			return b
		})
	},
	"copy":    func(path string) error { return changed(path, func(b []byte) []byte { return b }) },
	"FIFO":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
	"link":    func(path string) error { return os.Symlink("nowhere", path) },
	"no mode": func(path string) error { return os.WriteFile(path, make([]byte, 8192), 0) },
}

// changed writes the bytes of a segment, changed, to path.
func changed(path string, change func([]byte) []byte) error {
	d := filepath.Dir(path)
	a, err := Open(Request{Name: "other", Config: Config{Dir: d}, Create: true, Size: 64})
	if err != nil {
		return err
	}
	defer a.Detach(false)
	b, err := os.ReadFile(filepath.Join(d, "other"))
	if err != nil {
		return err
	}
	return os.WriteFile(path, change(b), 0o600)
}

func left(t *testing.T, d string) string {
	t.Helper()
	all, err := names(d)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// Remove unlinks whatever has the name.
func TestRemoveAnything(t *testing.T) {
	for what, create := range removable {
		t.Run(what, func(t *testing.T) {
			d := dir(t)
			if err := create(filepath.Join(d, "s")); err != nil {
				t.Fatal(err)
			}
			if err := Remove(d, "s"); err != nil {
				t.Error(err)
			}
			if l := left(t, d); l != "" {
				t.Errorf("left: %s", l)
			}
		})
	}
}

// Between its look and its unlink the file is replaced by a segment that is alive: Remove does not
// unlink that before it has looked at it.
func TestRemoveReplaced(t *testing.T) {
	for what, create := range removable {
		t.Run(what, func(t *testing.T) {
			d := dir(t)
			path := filepath.Join(d, "s")
			if err := create(path); err != nil {
				t.Fatal(err)
			}
			var live *Attachment
			looks := 0
			step.Hook(func(p step.Point) {
				if p != step.RemoveGate {
					return
				}
				switch looks++; looks {
				case 1:
					step.Hook(nil)
					_ = os.Remove(path)
					live = open(t, d)
					step.Hook(func(p step.Point) {
						if p == step.RemoveGate {
							looks++
							if !live.Linked() {
								t.Error("the new segment has lost its name before Remove looked at it")
							}
						}
					})
				}
			})
			defer step.Hook(nil)
			if err := Remove(d, "s"); err != nil {
				t.Error(err)
			}
			if looks != 2 {
				t.Errorf("Remove has looked %d times, want 2", looks)
			}
			if l := left(t, d); l != "" {
				t.Errorf("left: %s", l)
			}
		})
	}
}

// While Remove holds a file by a temporary name, the name is taken again: the new segment keeps it.
func TestRemoveReplacedTwice(t *testing.T) {
	d := dir(t)
	path := filepath.Join(d, "s")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	var last *Attachment
	step.Hook(func(p step.Point) {
		switch p {
		case step.RemoveGate:
			step.Hook(func(p step.Point) {
				if p == step.RemoveRenamed {
					step.Hook(nil)
					last = open(t, d)
				}
			})
			_ = os.Remove(path)
			_ = os.WriteFile(path, nil, 0o600)
		}
	})
	defer step.Hook(nil)
	if err := Remove(d, "s"); !errors.Is(err, errs.Contended) {
		t.Errorf("%v, want errs.Contended", err)
	}
	if !last.Linked() {
		t.Error("the last segment has lost its name")
	}
	if l := left(t, d); l != "s" {
		t.Errorf("left: %s", l)
	}
}

// A gate that another process holds keeps Remove from nothing.
func TestRemoveWithoutGate(t *testing.T) {
	for what, shared := range map[string]bool{"a process holds it": false, "a reader holds it": true} {
		t.Run(what, func(t *testing.T) {
			d := dir(t)
			a := open(t, d)
			holder, err := sys.Open(filepath.Join(d, "s"), !shared)
			if err != nil {
				t.Fatal(err)
			}
			if err := holder.Lock(sys.GateByte, shared); err != nil {
				t.Fatal(err)
			}
			err = Remove(d, "s")
			if err != nil || a.Linked() {
				t.Errorf("%v; linked %v", err, a.Linked())
			}
			_ = holder.Close()
			if l := left(t, d); l != "" {
				t.Errorf("left: %s", l)
			}
		})
	}
}

// A Remove that died leaves a temporary name. Reclaim removes it, whatever it is.
func TestReclaimMoved(t *testing.T) {
	for what, create := range removable {
		if what == "no mode" && os.Geteuid() != 0 {
			continue // it cannot be opened
		}
		t.Run(what, func(t *testing.T) {
			d := dir(t)
			if err := create(filepath.Join(d, tempPrefix+strings.Repeat("a", 32))); err != nil {
				t.Fatal(err)
			}
			for l, err := range Reclaim(d) {
				if err != nil {
					t.Errorf("%s: %v", l.Name, err)
				}
			}
			if l := left(t, d); l != "" {
				t.Errorf("left: %s", l)
			}
		})
	}
}

// lostDir makes the path of a segment one that cannot be looked at: its directory is a link to
// itself. It returns where the directory is.
func lostDir(t *testing.T, d string) (moved string) {
	t.Helper()
	moved = d + "-moved"
	if err := os.Rename(d, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Base(d), d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(d); _ = os.RemoveAll(moved) })
	return moved
}

// An error other than that of a name that is gone is no success.
func TestPathCannotBeLookedAt(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	lostDir(t, d)
	if !a.Linked() {
		t.Error("a file that has a name is not linked")
	}
	if err := a.Detach(false); !errors.Is(err, sys.ErrLoop) {
		t.Errorf("Detach: %v, want ELOOP: the name stays", err)
	}
	if err := Remove(d, "s"); !errors.Is(err, sys.ErrLoop) {
		t.Errorf("Remove: %v, want ELOOP", err)
	}
	if _, err := Stat(d, "s"); !errors.Is(err, sys.ErrLoop) {
		t.Errorf("Stat: %v, want ELOOP", err)
	}
	if _, err := tryOpen(d, attachOnly); !errors.Is(err, sys.ErrLoop) {
		t.Errorf("attach: %v, want ELOOP", err)
	}
	if err := (&opening{cfg: &Config{Dir: d}}).absent(); !strings.Contains(err.Error(), "creates it") {
		t.Errorf("a directory that cannot be looked at is said to be missing: %v", err)
	}
	for _, p := range []step.Point{step.AttachRead, step.ReclaimOpen} {
		d := dir(t)
		a := open(t, d)
		step.Hook(func(q step.Point) {
			if q == p {
				step.Hook(nil)
				lostDir(t, d)
			}
		})
		defer step.Hook(nil)
		var err error
		switch p {
		case step.AttachRead:
			_, err = tryOpen(d, attachOnly, func(r *Request) { r.Config.Timeout = time.Minute })
		case step.ReclaimOpen:
			_, _, err = reclaimFile(filepath.Join(d, "s"), "s")
		}
		if !errors.Is(err, sys.ErrLoop) {
			t.Errorf("at %s: %v, want ELOOP", p, err)
		}
		_ = a.Detach(false)
	}
}

// To look for garbage ends at the deadline, however many files there are.
func TestReclaimDeadline(t *testing.T) {
	d := dir(t)
	for _, n := range strings.Split("a b c d e f g h i j", " ") {
		open(t, d, func(r *Request) { r.Name = n })
	}
	looked := 0
	step.Hook(func(p step.Point) {
		if p == step.ReclaimOpen {
			looked++
			time.Sleep(30 * time.Millisecond)
		}
	})
	defer step.Hook(nil)
	o := &opening{cfg: &Config{Dir: d}, deadline: time.Now().Add(20 * time.Millisecond)}
	if err := o.outOfSpace(errs.NoSpace); err != errRetry {
		t.Error(err)
	}
	if looked > 1 {
		t.Errorf("%d files were looked at, want 1 until the deadline", looked)
	}
}

func TestProgram(t *testing.T) {
	if p := programOf([]string{"/bin/server", "x"}); p != "server" {
		t.Error(p)
	}
	for _, args := range [][]string{nil, {}, {""}} {
		if p := programOf(args); p != "segment.test" {
			t.Errorf("without arguments: %q", p)
		}
	}
}
