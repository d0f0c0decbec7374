package sys

// Lock bytes end with their holder: the kernel frees them when the process has died or closed the
// file. Each belongs to an open file, so two FDs of one process have locks of their own.

// locks are what an FD does with lock bytes, on every system.
type locks interface {
	// Lock takes a lock byte, for this FD alone or shared with others that share it. It does not
	// wait, and returns ErrHeld if another open file has the byte.
	Lock(off int64, shared bool) error

	// LockWait waits for a lock byte and takes it. It is for tests: a stopped holder blocks it
	// without limit.
	LockWait(off int64) error

	// Unlock frees n lock bytes from off, in one step.
	Unlock(off, n int64) error

	// Held reports whether an open file other than this one has any of n lock bytes from off for
	// itself alone. Shared locks do not count: a process that may only read the file can take them.
	Held(off, n int64) (bool, error)

	// Shared reports whether an open file other than this one has a lock byte, shared or not.
	Shared(off int64) (bool, error)
}

var _ locks = NoFD

// Lock bytes, all beyond the end of any file.
const (
	GateByte     int64 = 1 << 62
	PresenceByte int64 = GateByte + 15 // shared by all attachments that may only read the file
	SlotByte     int64 = GateByte + 16 // of slot 0; that of slot i is i bytes further
	// PassiveByte is that of a passive attachment in slot 0, which shares SlotByte.
	PassiveByte int64 = SlotByte + 1024
)

// HeldSlot reports whether an attachment other than that of this file has slot i, passive or not.
func (fd FD) HeldSlot(i int) (bool, error) {
	held, err := fd.Held(SlotByte+int64(i), 1)
	if held || err != nil {
		return held, err
	}
	return fd.Held(PassiveByte+int64(i), 1)
}
