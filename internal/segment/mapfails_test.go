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

// An attach that cannot map the file leaves the segment as Close does: it is no attachment that
// stays, and the last one of an orphaned segment cleans up.
func TestMapFails(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, last := range []bool{false, true} {
		d := dir(t)
		owner := open(t, d)
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_AS, &limit); err != nil {
			t.Fatal(err)
		}
		set := func(cur uint64) {
			if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: cur, Max: limit.Max}); err != nil {
				t.Error(err)
			}
		}
		step.Hook(func(p step.Point) {
			switch p {
			case step.AttachRelease:
				if last {
					owner.Abandon()
				}
				set(1 << 20) // no address space from here on
			case step.DetachGate:
				set(limit.Cur)
			}
		})
		_, err := tryOpen(d, attachOnly)
		step.Hook(nil)
		set(limit.Cur)
		if !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "vm.max_map_count") {
			t.Errorf("%v, want ENOMEM", err)
		}
		if exists(d) == last {
			t.Errorf("the name exists: %v; the owner has died: %v", exists(d), last)
		}
		if attached, err := owner.othersAttached(); !last && (attached || err != nil) {
			t.Errorf("the attachment stays: %v, %v", attached, err)
		}
	}
}
