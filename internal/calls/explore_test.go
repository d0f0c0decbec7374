package calls

import (
	"os"
	"testing"

	"github.com/shmembox/shmem/internal/access/accesstest"
)

// world is one run of a case in every order: see accesstest.
type world = accesstest.World

// exhaust explores a case up to 10,000 states, or a million: see SHMEM_TESTS in CONTRIBUTING.md.
func exhaust(t *testing.T, name string, kills int, build func(w *world) func() error) {
	t.Helper()
	limit := 10_000 // the mistakes of TestBrokenIsCaught, made in Table itself, are found by then
	if full {
		limit = 1_000_000
	}
	accesstest.Exhaust(t, name, kills, limit, true, build)
}

var full = os.Getenv("SHMEM_TESTS") == "full" || os.Getenv("SHMEM_TESTS") == "long"
