package inspect

import (
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/segment"
)

// fate says in a sentence what becomes of the segment. The rules are those of the lifecycle in
// docs: the owner unlinks, the last process to leave an orphan does so in its place, and memory is
// freed when neither a name nor an attachment is left.
func (st *Status) fate() string {
	undo := ""
	if st.Changing && st.ImageOff != 0 {
		undo = "; the next process that locks rolls the change in progress back"
	}
	switch st.State {
	case shmem.Live:
		if segment.IsTemp(st.Name) && st.Linked {
			return "it has a temporary name, by which no process can find it: it is being made, " +
				"or a process died while removing it; shmem gc removes it when none is attached"
		}
		if st.Owner == nil {
			return st.fateWithoutOwner(undo)
		}
		return st.fateLive(undo)
	case shmem.Orphaned:
		return st.fateOrphaned(undo)
	case shmem.Idle:
		if !st.Linked {
			return "its name is gone and it has no owner: the memory is freed with the last " +
				"process attached" + undo
		}
		if st.Unread > 0 && st.Lifetime == shmem.Shared {
			return fmt.Sprintf("it stays for its %d unread messages: the next Open finds them, "+
				"and shmem rm removes it", st.Unread) + undo
		}
		return "it has no owner: it stays until a process owns it or removes it (shmem rm)" + undo
	case shmem.Garbage:
		if segment.IsTemp(st.Name) {
			return "a process died while making or removing it: shmem gc removes it"
		}
		if st.OwnerWord == "dropped" {
			return "its owner has dropped the value but was killed before it unlinked the name; " +
				"the next Open starts afresh, shmem gc removes it"
		}
		if st.Lifetime == shmem.Shared {
			return "it is shared and no process is attached: the next Open starts afresh, " +
				"shmem gc removes it"
		}
		return "its owner has died and no process is attached: the next Open starts afresh, " +
			"shmem gc removes it"
	case shmem.Foreign:
		return "a file of another program, which nothing but shmem rm unlinks; it refuses while " +
			"a process uses the file"
	case shmem.Copied:
		return "it is a copy of a segment: no process can attach, and only shmem rm removes it"
	case shmem.OtherVersion:
		return "it is of another format version and may be in use by programs of that version: " +
			"only shmem rm removes it"
	case shmem.Damaged:
		return "its control block cannot be trusted: no process can attach, and only shmem rm " +
			"removes it"
	}
	return ""
}

// fateWithoutOwner is the fate of a segment that is attached, and shared or kept.
func (st *Status) fateWithoutOwner(undo string) string {
	switch {
	case !st.Linked:
		return "its name is gone: the memory is freed with the last process attached" + undo
	case st.Lifetime == shmem.Kept:
		return "it has no owner: it stays until a process owns it or removes it (shmem rm)" + undo
	}
	unread := ""
	if st.Type == layout.QueueName || st.Type == layout.BytesName {
		unread = "; with unread messages it stays"
	}
	return "it is shared: the last process to leave removes it" + unread + undo
}

// fateLive is the fate of a segment whose owner is attached. The owner is one of st.Peers.
func (st *Status) fateLive(undo string) string {
	switch n := len(st.Peers); {
	case !st.Linked:
		return "its name is gone: when the owner closes or dies, no process can find it any " +
			"more; the memory is freed with the last process attached"
	case n == 2:
		return "if the owner dies: the other process attached goes on; when it leaves it drops " +
			"the value and unlinks the name" + undo
	case n > 2:
		return fmt.Sprintf("if the owner dies: the %d others attached go on; the last one to "+
			"leave drops the value and unlinks the name%s", n-1, undo)
	}
	return "if the owner dies: it is garbage; the next Open starts afresh, and shmem gc " +
		"removes it" + undo
}

// fateOrphaned is the fate of a segment whose owner died while other processes were attached. A
// reader without a slot keeps it from being garbage, but cannot clean it up.
func (st *Status) fateOrphaned(undo string) string {
	switch n := len(st.Peers); {
	case n == 0:
		return "its owner has died, and only readers without a slot are attached: it is garbage " +
			"when they leave" + undo
	case !st.Linked:
		return fmt.Sprintf("its owner has died and its name is gone; the last one of %d attached "+
			"to leave drops the value, and the memory is freed with it%s", n, undo)
	default:
		return fmt.Sprintf("its owner has died; the last one of %d attached to leave drops the "+
			"value and unlinks the name, unless a process owns it before%s", n, undo)
	}
}
