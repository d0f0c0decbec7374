package flaws

// Lifecycle are flaws of the protocol by which segments are created, attached and removed.
// tests/chaos must catch each of them.
var Lifecycle = []Flaw{
	{
		Name:   "late-init",
		Breaks: "Init runs before the name leads to the file.",
		Edits: []Edit{
			{"request.go", "step.Flawed(step.LateInit) {", "true {"},
			{"request.go", "step.Flawed(step.LateInit) &&", "true &&"},
		},
	},
	{
		Name:   "replace",
		Breaks: "A creator takes no name that another segment has.",
		Edits:  []Edit{{"request.go", "step.Flawed(step.Replace)", "true"}},
	},
	{
		Name:   "late-slot",
		Breaks: "The creator's slot is locked before the name leads to the file.",
		Edits: []Edit{
			{"request.go", "!step.Flawed(step.LateSlot)", "false"},
			{"request.go", "if step.Flawed(step.LateSlot)", "if true"},
		},
	},
	{
		Name:   "two-duties",
		Breaks: "Only the owner's Close drops the value and removes the name.",
		Edits:  []Edit{{"owner.go", "step.Flawed(step.TwoDuties)", "true"}},
	},
	{
		Name:   "no-dropped",
		Breaks: "The owner word says that the value was dropped.",
		Edits:  []Edit{{"owner.go", "step.Flawed(step.NoDropped)", "true"}},
	},
	{
		Name:   "own-dropped",
		Breaks: "Own refuses a segment whose value was dropped.",
		Edits:  []Edit{{"owner.go", "!step.Flawed(step.OwnDropped)", "false"}},
	},
	{
		Name:   "no-recheck",
		Breaks: "Attach checks under the gate that the name still leads to the file.",
		Edits:  []Edit{{"attach.go", "!step.Flawed(step.NoRecheck)", "false"}},
	},
	{
		Name:   "no-gate",
		Breaks: "Close holds the gate while it decides and unlinks.",
		Edits: []Edit{
			{"owner.go", "if step.Flawed(step.NoGate) {\n\t\tleave", "if true {\n\t\tleave"},
			{"owner.go", "if step.Flawed(step.NoGate) {\n\t\tstep", "if true {\n\t\tstep"},
		},
	},
	{
		Name:   "by-pid",
		Breaks: "Whether a process is attached is determined by its slot's lock, not by its pid.",
		Edits: []Edit{
			{"attach.go", "step.Flawed(step.ByPID)", "true"},
			{"flaws_off.go", "{ return false, nil }", byPID},
			{"flaws_off.go", "package shmem\n", "package shmem\n\nimport (\n\t\"encoding/binary\"\n\t\"syscall\"\n\n\t\"github.com/shmembox/shmem/internal/format\"\n)\n"},
		},
	},
	{
		Name:   "blind-unlink",
		Breaks: "The owner unlinks its name only if it still leads to its own segment.",
		Edits:  []Edit{{"owner.go", "!step.Flawed(step.BlindUnlink)", "false"}},
	},
	{
		Name:   "same-gen",
		Breaks: "The next tenant of a slot has another generation.",
		Edits:  []Edit{{"attach.go", "step.Flawed(step.SameGen)", "true"}},
	},
	{
		Name:   "reclaim-live",
		Breaks: "Reclaim removes no segment that a process is attached to.",
		Edits:  []Edit{{"remove.go", "!step.Flawed(step.ReclaimLive)", "false"}},
	},
}

// byPID is the body of a function that takes a process for attached if its pid exists. In another PID
// namespace that pid is another process's, or does not exist.
const byPID = `{
	b := make([]byte, int(s.head.SlotCount)*format.SlotSize)
	if _, err := s.file.ReadAt(b, int64(s.head.SlotsOff)); err != nil {
		return false, err
	}
	for i := range int(s.head.SlotCount) {
		pid := binary.NativeEndian.Uint32(b[i*format.SlotSize+format.SlotPID:])
		own := s.id != format.Nobody && uint32(i) == s.id.Slot()
		if pid != 0 && !own && syscall.Kill(int(pid), 0) != syscall.ESRCH {
			return true, nil
		}
	}
	return false, nil
}`
