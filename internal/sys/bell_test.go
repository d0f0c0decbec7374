//go:build darwin || (linux && portable)

package sys_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmembox/shmem/internal/sys"
)

// bellOf opens the bell of a slot of a file that no other process has.
func bellOf(t *testing.T, slot int) (*sys.Bell, string) {
	t.Helper()
	fd := named(t, 1)
	st, err := fd.Stat()
	if err != nil {
		t.Fatal(err)
	}
	name := sys.BellName(st, slot, 1)
	b, err := sys.OpenBell(name)
	if err != nil {
		t.Fatal(err)
	}
	return b, name
}

// TestBell: rings count that come before or during a wait, rings of a bell that is not there are
// lost, and Close ends a wait and removes the name.
func TestBell(t *testing.T) {
	b, name := bellOf(t, 3)
	r, err := sys.OpenRinger()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 100 { // more than a socket holds
		r.Ring(name)
	}
	start := time.Now()
	if !b.Wait(time.Hour) {
		t.Error("a bell that rang does not work")
	}
	for time.Since(start) < time.Hour && b.Wait(time.Millisecond) {
		if time.Since(start) > 50*time.Millisecond { // the rings are used up
			break
		}
	}
	rang := make(chan bool)
	go func() { rang <- b.Wait(time.Hour) }()
	for ok := false; !ok; {
		r.Ring(name)
		select {
		case ok = <-rang:
			if !ok {
				t.Fatal("the bell does not work")
			}
		case <-time.After(time.Millisecond):
		}
	}
	for range 600 { // what rang too often, more than a socket holds
		b.Wait(time.Millisecond)
	}
	go func() { rang <- b.Wait(time.Hour) }()
	time.Sleep(time.Millisecond)
	b.Close()
	if <-rang {
		t.Error("a closed bell works")
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	r.Ring(name)
	r.Ring(filepath.Join(filepath.Dir(name), "none", "such"))
}

// TestSweepBells: what no process has any more is removed, not what is young, open or no socket.
func TestSweepBells(t *testing.T) {
	left, leftName := bellOf(t, 1)
	used, usedName := bellOf(t, 2)
	defer used.Close()
	kept := leftName + "-kept"
	wantErr(t, "Link", os.Link(leftName, kept), nil) // Close removes the other name only
	defer os.Remove(kept)
	young := leftName + "-young"
	wantErr(t, "Link", os.WriteFile(young, nil, 0o600), nil)
	defer os.Remove(young)
	left.Close()
	sys.Sweep()
	if _, err := os.Lstat(kept); err != nil {
		t.Errorf("what is young is removed: %v", err)
	}
	old := []unix.Timeval{{Sec: 1}, {Sec: 1}}
	for _, p := range []string{kept, usedName, young} {
		wantErr(t, "Utimes", unix.Utimes(p, old), nil)
	}
	sys.Sweep()
	if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what no process has is left: %v", err)
	}
	for _, p := range []string{usedName, young} {
		if _, err := os.Lstat(p); err != nil {
			t.Error(err)
		}
	}
}
