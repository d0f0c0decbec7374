// Package topic tells many processes the same: whoever publishes writes once, however many listen.
//
// A [Topic] keeps the last messages of one type in shared memory. Any number of goroutines in any number of
// processes may publish; any number may subscribe, each with a cursor of its own, and come and go. A topic
// is a segment like any other: it has a name, an owner, a schema; see package shmem.
//
//	t, err := topic.Open[Tick]("ticks", nil)
//	defer t.Close()
//	err = t.Publish(ctx, tick)
//
//	sub, err := t.Subscribe(topic.Now)
//	defer sub.Close()
//	for tick, err := range sub.All(ctx) { ... }
//
// # Slow subscribers
//
// Publishing overwrites the oldest message. A subscriber that is slower than the publishers for a whole round
// loses the oldest, and Lost tells how many. In a topic created with [Options.Holds] publishers wait for the
// slowest subscriber instead, as long as it lives.
//
// # Deaths
//
// A process can be killed at any moment. Then
//
//   - a message whose Publish had returned nil is in the topic;
//   - a message that was being published is there whole or not at all; its place is skipped and counted in
//     [Stats] as Skipped;
//   - a subscriber that held publishers back does so no longer, and is counted as Released.
//
// Nobody waits for the dead: whoever waits looks for them, at once where the kernel tells of a death and else
// after 10 to 100 ms. A process that is stopped is alive: a publisher stopped in the middle of a message holds
// back subscribers that come to it, and publishers that have come round to it; a stopped subscriber holds back
// the publishers of a topic with Hold. Contexts are the way out.
//
// A subscriber goes on waiting when the last publisher has died: another may come.
//
// # Owners
//
// A topic is owned like any segment: when its owner closes it, its name is gone, and if the owner is killed the last one
// to leave takes it away, with the messages that are still in it. If it is to outlive those who use it, create it with
// Options.Kept, or end the owner with Leak.
//
// # Trust
//
// What is said in package queue holds here too: a peer that writes nonsense can make calls return ErrCorrupt or
// let them see nonsense, no more.
//
// # Memory
//
// A topic of n messages of type T and h holds needs 512 + 128 h + 8 n bytes, rounded up to 128, and n times the
// size of T, rounded up to 8. To this come the slots and the header of every segment, see package queue. All of
// it is there from the beginning and nothing grows.
package topic
