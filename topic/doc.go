// Package topic sends every message to all processes that listen: a publisher writes it once,
// however many there are.
//
// A [Topic] keeps the last messages of one type in shared memory. Any number of goroutines in any
// number of processes may publish. Any number may subscribe, each with a cursor of its own, at any
// time. A topic is a segment like any other: it has a name, an owner and a schema; see package
// shmem.
//
//	t, err := topic.Open[Tick]("ticks", nil)
//	defer t.Close()
//	err = t.Publish(ctx, tick)
//
//	sub, err := t.Subscribe(topic.Now)
//	defer sub.Close()
//	for tick, err := range sub.All(ctx) { ... }
//
// A [Bytes] is a topic of messages of any length.
//
// # Slow subscribers
//
// Publishing overwrites the oldest message. Each subscription chooses what happens when publishers
// are faster, by a [Delivery]; subscriptions of all kinds share a topic. One with [Hold] holds
// publishers back: they wait for the slowest one, as long as its process lives, and no message
// published after Subscribe is lost. [Options.Holds] is how many of these a topic has room for. One
// with [NoHold] that falls behind by more than the capacity loses the oldest messages; Lost counts
// them. One with [Newest] receives the newest message only, and skips the others.
//
// # Contexts
//
// The methods with a context block until they can go on, until ctx is done, or until the topic is
// closed in this process. A call that need not block does not look at ctx: Recv returns a message
// that is ready although ctx is done, and at the end of the stream io.EOF. All looks at ctx before
// every message, and before anything else. A nil context is shmem.ErrBadOption where ctx is looked
// at. The Try methods never block.
//
// # Deaths
//
// A process can be killed at any moment. Then
//
//   - a message whose Publish had returned nil is in the topic;
//   - a message that was being published is there whole or not at all; the slot of one that is not
//     is skipped, and counted in [Stats.Skipped];
//   - a subscription that held publishers back no longer does, and is counted in [Stats.Released].
//
// A caller that waits for a dead process finds out at once where the kernel reports the death, else
// after 10 to 100 ms. A stopped process is alive: a publisher stopped in the middle of a message
// blocks the subscribers that come to it, and the publishers that come round to its slot; a stopped
// subscriber that holds blocks the publishers. Use a context to stop waiting.
//
// Recv does not return when the last publisher dies: another one may come. End ends the topic.
//
// # Errors
//
// Every error is a *shmem.Error with the operation, such as "topic publish", and the name, except
// io.EOF at the end of the topic and the error of a function that the caller passed, which are
// returned as they are. After Close all methods return ErrClosed.
//
// # Lifetime
//
// A topic is shared: no process owns it, and the last one to leave removes it, with its messages.
// Options.Lifetime chooses another lifetime.
//
// Where the name is taken while others are attached, by the Close of an owner or by shmem.Remove,
// they are told: publishing calls return [ErrUnlinked], and receiving calls when no message is
// left.
//
// # Trust
//
// Messages and the words that order them are memory that all attached processes can write. A peer
// that writes nonsense there can make calls return ErrCorrupt or nonsense. It cannot make them
// panic, touch other memory, or block beyond their context. In RecvFunc the value can change while
// the function looks at it: copy first, then check.
//
// # Memory
//
// A topic of n messages of type T and h holds needs 512 + 128 h + 8 n bytes, rounded up to 128, and
// n times the size of T and Options.Reserve, rounded up to 8. The slots and the header of the
// segment are added to that; see package queue. One of bytes needs 768 + 128 h + 24 n bytes,
// rounded up to 128, and BytesOptions.Bytes. All memory is there from the beginning, and nothing
// grows.
package topic
