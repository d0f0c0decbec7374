package mem

import "github.com/shmembox/shmem/internal/errs"

// Sentinels under the names that this package had for them.
var (
	ErrReadOnly  = errs.ReadOnly
	ErrCorrupt   = errs.Corrupt
	ErrOwnerDied = errs.OwnerDied
)
