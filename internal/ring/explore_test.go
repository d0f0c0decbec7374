package ring

import (
	"os"
	"testing"

	"github.com/shmembox/shmem/internal/access/accesstest"
)

// world is one run of a case in every order: see accesstest.
type world = accesstest.World

// The environment variable SHMEM_TESTS says how far the explorer goes:
//
//   - unset: every case up to boundedStates states, in a random order that is the same every time;
//   - full: every state of the usual cases, about one minute of processor time (CI);
//   - long: the large cases too, and the other tests repeat more often, minutes (nightly).
var (
	long = os.Getenv("SHMEM_TESTS") == "long"
	full = long || os.Getenv("SHMEM_TESTS") == "full"
)

const (
	boundedStates = 20_000
	mostStates    = 10_000_000
)

// exhaust explores a case and fails the test on an error. A large case runs only when long is set.
// The explorer runs one actor at a time: race builds, which are slow, find nothing more by it, and
// skip it.
func exhaust(t *testing.T, name string, kills int, large bool, build func(w *world) func() error) {
	t.Helper()
	switch {
	case large && !long || (raceEnabled || testing.Short()) && !full:
		t.Logf("not now: %s", name)
	case full:
		accesstest.Exhaust(t, name, kills, mostStates, false, build)
	default:
		accesstest.Exhaust(t, name, kills, boundedStates, true, build)
	}
}
