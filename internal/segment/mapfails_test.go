//go:build linux && !race

package segment

import (
	"errors"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem/internal/step"
)

// limitMemory takes the address space away, so that no file can be mapped, and returns what gives it
// back.
func limitMemory(t *testing.T) (restore func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		t.Fatal(err)
	}
	set := func(cur uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: cur, Max: limit.Max}); err != nil {
			t.Error(err)
		}
	}
	set(1 << 20)
	return func() { set(limit.Cur) }
}

// An attach that cannot map the file has taken no slot: no attachment has counted on it.
func TestMapFails(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	d := dir(t)
	owner := open(t, d)
	restore := func() {}
	var got []step.Point
	step.Hook(func(p step.Point) {
		if got = append(got, p); p == step.AttachOpen {
			restore = limitMemory(t)
		}
	})
	_, err := tryOpen(d, attachOnly)
	step.Hook(nil)
	restore()
	if !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "vm.max_map_count") {
		t.Errorf("%v, want ENOMEM", err)
	}
	if got[len(got)-1] != step.AttachCompare {
		t.Errorf("steps %v: none may follow", got)
	}
	if attached, err := owner.othersAttached(); attached || err != nil || !exists(d) {
		t.Errorf("it is attached: %v, %v, the name exists: %v", attached, err, exists(d))
	}
}

// TestDropOnceWhereMapFails: while a process attaches to an orphan, and from some step on cannot map
// any more, the last other attachment leaves. One of the two drops the value, exactly once: an
// attach that fails is none that another may have counted on.
func TestDropOnceWhereMapFails(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, at := range []step.Point{
		step.AttachOpen, step.AttachMap, step.AttachRelease, step.AttachPopulate,
	} {
		t.Run(string(at), func(t *testing.T) {
			d := dir(t)
			drops := 0
			bound := func(a *Attachment) *Attachment {
				a.Bind(Binding{Drop: func() { drops++ }})
				return a
			}
			owner := bound(open(t, d))
			peer := bound(open(t, d, attachOnly))
			owner.Abandon()
			restore := func() {}
			left := false
			step.Hook(func(p step.Point) {
				if p != at || left {
					return
				}
				left = true
				if err := peer.Detach(false); err != nil {
					t.Error(err)
				}
				restore = limitMemory(t)
			})
			a, err := tryOpen(d, attachOnly)
			step.Hook(nil)
			restore()
			if err == nil {
				err = bound(a).Detach(false)
			} else {
				t.Log(err)
			}
			if drops != 1 || exists(d) {
				t.Errorf("%d drops, want 1; the name exists: %v (%v)", drops, exists(d), err)
			}
		})
	}
}
