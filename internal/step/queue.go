package step

// Queues and topics, in the order in which the points of a message are reached.
const (
	QueueClaimed   Point = "queue.claimed"   // the sender has claimed a slot and written nothing
	QueueReserved  Point = "queue.reserved"  // Reserve has claimed a slot; the caller has none yet
	QueueWritten   Point = "queue.written"   // the message has been written; no receiver can see it
	QueuePublished Point = "queue.published" // it can be received; no receiver is woken yet
	QueueSent      Point = "queue.sent"      // waiting receivers have been woken
	QueueCanceled  Point = "queue.canceled"  // instead: the claim is given up; none is woken yet
	QueueTaken     Point = "queue.taken"     // the receiver has taken the message and read nothing
	QueueRead      Point = "queue.read"      // the message has been read and is still taken
	QueueReleased  Point = "queue.released"  // the slot is free; no sender is woken yet
	QueueReceived  Point = "queue.received"  // waiting senders have been woken
	QueueReturned  Point = "queue.returned"  // instead: it can be received again; none is woken yet
	QueueLent      Point = "queue.lent"      // Take has taken a message; the caller has none yet
	QueueDead      Point = "queue.dead"      // it is in the dead-letter queue, and in this one
	QueueRevoked   Point = "queue.revoked"   // leases of a living process are ended; none is woken
	QueueEnded     Point = "queue.ended"     // the stream has ended; no process is woken yet
	QueueRepaired  Point = "queue.repaired"  // dead processes hold nothing; none is woken yet

	TopicHeld      Point = "topic.held"      // the subscriber has a hold, which bounds publishers
	TopicClaimed   Point = "topic.claimed"   // the publisher has claimed a slot and written nothing
	TopicWritten   Point = "topic.written"   // the message is written; no subscriber can see it
	TopicPublished Point = "topic.published" // it can be received; no process is woken yet
	TopicSent      Point = "topic.sent"      // waiting processes have been woken
	TopicCanceled  Point = "topic.canceled"  // instead: the claim is given up; none is woken yet
	TopicRead      Point = "topic.read"      // a message has been read; the cursor has not moved
	TopicTold      Point = "topic.told"      // a hold's cursor has moved; no publisher is woken yet
	TopicLeft      Point = "topic.left"      // the hold is free; no publisher is woken yet
	TopicEnded     Point = "topic.ended"     // the stream has ended; no process is woken yet
	TopicRepaired  Point = "topic.repaired"  // dead processes hold nothing; none is woken yet
)

// Queue lists the points of queues.
var Queue = []Point{
	QueueClaimed, QueueReserved, QueueWritten, QueuePublished, QueueSent, QueueCanceled,
	QueueTaken, QueueRead, QueueReleased, QueueReceived, QueueReturned,
	QueueLent, QueueDead, QueueRevoked,
	QueueEnded, QueueRepaired,
}

// Topic lists the points of topics.
var Topic = []Point{
	TopicHeld, TopicClaimed, TopicWritten, TopicPublished, TopicSent, TopicCanceled,
	TopicRead, TopicTold, TopicLeft, TopicEnded, TopicRepaired,
}
