package wait_test

import (
	"os"
	"strings"
	"testing"

	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
)

// TestWatchesOfReopened: a process that attaches again and again, and lives on, is watched by one
// descriptor, and does not use up those of others.
func TestWatchesOfReopened(t *testing.T) {
	path, s, _ := newSeg(t)
	before := pidfds(t)
	for range 20 {
		peer, _, err := attach(path, waittest.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		// It is attached by another process, for all that this one can see.
		s.M.Peers.Slot(int(peer.Self.Slot())).PID.Store(uint32(os.Getppid()))
		wait.Watch(s.M, peer.Self)
		if n := pidfds(t) - before; n > 1 {
			t.Fatalf("%d descriptors watch one attachment", n)
		}
		peer.Close()
	}
}

// pidfds returns how many descriptors of processes this process has open.
func pidfds(t *testing.T) (n int) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range open {
		to, _ := os.Readlink("/proc/self/fd/" + f.Name())
		if strings.Contains(to, "pidfd") {
			n++
		}
	}
	return n
}
