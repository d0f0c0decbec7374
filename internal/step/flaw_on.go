//go:build shmemflaws

package step

import "os"

// WithFlaws reports whether this program was built to be faulty.
const WithFlaws = true

var flaw = Flaw(os.Getenv("SHMEM_FLAW"))

// Flawed reports whether the fault f is turned on.
func Flawed(f Flaw) bool { return f == flaw }
