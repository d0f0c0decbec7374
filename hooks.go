package shmem

// An Initializer prepares a value that was just created. When *T is one, Open and Create call Init
// with the memory all zero, before anyone else can see it, at most once a call.
//
// It must have no effect outside the value: a process that loses the race to create discards what
// it prepared. An error makes Open or Create fail and leaves nothing behind. Locks of package
// psync in the value can be used.
type Initializer interface{ Init() error }

// A Dropper says goodbye to a value. When *T is one, the Close of the owner calls Drop once, after
// the name is gone and before the memory is.
//
// At most once: a process that is killed inside Drop has dropped the value, and the memory of an
// owner that died unseen by anyone is reclaimed without Drop, since its value may be half changed. The
// last one out of an orphaned box drops the value, unless it is attached read-only.
// Other processes may still be attached and use the value meanwhile; it synchronises with them like
// any other code. Drop may use locks of package psync in the value, and may open the same name
// again, which is then a new segment.
type Dropper interface{ Drop() }
