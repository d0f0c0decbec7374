package ring

import (
	"errors"
	"sync/atomic"
)

// Values of the word Closed of a ring, which is 0 while messages can come. It changes once.
const (
	Ended    = 1 // the stream was ended
	Unlinked = 2 // the name was taken from the segment: no new process comes
)

// HasEnded reports whether Close was called. A ring that is closed because its segment has lost its
// name has not ended.
func HasEnded(closed *atomic.Uint64) bool {
	c := closed.Load()
	return c != 0 && c != Unlinked
}

// What a call finds instead of a message, or of room for one.
var (
	ErrEmpty  = errors.New("ring: empty")
	ErrFull   = errors.New("ring: full")
	ErrClosed = errors.New("ring: closed") // for a consumer: no message will come

	// ErrHeld is returned when the next slot is held: its holder finishes, or Repair frees the
	// slot.
	ErrHeld = errors.New("ring: the next slot is held")
	// ErrReturned is returned by a Take when there may be a message to be taken by Retake.
	ErrReturned = errors.New("ring: a message was returned")
	// ErrBusy is returned when other callers were faster. Nothing was done.
	ErrBusy = errors.New("ring: other callers were faster, try again")
	// ErrTooBig is returned for a message that never fits.
	ErrTooBig = errors.New("ring: message larger than the ring")
	// ErrLapped is returned when a message was overwritten while it was read. The copy is invalid.
	ErrLapped = errors.New("ring: overwritten while it was read")
	// ErrOccupied is returned when an end of the ring has a living holder.
	ErrOccupied = errors.New("ring: this end of the ring has a living holder")
	// ErrNotHeld is returned when the caller has finished the slot, was taken for dead, or has lost
	// its lease.
	ErrNotHeld = errors.New("ring: the slot is not held by the caller")

	ErrCorrupt = errors.New("ring: corrupt")
	ErrShape   = errors.New("ring: wrong number or size of slots")
)
