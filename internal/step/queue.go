package step

// Queues and topics, in the order in which the steps are reached.
const (
	QueueClaimed   Point = "queue.claimed"   // the place is the producer's, nothing is written
	QueueWritten   Point = "queue.written"   // the message is written, nobody can see it
	QueuePublished Point = "queue.published" // the message can be received, nobody is woken yet
	QueueSent      Point = "queue.sent"      // all are woken
	QueueTaken     Point = "queue.taken"     // the message is the consumer's, it is not read
	QueueRead      Point = "queue.read"      // it is read, and still held
	QueueReleased  Point = "queue.released"  // its place is free, nobody is woken yet
	QueueReceived  Point = "queue.received"  // all are woken
	QueueCanceled  Point = "queue.canceled"  // a claim was given up, nobody is woken yet
	QueueReturned  Point = "queue.returned"  // a message was given back, nobody is woken yet
	QueueEnded     Point = "queue.ended"     // the stream has ended, nobody is woken yet
	QueueRepaired  Point = "queue.repaired"  // what the dead held is free, nobody is woken yet

	TopicClaimed   Point = "topic.claimed"   // the place is the publisher's, the old message can still be there
	TopicWritten   Point = "topic.written"   // the message is written, nobody can see it
	TopicPublished Point = "topic.published" // the message can be received, nobody is woken yet
	TopicSent      Point = "topic.sent"      // all are woken
	TopicCanceled  Point = "topic.canceled"  // a claim was given up, nobody is woken yet
	TopicHeld      Point = "topic.held"      // a subscriber holds publishers back
	TopicRead      Point = "topic.read"      // it has read a message, publishers cannot go on yet
	TopicTold      Point = "topic.told"      // they can, nobody is woken yet
	TopicLeft      Point = "topic.left"      // it does not hold them any more, nobody is woken yet
	TopicEnded     Point = "topic.ended"     // the stream has ended, nobody is woken yet
	TopicRepaired  Point = "topic.repaired"  // what the dead held is free, nobody is woken yet
)

// Queue lists the steps of queues.
var Queue = []Point{
	QueueClaimed, QueueWritten, QueuePublished, QueueSent, QueueTaken, QueueRead, QueueReleased,
	QueueReceived, QueueCanceled, QueueReturned, QueueEnded, QueueRepaired,
}

// Topic lists the steps of topics.
var Topic = []Point{
	TopicClaimed, TopicWritten, TopicPublished, TopicSent, TopicCanceled,
	TopicHeld, TopicRead, TopicTold, TopicLeft, TopicEnded, TopicRepaired,
}
