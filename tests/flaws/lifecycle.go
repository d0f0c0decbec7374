package flaws

// Lifecycle are flaws of the protocol by which segments are created, attached and removed.
// tests/chaos must catch each of them.
var Lifecycle = []Flaw{
	{
		Name:   "late-init",
		Breaks: "Init runs before the name leads to the file.",
		Edits: []Edit{
			{create, "\tif err := o.initValue(a); err != nil {\n\t\treturn err\n\t}\n", ""},
			{create, published, "\t_ = o.initValue(a)\n" + published},
		},
	},
	{
		Name:   "replace",
		Breaks: "A creator takes no name that another segment has.",
		Edits:  []Edit{{create, "\t\tif err := o.link(a)", "\t\t_ = sys.Unlink(o.path)\n\t\tif err := o.link(a)"}},
	},
	{
		Name:   "late-slot",
		Breaks: "The creator's slot is locked before the name leads to the file.",
		Edits: []Edit{
			{create, "\tif err := a.file.Lock(sys.SlotByte, false); err != nil {\n\t\treturn err\n\t}\n", ""},
			{create, published, "\t_ = a.file.Lock(sys.SlotByte, false)\n" + published},
		},
	},
	{
		Name:   "two-duties",
		Breaks: "Only the owner's Close drops the value and removes the name.",
		Edits:  []Edit{{detach, "if o.ID == a.id {", "if true {"}},
	},
	{
		Name:   "no-dropped",
		Breaks: "The owner word says that the value was dropped.",
		Edits: []Edit{{
			detach,
			"if err := a.setOwner(format.Owner{State: format.Dropped}); err != nil {",
			"if err := error(nil); err != nil {",
		}},
	},
	{
		Name:   "own-dropped",
		Breaks: "Own refuses a segment whose value was dropped.",
		Edits:  []Edit{{owner, "if o.State == format.Dropped {", "if false && o.State == format.Dropped {"}},
	},
	{
		Name:   "no-recheck",
		Breaks: "Attach checks under the gate that the name still leads to the file.",
		Edits:  []Edit{{attach, "if o.path != \"\" {\n\t\tif there", "if false {\n\t\tif there"}},
	},
	{
		Name:   "no-gate",
		Breaks: "Close holds the gate while it decides and unlinks.",
		Edits: []Edit{
			{detach, "\tif leak {\n\t\tstep.Reach(step.LeakGate)", "\ta.leave()\n\tif leak {\n\t\tstep.Reach(step.LeakGate)"},
			// A gate that is not held is no use here: let the checker stop the process once more.
			{detach, "\tif err := a.setOwner(format.Owner{State: format.Dropped})", "\tstep.Reach(step.DetachGate)\n\tif err := a.setOwner(format.Owner{State: format.Dropped})"},
		},
	},
	{
		Name:   "by-pid",
		Breaks: "Whether a process is attached is determined by its slot's lock, not by its pid.",
		Edits: []Edit{
			{control, "return c.file.Held(sys.SlotByte, int64(c.head.SlotCount))", "return c.byPID(format.NoID)"},
			{"internal/segment/flaw.go", "", byPID},
		},
	},
	{
		Name:   "blind-unlink",
		Breaks: "The owner unlinks its name only if it still leads to its own segment.",
		Edits:  []Edit{{detach, "err != nil || !there.Same(a.stat)", "err != nil || false && !there.Same(a.stat)"}},
	},
	{
		Name:   "same-gen",
		Breaks: "The next tenant of a slot has another generation.",
		Edits:  []Edit{{"internal/segment/slot.go", "\ta.id = format.MakeID(gen, slot)", "\tgen = 1\n\ta.id = format.MakeID(gen, slot)"}},
	},
	{
		Name:   "owner-counts",
		Breaks: "After the death of an owner the segment is what it was created as.",
		Edits:  []Edit{{lifetime, "\tswitch c.lasting(o) {", "\tif o.State == format.Owned {\n\t\treturn false, nil\n\t}\n\tswitch c.lasting(o) {"}},
	},
	{
		Name:   "reclaim-live",
		Breaks: "Reclaim removes no segment that a process is attached to.",
		Edits:  []Edit{{"internal/segment/reclaim.go", "\treturn c.garbage(owner)", "\tstays, err := c.stays(owner)\n\treturn !stays, err"}},
	},
}

// The files that most flaws edit.
const (
	create   = "internal/segment/create.go"
	attach   = "internal/segment/attach.go"
	control  = "internal/segment/control.go"
	detach   = "internal/segment/detach.go"
	owner    = "internal/segment/owner.go"
	lifetime = "internal/segment/lifetime.go"
)

// published is the end of opening.publish.
const published = "\to.prepared = nil\n\treturn a, nil"

// byPID is a file that takes a process for attached if its pid exists. In another PID namespace
// that pid is another process's, or does not exist. The method of Attachment hides that of the
// control in it.
const byPID = `package segment

import (
	"encoding/binary"
	"syscall"

	"github.com/shmembox/shmem/internal/format"
)

func (a *Attachment) othersAttached() (bool, error) { return a.byPID(a.id) }

func (c *control) byPID(self format.ID) (bool, error) {
	b := make([]byte, int(c.head.SlotCount)*format.SlotSize)
	if err := c.readSlots(b, 0); err != nil {
		return false, err
	}
	for i := range int(c.head.SlotCount) {
		pid := binary.NativeEndian.Uint32(b[i*format.SlotSize+format.SlotPID:])
		own := self != format.NoID && uint32(i) == self.Slot()
		if pid != 0 && !own && syscall.Kill(int(pid), 0) != syscall.ESRCH {
			return true, nil
		}
	}
	return false, nil
}
`
