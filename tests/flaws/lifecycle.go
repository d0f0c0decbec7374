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
		Edits: []Edit{
			{detach, "mine := o.State == format.Owned && o.ID == a.id", "mine := o.State == format.Owned"},
			{detach, "mine := o.State == format.Owned && o.ID == l.id", "mine := o.State == format.Owned"},
		},
	},
	{
		Name:   "no-dropped",
		Breaks: "The owner word says that the value was dropped.",
		Edits: []Edit{{
			detach,
			"if err := l.setOwner(format.Owner{State: format.Dropped}); err != nil {",
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
		Edits:  []Edit{{attach, "if o.path != \"\" {\n\t\tthere, err", "if false {\n\t\tthere, err"}},
	},
	{
		Name:   "no-gate",
		Breaks: "Close holds the gate while it decides and unlinks.",
		Edits: []Edit{
			{detach, "\tif l.leak {\n\t\tstep.Reach(step.LeakGate)", "\tl.leave()\n\tif l.leak {\n\t\tstep.Reach(step.LeakGate)"},
			// A gate that is not held is no use here: let the checker stop the process once more.
			{detach, "\tif err := l.setOwner(format.Owner{State: format.Dropped})", "\tstep.Reach(step.DetachGate)\n\tif err := l.setOwner(format.Owner{State: format.Dropped})"},
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
		Edits:  []Edit{{"internal/segment/reclaim.go", "\tgarbage, err := c.garbageAtGate(owner)\n", "\tstays, err := c.stays(owner)\n\tgarbage := !stays\n"}},
	},
	{
		Name:   "look-before",
		Breaks: "An attachment that leaves unlocks its slot first and looks for others afterwards.",
		Edits: []Edit{{
			detach,
			"\tcase !mine && !l.leak && !alone:\n\t\tl.unlock()\n",
			"\tcase !mine && !l.leak && !alone:\n" +
				"\t\tif others, err := a.othersAttached(); others || err != nil {\n" +
				"\t\t\tstep.Reach(step.DetachLook)\n\t\t\tl.unlock()\n\t\t\treturn false, err\n\t\t}\n",
		}},
	},
	{
		Name:   "no-reread",
		Breaks: "One that has seen others at the gate looks again when its slot is unlocked.",
		Edits:  []Edit{{detach, "return false, l.hasSlot && err == nil, err", "return false, false, err"}},
	},
	{
		Name:   "garbage-drops",
		Breaks: "An Open that unlinks garbage leaves the owner word to those that leave.",
		Edits: []Edit{{
			attach,
			"\tif err := sys.Unlink(o.path); err != nil &&",
			"\t_ = a.setOwner(format.Owner{State: format.Dropped})\n\tif err := sys.Unlink(o.path); err != nil &&",
		}},
	},
	{
		Name:   "close-unread",
		Breaks: "The last Close leaves a shared queue that has unread messages.",
		Edits:  []Edit{{detach, "l.staysAtGate(o)", "l.staysIf(o, func() (bool, error) { return false, nil })"}},
	},
	{
		Name:   "open-unread",
		Breaks: "Open attaches to a shared queue that has unread messages and no attachment.",
		Edits: []Edit{{
			attach,
			"o.recheck(a, t, a.garbageAtGate)",
			"o.recheck(a, t, func(w format.Owner) (bool, error) {\n" +
				"\t\treturn a.garbageIf(w, func(w format.Owner) (bool, error) {\n" +
				"\t\t\treturn a.staysIf(w, func() (bool, error) { return false, nil })\n\t\t})\n\t})",
		}},
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
