package pool

import (
	"os"
	"testing"

	"github.com/shmembox/shmem/internal/access/accesstest"
)

// world is one run of a case in every order: see accesstest.
type world = accesstest.World

// exhaust explores a case up to 2,000 states, or a million: see SHMEM_TESTS in CONTRIBUTING.md.
func exhaust(t *testing.T, name string, kills int, build func(w *world) func() error) {
	t.Helper()
	limit := 2_000
	if full {
		limit = 1_000_000
	}
	accesstest.Exhaust(t, name, kills, limit, true, build)
}

var full = os.Getenv("SHMEM_TESTS") == "full" || os.Getenv("SHMEM_TESTS") == "long"
