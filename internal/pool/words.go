package pool

import "sync/atomic"

// A Header is the part of a pool that belongs to no buffer. Armed is the caller's.
type Header struct {
	Armed   atomic.Uint32 // of those who wait for a free buffer
	_       [124]byte
	Dead    atomic.Uint64 // count of shares that dead attachments held
	Expired atomic.Uint64 // count of shares in flight whose deadline passed
	_       [112]byte
}

// A State is the word of a buffer.
type State uint64

const (
	takenBit    = 1 << 63
	versionBits = 23
	versionMask = 1<<versionBits - 1
	genBits     = 40
	genMask     = 1<<genBits - 1
)

func newState(taken bool, gen, version uint64) State {
	s := gen&genMask<<versionBits | version&versionMask
	if taken {
		s |= takenBit
	}
	return State(s)
}

// Taken reports whether the buffer is taken.
func (s State) Taken() bool { return s&takenBit != 0 }

// Gen returns how many times the buffer was taken.
func (s State) Gen() uint64 { return uint64(s) >> versionBits & genMask }

func (s State) version() uint64 { return uint64(s) & versionMask }

// is reports whether the buffer is taken, for the time of that number.
func (s State) is(gen uint64) bool { return s.Taken() && s.Gen() == gen }

func (s State) joined() State { return newState(true, s.Gen(), s.version()+1) }
func (s State) taken() State  { return newState(true, s.Gen()+1, s.version()+1) }
func (s State) freed() State  { return newState(false, s.Gen(), s.version()+1) }

// A Share is the word of a share.
type Share uint64

const (
	flightBit = 1 << 63
	idMask    = 1<<31 - 1
)

// Held returns the share of an attachment that holds the buffer n times.
func Held(id, n uint32) Share { return Share(uint64(id&idMask)<<32 | uint64(n)) }

// InFlight returns a share in flight. The ticket has 31 bits. The deadline is in ms.
func InFlight(ticket, deadline uint32) Share {
	return Share(flightBit | uint64(ticket&idMask)<<32 | uint64(deadline))
}

// Flies reports whether the share is in flight.
func (s Share) Flies() bool { return s&flightBit != 0 }

// ID returns the id of the attachment, or the ticket of a share in flight.
func (s Share) ID() uint32 { return uint32(s>>32) & idMask }

// Count returns how many times the attachment holds the buffer.
func (s Share) Count() uint32 { return uint32(s) }

// Expired reports whether a share in flight has passed its deadline, or has one that is later than
// any that HandOver sets.
func (s Share) Expired(now uint32) bool {
	left := int32(uint32(s) - now)
	return left < 0 || left > MaxLease
}
