// Package ring holds the algorithms of queues and topics as pure code on
// words of memory that the caller lends. It makes no system call, never
// blocks, allocates nothing after New and knows nothing of mappings.
//
//	MPMC        many producers, many consumers, fixed items
//	MPMCBytes   the same for messages of any length
//	SPSC        one producer, one consumer, fixed items
//	SPSCBytes   the same for messages of any length
//	Broadcast   publishers overwrite, every reader has its own cursor
//
// The words may be shared with other processes, each of which may be killed
// between any two instructions, and are not trusted: each is loaded once,
// checked, then used. Whatever stands in them, a call returns, within a bound
// that depends on the capacity only, and no index it hands out is outside of
// the ring. ErrCorrupt is all a scribbler can cause, besides false messages
// and claims that stay held.
//
// # Who is who
//
// self is the id of an attachment (31 bits, 0 is nobody). An id, once dead,
// never acts again. The hot calls never ask who is alive: they return ErrHeld,
// ErrFull or ErrEmpty, and the caller, before it waits, when it learns of a
// death and from time to time while it waits, calls Repair(alive), which ends
// the claims and leases of the dead. alive must answer true for every id that
// may still act. A stopped process is alive and keeps what it holds.
//
// # Words
//
// Every slot of MPMC and Broadcast has one 64-bit word: the state in the top
// 3 bits; below it either the lap (61 bits: how often the ring has been round)
// or, where somebody holds the slot, 30 bits of the lap and the 31-bit id. So
// one compare-and-swap both takes a slot and says who did. Words without an
// id never repeat, words with one are changed only by their holder or, when
// it is dead, by those who bury it: there is no ABA. Head and tail come after
// the slot and are moved by whoever finds them behind.
//
// # Sources
//
// The slot sequence is that of D. Vyukov's bounded MPMC queue; helping the
// index on is from M. Michael and M. Scott's queue; the cached remote index is
// that of MCRingBuffer (Lee, Bu, Chandranmenon) and FastForward's kin; record
// headers with padding at the wrap, of Aeron's log buffers and the LMAX
// Disruptor; the check after copying is a seqlock per slot (H. Boehm, "Can
// seqlocks get along with programming language memory models?").
package ring
