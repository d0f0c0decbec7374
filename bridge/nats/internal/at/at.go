// Package at names the steps of the bridge at which a process can die, as internal/step does for
// the library. The command stress kills a bridge at each of them.
package at

import "github.com/shmembox/shmem/internal/step"

// The steps of each kind of route, in the order in which they are reached.
const (
	Prepared step.Point = "bridge.prepared" // bucket and stream are there
	Typed    step.Point = "bridge.typed"    // the type is in the bucket
	Claimed  step.Point = "bridge.claimed"  // the route is this bridge's
	Beat     step.Point = "bridge.beat"     // once more the claim says that it lives

	BoxOutBegun  step.Point = "boxout.begun"  // the key's revision is known
	BoxOutLoaded step.Point = "boxout.loaded" // a value is read; it is not on its way
	BoxOutPut    step.Point = "boxout.put"    // the server has it; its revision is not noted

	BoxInReceived step.Point = "boxin.received" // a value has come; the mirror is as before
	BoxInOpened   step.Point = "boxin.opened"   // the mirror is open
	BoxInStored   step.Point = "boxin.stored"   // the mirror has the value

	TopicOutResumed step.Point = "topicout.resumed" // the stream's last frame is known
	TopicOutRead    step.Point = "topicout.read"    // messages are read; they are not on their way
	TopicOutSent    step.Point = "topicout.sent"    // a frame is on its way
	TopicOutAcked   step.Point = "topicout.acked"   // the stream has a frame; it is not counted

	TopicInReceived  step.Point = "topicin.received"  // frames have come
	TopicInOpened    step.Point = "topicin.opened"    // the mirror is open
	TopicInSettled   step.Point = "topicin.settled"   // what was applied before is known
	TopicInMarking   step.Point = "topicin.marking"   // the next mark is written; it does not count
	TopicInMarked    step.Point = "topicin.marked"    // it counts; nothing is published
	TopicInPublished step.Point = "topicin.published" // all frames of the mark are published

	QueueOutTaken    step.Point = "queueout.taken"    // messages are on leases
	QueueOutSent     step.Point = "queueout.sent"     // they are on their way
	QueueOutAccepted step.Point = "queueout.accepted" // the stream has them; no lease has ended
	QueueOutDone     step.Point = "queueout.done"     // one more lease has ended

	QueueInReceived step.Point = "queuein.received" // a frame has come
	QueueInOpened   step.Point = "queuein.opened"   // the mirror is open
	QueueInForgot   step.Point = "queuein.forgot"   // a table is free for a new origin
	QueueInIntent   step.Point = "queuein.intent"   // a message is about to be sent
	QueueInSent     step.Point = "queuein.sent"     // the mirror has it; it is not remembered
	QueueInDone     step.Point = "queuein.done"     // it is remembered; the intent stands
	QueueInApplied  step.Point = "queuein.applied"  // so are all of the frame; no acknowledgement
	QueueInAcked    step.Point = "queuein.acked"    // the frame is acknowledged
	QueueInSettled  step.Point = "queuein.settled"  // whether the last intent was sent is known
	QueueInBuried   step.Point = "queuein.buried"   // a dead letter is stored; its frame still is

	MapOutHeaded step.Point = "mapout.headed" // the bucket says that this bridge sends the map
	MapOutLoaded step.Point = "mapout.loaded" // what the bucket has is known
	MapOutSent   step.Point = "mapout.sent"   // a change is on its way
	MapOutEnded  step.Point = "mapout.ended"  // the bucket has it; its revision is not noted

	MapInReceived step.Point = "mapin.received" // changes have come; the mirror is as before
	MapInOpened   step.Point = "mapin.opened"   // the mirror is open
	MapInCompared step.Point = "mapin.compared" // the mirror has what the bucket had at first
	MapInStored   step.Point = "mapin.stored"   // the mirror has one more entry
	MapInRemoved  step.Point = "mapin.removed"  // the mirror has one entry less
)

// Out lists the points of a bridge that sends.
var Out = []step.Point{
	Prepared, Typed, Claimed, Beat,
	BoxOutBegun, BoxOutLoaded, BoxOutPut,
	TopicOutResumed, TopicOutRead, TopicOutSent, TopicOutAcked,
	QueueOutTaken, QueueOutSent, QueueOutAccepted, QueueOutDone,
	MapOutHeaded, MapOutLoaded, MapOutSent, MapOutEnded,
}

// In lists the points of a bridge that mirrors.
var In = []step.Point{
	Prepared,
	BoxInReceived, BoxInOpened, BoxInStored,
	TopicInReceived, TopicInOpened, TopicInSettled, TopicInMarking, TopicInMarked,
	TopicInPublished,
	QueueInReceived, QueueInOpened, QueueInForgot, QueueInIntent, QueueInSent, QueueInDone,
	QueueInApplied, QueueInAcked, QueueInSettled, QueueInBuried,
	MapInReceived, MapInOpened, MapInCompared, MapInStored, MapInRemoved,
}

// Once lists the points that a bridge reaches when it begins, and seldom later.
var Once = []step.Point{
	Prepared, Typed, Claimed, Beat, BoxOutBegun, TopicOutResumed, BoxInOpened, TopicInOpened,
	TopicInSettled, QueueInOpened, QueueInForgot, QueueInSettled, QueueInBuried,
	MapOutHeaded, MapOutLoaded, MapInOpened, MapInCompared,
}
