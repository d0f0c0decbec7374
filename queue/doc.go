// Package queue passes messages between processes, as a channel does between goroutines.
//
// A [Queue] carries values of one type, a [Bytes] messages of any length. Both are bounded and first
// in, first out; any number of goroutines in any number of processes may send and receive. Each is a
// shared memory segment like any other: it has a name, an owner, a schema; see package shmem.
//
//	q, err := queue.Open[Job]("jobs", nil)
//	defer q.Close()
//	err = q.Send(ctx, job)
//	for job, err := range q.All(ctx) { ... }
//
// # Fast forms
//
// A queue created with [Options.Single] has one sender and one receiver, and is several times as
// fast. Batches are faster than messages one by one. A [Sender] or [Receiver] belongs to one goroutine
// and is faster than the methods of the queue. The methods that end in Func hand out the message's own
// place in the memory, so that it is not copied however large it is. When nobody waits at the other
// side no call makes a system call.
//
// # Deaths
//
// A process can be killed at any moment. Then
//
//   - a message whose Send had returned nil is in the queue;
//   - a message that was being sent is there whole or not at all; its place is skipped and counted in
//     [Stats] as Skipped;
//   - a message that was being received by RecvFunc, or that Recv had not yet copied, is given back: it
//     comes again, and is counted as Redelivered. Nobody knows how far RecvFunc's function had come, so
//     it must bear to see a message twice;
//   - a message that Recv had copied is gone with the receiver.
//
// Nobody waits for the dead: whoever waits looks for them, at once where the kernel tells of a death
// and else after 10 to 100 ms. A process that is stopped is alive, and what it holds it keeps: a sender
// stopped in the middle of a Send holds the receivers back when they come to its message, a receiver
// stopped in RecvFunc the senders when they have come round to its place. Contexts are the way out.
//
// Recv does not end because every sender has died, nor Send because every receiver has: others may come.
//
// # Owners
//
// A queue is owned like any segment: when its owner closes it, its name is gone, and if the owner is killed the last one
// to leave takes it away, with the messages that are still in it. If it is to outlive those who use it, create it with
// Options.Kept, or end the owner with Leak.
//
// # Trust
//
// Messages and the words that order them are memory that all attached processes can write. A peer that
// writes nonsense there can make calls return ErrCorrupt or let them see nonsense, but not panic, hang
// beyond their context, or touch other memory. In the Func forms the value can change while it is looked
// at: copy what must not, then check.
//
// # Memory
//
// A queue of n messages of type T needs 640 + 8 n bytes, rounded up to 128, and n times the size of
// T; with Single 768 bytes and n times the size of T. A Bytes of n messages and m bytes, rounded up to
// 8, needs 768 + 24 n bytes, rounded up to 128, and m; with Single 768 bytes and m. To this come the
// slots and the header of every segment: 64 bytes for each of Options.Slots, and one page, and what
// rounding to pages adds. All of it is there from the beginning and nothing grows.
package queue
