package shmem

// Initializer is implemented by values that need to be prepared. When *T is an Initializer, Open
// and Create call Init on a new value, whose memory is all zero, before another process can see
// it. Init is called at most once by each call of Open or Create.
//
// Init must have no effect outside the value: a process that loses the race to create discards
// what it has prepared. An error makes Open or Create fail and leaves nothing behind, and so does
// the death of the process. Init can use locks of package psync in the value.
//
// A T with a method Init or Drop that is never called is ErrBadType: one of another signature, one
// that is ambiguous between embedded structs, and one on a value receiver, which gets a copy.
type Initializer interface{ Init() error }

// Dropper is implemented by values that need cleanup. When *T is a Dropper, the Close of the owner
// calls Drop once, after the name is unlinked and before the memory is unmapped. The last one to
// leave an orphaned segment drops its value too, unless it is attached read-only.
//
// Drop is called at most once: if the process dies inside Drop, the value counts as dropped. A
// segment that is reclaimed as garbage is not dropped, since its value may be half changed.
//
// Other processes may still be attached and use the value meanwhile; Drop synchronises with them
// like any other code. Drop can use locks of package psync in the value, and can open the same
// name again, which is then a new segment.
type Dropper interface{ Drop() }

// Checker is implemented by values of foreign segments that can tell what they are, by a magic or
// version word. When *T is a Checker, Attach with Options.Foreign and BoxOf of a foreign segment
// call Check before they return the box. An error of Check makes them fail with an error that is
// ErrMismatch too: so an update of the program on the other side is an error, not garbage.
//
// Check reads and does not write. It is called once for each box; a program whose peer may restart
// meanwhile calls it again in Do. At other segments it is not called: their types are compared. In
// a foreign segment, a method Check that is never called is ErrBadType, as Init and Drop are.
type Checker interface{ Check() error }
