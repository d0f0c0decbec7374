// Package step names the steps of every protocol at which a process can die.
//
// A step is reached when everything before it has taken effect and nothing after it has.
// Tests install a hook that kills the process there; without a hook a step costs one load and a branch.
package step

// Point is the name of a step.
type Point string

// The lifecycle of a segment, in the order in which the steps are reached.
const (
	CreateFile     Point = "create.file"     // the nameless file is open
	CreateTemp     Point = "create.temp"     // no O_TMPFILE: the file has its temporary name
	CreateTempGate Point = "create.tempgate" // and its gate is held, so that no sweeper takes it
	CreateAllocate Point = "create.allocate" // the memory is reserved
	CreateMap      Point = "create.map"      // mapped
	CreateControl  Point = "create.control"  // the control block is written
	CreateInit     Point = "create.init"     // Init has run
	CreateSlot     Point = "create.slot"     // the slot is locked
	CreateOwner    Point = "create.owner"    // the owner word is written
	CreateLink     Point = "create.link"     // the name leads here: published
	CreateLost     Point = "create.lost"     // somebody else's name was there first
	CreateNoSpace  Point = "create.nospace"  // ENOSPC: the memory is given back

	AttachOpen    Point = "attach.open"    // the file is open
	AttachRead    Point = "attach.read"    // the control block is read
	AttachGate    Point = "attach.gate"    // the gate is held
	AttachGarbage Point = "attach.garbage" // it is garbage, not unlinked yet
	AttachUnlink  Point = "attach.unlink"  // the garbage is unlinked
	AttachSlot    Point = "attach.slot"    // a slot is locked
	AttachRecord  Point = "attach.record"  // the slot's record is written
	AttachReader  Point = "attach.reader"  // read-only by permission: presence is locked
	AttachRelease Point = "attach.release" // the gate is free again
	AttachMap     Point = "attach.map"     // mapped

	SchemaGate  Point = "schema.gate"  // BoxOf: the gate is held
	SchemaWrite Point = "schema.write" // the schema is written

	DetachGate    Point = "detach.gate"    // the gate is held
	DetachDropped Point = "detach.dropped" // the owner word says dropped
	DetachUnlink  Point = "detach.unlink"  // the name is gone
	DetachRelease Point = "detach.release" // the gate is free again
	DetachDrop    Point = "detach.drop"    // Drop has run
	DetachRetire  Point = "detach.retire"  // the mapping is taken away
	DetachSlot    Point = "detach.slot"    // the slot is free

	OwnGate    Point = "own.gate"
	OwnWord    Point = "own.word"
	OwnRelease Point = "own.release"

	LeakGate Point = "leak.gate"
	LeakWord Point = "leak.word"

	RemoveGate   Point = "remove.gate"
	RemoveUnlink Point = "remove.unlink"

	ReclaimOpen   Point = "reclaim.open"
	ReclaimGate   Point = "reclaim.gate"
	ReclaimUnlink Point = "reclaim.unlink"
)

// Lifecycle lists the steps above.
var Lifecycle = []Point{
	CreateFile, CreateTemp, CreateTempGate, CreateAllocate, CreateMap, CreateControl, CreateInit,
	CreateSlot, CreateOwner, CreateLink, CreateLost, CreateNoSpace,
	AttachOpen, AttachRead, AttachGate, AttachGarbage, AttachUnlink, AttachSlot, AttachRecord,
	AttachReader, AttachRelease, AttachMap,
	SchemaGate, SchemaWrite,
	DetachGate, DetachDropped, DetachUnlink, DetachRelease, DetachDrop, DetachRetire, DetachSlot,
	OwnGate, OwnWord, OwnRelease, LeakGate, LeakWord,
	RemoveGate, RemoveUnlink, ReclaimOpen, ReclaimGate, ReclaimUnlink,
}

var hook func(Point)

// Hook installs f, to be called at every step. It is for tests, before anything else runs.
func Hook(f func(Point)) { hook = f }

// Reach says that p is reached.
func Reach(p Point) {
	if hook != nil {
		hook(p)
	}
}

// Hooked reports whether there is a hook: copies then go word by word.
func Hooked() bool { return hook != nil }
