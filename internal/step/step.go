// Package step names the steps of every protocol at which a process can die.
//
// A step is reached when everything before it has taken effect and nothing after it has. Tests
// install a hook that kills the process there; without a hook a step costs one load and a branch.
package step

// Point is the name of a step.
type Point string

// The lifecycle of a segment, in the order in which the steps are reached.
const (
	CreateFile     Point = "create.file"     // the file without a name is open
	CreateTemp     Point = "create.temp"     // no O_TMPFILE: the file has its temporary name
	CreateTempGate Point = "create.tempgate" // its gate is held, so that Reclaim leaves it alone
	CreateAllocate Point = "create.allocate" // the memory is reserved
	CreateMap      Point = "create.map"      // the file is mapped, its pages are present
	CreateSlot     Point = "create.slot"     // slot 0 is locked
	CreateControl  Point = "create.control"  // slot record and long schema are written
	CreateOwner    Point = "create.owner"    // the header page with the owner word is written
	CreateInit     Point = "create.init"     // Init has run
	CreateLink     Point = "create.link"     // the name leads to the file: published
	CreateLost     Point = "create.lost"     // instead: the name exists
	CreateNoSpace  Point = "create.nospace"  // instead, after ENOSPC: the memory is free again

	AttachOpen     Point = "attach.open"     // the file is open
	AttachCompare  Point = "attach.compare"  // the type is decoded and compared
	AttachMap      Point = "attach.map"      // the file is mapped
	AttachGate     Point = "attach.gate"     // the gate is held
	AttachRead     Point = "attach.read"     // header and first slots are read
	AttachGarbage  Point = "attach.garbage"  // the segment is garbage, not unlinked yet
	AttachUnlink   Point = "attach.unlink"   // the garbage is unlinked
	AttachSlot     Point = "attach.slot"     // a slot is locked
	AttachRecord   Point = "attach.record"   // the slot's record is written
	AttachReader   Point = "attach.reader"   // read-only by permission: the presence byte is locked
	AttachRelease  Point = "attach.release"  // the gate is free
	AttachCounted  Point = "attach.counted"  // waiters for events are rung
	AttachPopulate Point = "attach.populate" // its pages are present, where that was asked for

	SchemaGate  Point = "schema.gate"  // BoxOf: the gate is held
	SchemaWrite Point = "schema.write" // the schema is written

	DetachRead    Point = "detach.read"    // owner word and first slots are read
	DetachUnlock  Point = "detach.unlock"  // the slot is free, unless this is likely the last one
	DetachLook    Point = "detach.look"    // whether another slot is locked is known
	DetachGate    Point = "detach.gate"    // the gate is held
	DetachUnread  Point = "detach.unread"  // whether it stays, or others are attached, is known
	DetachDropped Point = "detach.dropped" // the owner word says Dropped
	DetachUnlink  Point = "detach.unlink"  // the name is unlinked
	DetachRelock  Point = "detach.relock"  // the slot is locked again, for Drop
	DetachRelease Point = "detach.release" // the gate is free
	DetachTold    Point = "detach.told"    // the others know that the name is gone
	DetachCounted Point = "detach.counted" // instead: waiters for events are rung
	DetachDrop    Point = "detach.drop"    // Drop has run
	DetachRetire  Point = "detach.retire"  // the mapping is removed
	DetachSlot    Point = "detach.slot"    // the file is closed, with what it had locked

	OwnGate    Point = "own.gate"    // the gate is held
	OwnWord    Point = "own.word"    // the owner word names the caller
	OwnRelease Point = "own.release" // the gate is free
	OwnCounted Point = "own.counted" // waiters for events are rung

	LeakGate Point = "leak.gate" // the gate is held
	LeakWord Point = "leak.word" // the owner word says Kept

	RemoveGate    Point = "remove.gate"    // the gate is held, or cannot be had
	RemoveRenamed Point = "remove.renamed" // the file has a temporary name
	RemoveUnlink  Point = "remove.unlink"  // the name is unlinked
	RemoveTold    Point = "remove.told"    // the attachments know it

	ReclaimOpen   Point = "reclaim.open"   // the file is open
	ReclaimGate   Point = "reclaim.gate"   // the gate is held
	ReclaimUnlink Point = "reclaim.unlink" // the name is unlinked
)

// Lifecycle lists the steps above.
var Lifecycle = []Point{
	CreateFile, CreateTemp, CreateTempGate, CreateAllocate, CreateMap, CreateSlot, CreateControl,
	CreateOwner, CreateInit, CreateLink, CreateLost, CreateNoSpace,
	AttachOpen, AttachCompare, AttachMap, AttachGate, AttachRead, AttachGarbage, AttachUnlink,
	AttachSlot, AttachRecord, AttachReader, AttachRelease, AttachCounted, AttachPopulate,
	SchemaGate, SchemaWrite,
	DetachRead, DetachUnlock, DetachLook, DetachGate, DetachUnread, DetachDropped, DetachUnlink,
	DetachRelock, DetachRelease, DetachTold, DetachCounted, DetachDrop, DetachRetire, DetachSlot,
	OwnGate, OwnWord, OwnRelease, OwnCounted, LeakGate, LeakWord,
	RemoveGate, RemoveRenamed, RemoveUnlink, RemoveTold, ReclaimOpen, ReclaimGate, ReclaimUnlink,
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
