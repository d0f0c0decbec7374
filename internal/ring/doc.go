// Package ring provides the algorithms of queues and topics as pure code on words of memory that
// the caller lends. It makes no system call, never blocks, and allocates nothing after New.
//
//	MPMC        many producers, many consumers, items of one size
//	MPMCBytes   the same for messages of any length
//	SPSC        one producer, one consumer, items of one size
//	SPSCBytes   the same for messages of any length
//	Broadcast   publishers overwrite, every reader has its own cursor
//
// It imports nothing of this module and knows nothing of mappings. Its invariants: a process can
// die between any two instructions without losing, doubling or mixing messages of others; and a
// call returns within a bound that depends only on the capacity, with indices inside the ring,
// whatever the words hold. The words are shared and not trusted: each is loaded once, checked, then
// used. A process that writes nonsense can cause ErrCorrupt, false messages, and claims that stay
// held.
//
// # Ids
//
// self is the id of an attachment: 31 bits, 0 means none. The id of a dead attachment never acts
// again. The frequent calls never ask which ids are alive: they return ErrHeld, ErrFull or
// ErrEmpty. The caller calls Repair(alive) before it waits, when it learns of a death, and from
// time to time while it waits. Repair ends the claims and leases of dead attachments. alive must
// report true for every id that may still act. A stopped process is alive, and keeps what it holds.
//
// # Words
//
// Every slot of an MPMC or Broadcast has one 64-bit word. Its top 3 bits are the state. Below is
// the lap, 61 bits that count how often the ring has been round. While an id holds the slot, 30
// bits of the lap and the 31-bit id take its place. So one compare-and-swap takes a slot and names
// its holder. Words without an id never repeat. A word with an id is changed only by its holder or,
// after the holder's death, by Repair. So there is no ABA problem. Head and tail are changed after
// the slot, and any caller that finds them behind advances them.
//
// # Sources
//
// The sequence of slots is that of D. Vyukov's bounded MPMC queue. Advancing another's index is
// from M. Michael and M. Scott's queue. The cached index of the other side is that of MCRingBuffer
// (Lee, Bu, Chandranmenon) and FastForward. Record headers with padding at the end of the ring are
// those of Aeron's log buffers and of the LMAX Disruptor. The check after copying is a seqlock per
// slot (H. Boehm, "Can seqlocks get along with programming language memory models?").
package ring
