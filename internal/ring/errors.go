package ring

import "errors"

// What a call finds instead of a message, or of room for one.
var (
	ErrEmpty    = errors.New("ring: empty")
	ErrFull     = errors.New("ring: full")
	ErrHeld     = errors.New("ring: the next slot is held")                // its holder finishes, or Repair frees it
	ErrBusy     = errors.New("ring: other callers were faster, try again") // nothing was done
	ErrClosed   = errors.New("ring: closed")                               // for a consumer: no message will come
	ErrTooBig   = errors.New("ring: message larger than the ring")         // it never fits
	ErrLapped   = errors.New("ring: overwritten while it was read")        // the copy is invalid
	ErrOccupied = errors.New("ring: this end of the ring has a living holder")
	ErrNotHeld  = errors.New("ring: the slot is not held by the caller") // it was finished, or the caller was taken for dead
	ErrCorrupt  = errors.New("ring: corrupt")
	ErrShape    = errors.New("ring: wrong number or size of slots")
)
