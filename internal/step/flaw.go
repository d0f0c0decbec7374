package step

// A Flaw is a deliberate fault of the protocol. The chaos run builds the library with the tag
// shmemflaws and turns one on, to show that its checker sees it. Without the tag there is none.
type Flaw string

// Every flaw there is.
const (
	NoRecheck   Flaw = "no-recheck"   // attach does not look whether the name still leads to the file once it has the gate
	NoGate      Flaw = "no-gate"      // close does not take the gate
	LateSlot    Flaw = "late-slot"    // the creator's slot is locked only once the name leads to the file
	LateInit    Flaw = "late-init"    // Init runs once the name leads to the file
	Replace     Flaw = "replace"      // a creator takes the name from whoever has it
	ByPID       Flaw = "by-pid"       // who is attached is told by the pids in the slots, not by their locks
	TwoDuties   Flaw = "two-duties"   // close takes any owner for itself
	NoDropped   Flaw = "no-dropped"   // the owner word does not say that the value was dropped
	BlindUnlink Flaw = "blind-unlink" // the owner unlinks whatever has the name
	SameGen     Flaw = "same-gen"     // the next tenant of a slot has the same id
	ReclaimLive Flaw = "reclaim-live" // Reclaim does not look who is attached
	OwnDropped  Flaw = "own-dropped"  // what was dropped can be owned again
)

// Flaws lists them.
var Flaws = []Flaw{
	LateInit, Replace, LateSlot, TwoDuties, NoDropped, OwnDropped,
	NoRecheck, NoGate, ByPID, BlindUnlink, SameGen, ReclaimLive,
}
