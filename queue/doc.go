// Package queue passes messages between processes, as a channel does between goroutines.
//
// A [Queue] carries values of one type, a [Bytes] messages of any length. Both are bounded and
// first in, first out. Any number of goroutines in any number of processes may send and receive. A
// queue is a segment like any other: it has a name, an owner and a schema; see package shmem.
//
//	q, err := queue.Open[Job]("jobs", nil)
//	defer q.Close()
//	err = q.Send(ctx, job)
//	for job, err := range q.All(ctx) { ... }
//
// # Fast forms
//
// A queue created with [Options.Single] has one sender and one receiver, and is several times as
// fast. Batches are faster than single messages. A [Sender] or [Receiver], of a Bytes a
// [BytesSender] or [BytesReceiver], belongs to one goroutine and is faster than the methods of the
// queue. The methods that end in Func give the caller the message in place, so it is not copied
// however large it is. A call makes no system call unless the other side waits.
//
// # Leases and drafts
//
// Take gives a message out on a [Lease], which outlives the call and counts deliveries. Done
// consumes the message, and Back returns it, at once or later. Options.DeadLetters is where
// messages go that were delivered too often, in RecvFunc and by Recv as well.
//
// Reserve is the same for a sender: a [Draft] is a message in its slot that is not sent yet.
//
// # Contexts
//
// The methods with a context block until they can go on, until ctx is done, or until the queue is
// closed in this process. A call that need not block does not look at ctx: Recv returns a message
// that is ready although ctx is done, and at the end of the stream io.EOF. All looks at ctx before
// every message, and before anything else. A nil context is shmem.ErrBadOption where ctx is looked
// at. The Try methods never block.
//
// # Deaths
//
// A process can be killed at any moment. Then
//
//   - a message whose Send had returned nil is in the queue;
//   - a message that was being sent is there whole or not at all; the slot of one that is not is
//     skipped, and counted in [Stats.Skipped];
//   - a message that was being received by RecvFunc, or that Recv had not copied yet, is
//     redelivered, and counted in [Stats.Redelivered]. How far RecvFunc's function had come is not
//     known, so that function must tolerate redelivery (at-least-once);
//   - a message that Recv had copied is gone with the receiver.
//
// A caller that waits for a dead process finds out at once where the kernel reports the death, else
// after 10 to 100 ms. A stopped process is alive and keeps what it holds: a sender stopped in the
// middle of Send blocks the receivers that come to its message; a receiver stopped in RecvFunc
// blocks the senders that come round to its slot. Use a context to stop waiting, and
// Options.LeaseTimeout to redeliver what such a receiver has.
//
// At the end of the stream a receiving call waits while another goroutine or process has a message
// that it may return: so a function of RecvFunc must not wait for the end.
//
// Recv does not return when the last sender dies, nor Send when the last receiver dies: others may
// come. End ends the stream.
//
// # Errors
//
// Every error is a *shmem.Error with the operation, such as "queue send", and the name, except
// io.EOF at the end of the stream and the error of a function that the caller passed, which are
// returned as they are. After Close all methods return ErrClosed. The errors ErrFull and ErrEmpty
// of calls that do not block are made once, and cost no allocation.
//
// # Lifetime
//
// A queue is shared: no process owns it, and the last one to leave removes it. A queue with
// unread messages stays, however its last process ended: the next Open finds them.
// Options.Lifetime chooses another lifetime.
//
// Where the name is taken while others are attached, by the Close of an owner or by shmem.Remove,
// they are told: sending calls return [ErrUnlinked], and receiving calls when no message is left.
//
// # Trust
//
// Messages and the words that order them are memory that all attached processes can write. A peer
// that writes nonsense there can make calls return ErrCorrupt or nonsense. It cannot make them
// panic, touch other memory, or block beyond their context. In the Func forms the value can change
// while the function looks at it: copy first, then check.
//
// # Memory
//
// A queue of n messages of type T needs 640 + 16 n bytes, rounded up to 128, and n times the size
// of T; with Single 768 bytes and n times the size of T. With Options.Reserve a message takes that
// many bytes more, rounded up to a multiple of 8. A Bytes of n messages and m bytes, rounded up
// to 8, needs 768 + 32 n bytes, rounded up to 128, and m; with Single 768 bytes and m. The segment
// adds 64 bytes for each of Options.Slots, one page for its header, and the rounding to pages. All
// memory is there from the beginning, and nothing grows.
package queue
