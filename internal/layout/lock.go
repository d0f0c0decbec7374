package layout

// The locks of package psync, as they stand in the value of a box. Each is a few words of 4 or 8
// bytes in the machine's byte order; a lock whose bytes are all zero is free and ready to use.
// Other languages and package inspect read these bytes, so a field of a psync type never moves:
// TestLayout in package psync compares the Go structs with the constants below.
//
// Every type begins with its state and has an "armed" word right behind it. A waiter sets bit 0 of
// the armed word before it sleeps. The offset of the armed word also names the object, see
// [Bucket].

// Offsets in a psync.Mutex of 8 bytes.
const (
	MutexWord  = 0 // lock word: id of the holder, format.Dead, and format.WaitersBit
	MutexArmed = 4
	MutexSize  = 8
)

// Offsets in a psync.RWMutex.
const (
	RWMutexWord    = 0 // lock word of the writer
	RWMutexArmed   = 4
	RWMutexDrained = 8 // armed word of a writer that waits for readers to leave
	// RWMutexReaders entries; an entry counts the goroutines of an attachment that read
	RWMutexMarks   = 16
	RWMutexReaders = 30
	RWMutexSize    = RWMutexMarks + EntrySize*RWMutexReaders
)

// Offsets in a psync.Semaphore.
const (
	SemaphoreWord     = 0 // lock word of the table of holders
	SemaphoreArmed    = 4 // armed word of that lock
	SemaphoreLimit    = 8
	SemaphoreFreed    = 12 // armed word of a waiter for permits
	SemaphoreReserved = 16 // an entry: permits that are kept for an attachment that waits for them
	SemaphoreWaited   = 24 // how long it had waited when it reserved them, in ms
	SemaphoreHolds    = 32 // SemaphoreHolders entries; an entry counts the permits of an attachment
	SemaphoreHolders  = 30
	SemaphoreSize     = SemaphoreHolds + EntrySize*SemaphoreHolders
)

// The tables of RWMutex and Semaphore have entries of EntrySize bytes. An entry is changed as a
// whole: the id of its attachment << 32, and a count. 0 is a free entry. EntryFlag is set in the
// entry of a reader when a writer wants to be woken as the reader leaves.
const (
	EntrySize = 8
	EntryFlag = 1 << 31
)

// Offsets in a psync.Event of 16 bytes; the last 4 are spare.
const (
	// A word of 8 bytes, changed as a whole: the count of changes << 32, odd if the event is set,
	// and the id of the attachment that promised to set it next, 0: none
	EventState = 0
	EventArmed = 8
	EventSize  = 16
)

// Offsets in a psync.Cond of 8 bytes.
const (
	CondCount = 0 // signals sent so far
	CondArmed = 4
	CondSize  = 8
)

// Offsets in a psync.Once of 16 bytes; the last 4 are spare.
const (
	OnceWord  = 0 // lock word: id of the process that runs the function
	OnceArmed = 4
	OnceDone  = 8 // not 0: the function has run
	OnceSize  = 16
)

// Armed returns the offsets of the armed words of a psync type, by its name in a schema such as
// "psync.Mutex". It returns nil for other names.
func Armed(name string) []int {
	switch name {
	case "psync.Mutex":
		return []int{MutexArmed}
	case "psync.RWMutex":
		return []int{RWMutexArmed, RWMutexDrained}
	case "psync.Semaphore":
		return []int{SemaphoreArmed, SemaphoreFreed}
	case "psync.Event":
		return []int{EventArmed}
	case "psync.Cond":
		return []int{CondArmed}
	case "psync.Once":
		return []int{OnceArmed}
	}
	return nil
}

// LockSize returns the size and the alignment of a psync type, by its name in a schema, and 0 for
// other names.
func LockSize(name string) (size, align int) {
	switch name {
	case "psync.Mutex":
		return MutexSize, 4
	case "psync.RWMutex":
		return RWMutexSize, 8
	case "psync.Semaphore":
		return SemaphoreSize, 8
	case "psync.Event":
		return EventSize, 8
	case "psync.Cond":
		return CondSize, 4
	case "psync.Once":
		return OnceSize, 4
	}
	return 0, 0
}

// Buckets is how many buckets waiters are sorted into: a slot has one bit of interest for each.
const Buckets = 64

// Bucket returns the bucket of the object whose armed word is at offset off of the file. All
// processes and languages compute the same bucket: a waker rings only the slots that have this bit
// of interest set. Two objects may share a bucket, which costs a wakeup for nothing.
//
// The hash is the top 6 bits of a multiplication with BucketFactor, which spreads neighbouring
// words well.
func Bucket(off uintptr) int { return int(uint32(off>>2) * BucketFactor >> 26) }

// BucketFactor is a prime close to 2^32 divided by the golden ratio (Knuth, The Art of Computer
// Programming, volume 3, section 6.4).
const BucketFactor = 0x9E3779B1
