package format

import "fmt"

const (
	slotBits = 10
	slotMask = 1<<slotBits - 1
)

// GenMask holds the bits of a generation.
const GenMask = 1<<21 - 1

// WaitersBit is the bit of a lock word that no ID uses.
const WaitersBit = 1 << 31

// An ID names an attachment: its slot and the generation of the slot, in 31 bits.
type ID uint32

// IDs of generation 0 name no attachment.
const (
	NoID  ID = 0 // a free word
	Dead  ID = 1 // the holder died
	Local ID = 2 // this process, outside any segment
)

// MakeID returns the ID of generation gen of a slot. It drops excess bits.
func MakeID(gen, slot uint32) ID { return ID(gen&GenMask<<slotBits | slot&slotMask) }

// Slot returns the number of the slot.
func (id ID) Slot() uint32 { return uint32(id) & slotMask }

// Gen returns the generation, 0 if id names no attachment.
func (id ID) Gen() uint32 { return uint32(id) >> slotBits & GenMask }

// NextGen returns the generation after gen, never 0.
func NextGen(gen uint32) uint32 {
	if gen = (gen + 1) & GenMask; gen == 0 {
		return 1
	}
	return gen
}

// An OwnerState says whether a segment has an owner, and what happens without one.
type OwnerState uint32

const (
	NoOwner OwnerState = iota // not decided yet
	Owned                     // by the attachment in Owner.ID, while it lives
	Kept                      // stays until it is owned or removed
	Dropped                   // the value was dropped; no process may attach
	Shared                    // no owner: the last attachment cleans up
)

// An Owner is the owner word of a segment.
type Owner struct {
	State OwnerState
	ID    ID // of the owner, if Owned
}

// Word returns the owner word.
func (o Owner) Word() uint64 { return uint64(o.State)<<32 | uint64(o.ID) }

// OwnerOf returns the owner that a word of the control block names; see [Owner.Valid].
func OwnerOf(word uint64) Owner { return Owner{OwnerState(word >> 32), ID(uint32(word))} }

// Valid reports whether the state exists, and o names an attachment exactly if there is an owner.
func (o Owner) Valid() bool {
	if o.State == Owned {
		return o.ID.Gen() != 0 && o.ID&WaitersBit == 0
	}
	return o.State <= Shared && o.ID == NoID
}

// String returns the state in a word.
func (s OwnerState) String() string {
	switch s {
	case NoOwner:
		return "none"
	case Owned:
		return "owned"
	case Kept:
		return "kept"
	case Dropped:
		return "dropped"
	case Shared:
		return "shared"
	}
	return "invalid"
}

// A Lifetime says when a segment ends. The header says as which lifetime a segment was created.
type Lifetime uint32

const (
	LifetimeOwned  Lifetime = iota + 1 // when its owner detaches
	LifetimeShared                     // when the last attachment leaves
	LifetimeKept                       // by Remove, or by a process that owns it
)

// String returns the lifetime in a word.
func (l Lifetime) String() string {
	if l < LifetimeOwned || l > LifetimeKept {
		return fmt.Sprintf("Lifetime(%d)", int(l))
	}
	return [...]string{"owned", "shared", "kept"}[l-1]
}

// A Form says which ring the payload is, so that unread messages are found without its type.
type Form uint32

const (
	FormValue       Form = iota // no ring: a value, or raw bytes
	FormQueue                   // queue of messages of one type
	FormSingle                  // the same, for one sender and one receiver
	FormBytes                   // queue of bytes
	FormSingleBytes             // the same, for one sender and one receiver
	FormTopic
)
