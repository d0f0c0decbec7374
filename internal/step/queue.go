package step

// Queues and topics, in the order in which the points of a message are reached.
const (
	QueueClaimed   Point = "queue.claimed"   // the sender has claimed a slot and written nothing
	QueueWritten   Point = "queue.written"   // the message has been written; no receiver can see it
	QueuePublished Point = "queue.published" // the message can be received; no receiver has been woken
	QueueSent      Point = "queue.sent"      // waiting receivers have been woken
	QueueCanceled  Point = "queue.canceled"  // instead: the claim has been given up; no process has been woken
	QueueTaken     Point = "queue.taken"     // the receiver has taken the message and read nothing
	QueueRead      Point = "queue.read"      // the message has been read and is still taken
	QueueReleased  Point = "queue.released"  // the slot is free; no sender has been woken
	QueueReceived  Point = "queue.received"  // waiting senders have been woken
	QueueReturned  Point = "queue.returned"  // instead: the message can be received again; no receiver has been woken
	QueueEnded     Point = "queue.ended"     // the stream has ended; no process has been woken
	QueueRepaired  Point = "queue.repaired"  // what dead processes held is free; no process has been woken

	TopicHeld      Point = "topic.held"      // the subscriber has a hold: publishers cannot pass its cursor
	TopicClaimed   Point = "topic.claimed"   // the publisher has claimed a slot; the old message may still be read
	TopicWritten   Point = "topic.written"   // the message has been written; no subscriber can see it
	TopicPublished Point = "topic.published" // the message can be received; no process has been woken
	TopicSent      Point = "topic.sent"      // waiting processes have been woken
	TopicCanceled  Point = "topic.canceled"  // instead: the claim has been given up; no process has been woken
	TopicRead      Point = "topic.read"      // a subscriber has read a message; its cursor has not moved
	TopicTold      Point = "topic.told"      // the cursor of a hold has moved; no publisher has been woken
	TopicLeft      Point = "topic.left"      // the hold is free; no publisher has been woken
	TopicEnded     Point = "topic.ended"     // the stream has ended; no process has been woken
	TopicRepaired  Point = "topic.repaired"  // what dead processes held is free; no process has been woken
)

// Queue lists the points of queues.
var Queue = []Point{
	QueueClaimed, QueueWritten, QueuePublished, QueueSent, QueueCanceled,
	QueueTaken, QueueRead, QueueReleased, QueueReceived, QueueReturned,
	QueueEnded, QueueRepaired,
}

// Topic lists the points of topics.
var Topic = []Point{
	TopicHeld, TopicClaimed, TopicWritten, TopicPublished, TopicSent, TopicCanceled,
	TopicRead, TopicTold, TopicLeft, TopicEnded, TopicRepaired,
}
