package mem

import "errors"

// Errors that more than one layer answers with; the public packages export them under the same names.
var (
	ErrReadOnly  = errors.New("attached read-only")
	ErrCorrupt   = errors.New("the segment's bookkeeping is corrupt")
	ErrOwnerDied = errors.New("the process that held the lock died; Recover repairs the value and reopens it")
)
