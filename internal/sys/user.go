package sys

// An owned is what an FD says of the user that the file belongs to.
type owned interface {
	// Owned reports whether the kernel takes this process for the file's owner, or for a process
	// with the owner's rights. Unlike a comparison of ids that holds in a user namespace, too.
	Owned() bool
}

// The functions of users and processes.
var (
	_ owned = NoFD

	// OverflowUID and OverflowGID return the ids that stand for every user and group that a user
	// namespace does not map.
	_ func() uint32 = OverflowUID

	// OverflowGID is documented at OverflowUID.
	_ func() uint32 = OverflowGID

	// GroupID returns the id of a group in /etc/group.
	_ func(name string) (id uint64, ok bool) = GroupID

	// MayUnlink returns nil if this process may unlink the file in dir, else the reason.
	_ func(dir string, file FD) error = MayUnlink

	// PIDNamespace returns a number of this process's PID namespace, 0 if unknown. Where the system
	// has no namespaces it is 1.
	_ func() uint64 = PIDNamespace
)
