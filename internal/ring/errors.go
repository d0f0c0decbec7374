package ring

import "errors"

// What a call found instead of a message or room for one.
var (
	ErrEmpty    = errors.New("ring: empty")
	ErrFull     = errors.New("ring: full")
	ErrHeld     = errors.New("ring: the next slot is in somebody's hands") // he finishes, or Repair helps
	ErrBusy     = errors.New("ring: others are at it, try again")          // nothing was done
	ErrClosed   = errors.New("ring: closed")                               // for consumers: nothing will come any more
	ErrTooBig   = errors.New("ring: message larger than the ring")         // for ever
	ErrLapped   = errors.New("ring: overwritten while it was read")        // what was copied is worthless
	ErrOccupied = errors.New("ring: another one has this end of the ring")
	ErrNotHeld  = errors.New("ring: the slot is not held by the caller") // finished already, or taken from the dead
	ErrCorrupt  = errors.New("ring: corrupt")
	ErrShape    = errors.New("ring: wrong number or size of slots")
)
