package layout

import "github.com/shmembox/shmem/internal/format"

// The types of single words in the payloads of queues and topics.
var (
	Word     = atomicWord(format.Uint64, "atomic.Uint64", 8)
	halfWord = atomicWord(format.Uint32, "atomic.Uint32", 4)
	octet    = &format.Type{Kind: format.Uint8, Size: 1, Align: 1}
)

// The structs in the payloads of queues and topics. Tests compare each with the Go struct of
// package ring that has its name, and Deaths with the one of package queue.
var (
	// ManyHeader begins a queue.Queue for any number of senders and receivers.
	ManyHeader = record("ring.MPMCHeader", 640,
		word("Tail", 0), word("Head", 128),
		word("Closed", 256), word("Suspects", 264), word("Skipped", 272), word("Returned", 280),
		word("Settled", 288),
		half("SendWait", 384), half("SendArmed", 388),
		half("RecvWait", 512), half("RecvArmed", 516))

	// ManyBytesHeader begins a queue.Bytes for any number of senders and receivers.
	ManyBytesHeader = record("ring.MPMCBytesHeader", 768,
		format.Field{Name: "MPMCHeader", Offset: 0, Type: ManyHeader},
		word("Gate", 640), word("Low", 648))

	// SingleHeader begins a queue.Queue or queue.Bytes for one sender and one receiver.
	SingleHeader = record("ring.SPSCHeader", 640,
		word("Tail", 0), word("Head", 128),
		word("Closed", 256), word("Producer", 264), word("Consumer", 272),
		half("SendWait", 384), half("SendArmed", 388),
		half("RecvWait", 512), half("RecvArmed", 516))

	// Deaths follows SingleHeader.
	Deaths = record("queue.deathCounters", 128, word("SenderDied", 0), word("ReceiverDied", 8))

	// Extent says where the bytes of one message are. A queue.Bytes for
	// many and a topic.Bytes have one for each slot.
	Extent = record("ring.Extent", 16, word("Start", 0), word("Size", 8))

	// TopicHeader begins a topic.Topic.
	TopicHeader = record("ring.BroadcastHeader", 512,
		word("Tail", 0),
		word("Closed", 128), word("Skipped", 136), word("Released", 144), word("Used", 152),
		half("SendWait", 256), half("SendArmed", 260), word("Lost", 264),
		half("RecvWait", 384), half("RecvArmed", 388))

	// TopicBytesHeader begins a topic.Bytes.
	TopicBytesHeader = record("ring.BroadcastBytesHeader", 768,
		format.Field{Name: "BroadcastHeader", Offset: 0, Type: TopicHeader},
		word("Gate", 512), word("Low", 520), word("Reserved", 640))

	// Hold is the record of one subscriber that holds publishers back.
	Hold = record("ring.Hold", 128, word("ID", 0), word("Cursor", 8))
)

func atomicWord(kind format.Kind, name string, size int) *format.Type {
	return &format.Type{Kind: kind, Atomic: true, Name: name, Size: size, Align: size}
}

func record(name string, size int, fields ...format.Field) *format.Type {
	return &format.Type{
		Kind: format.Struct, Name: name, Size: size, Align: Word.Align, Fields: fields,
	}
}

func word(name string, at int) format.Field {
	return format.Field{Name: name, Offset: at, Type: Word}
}

func half(name string, at int) format.Field {
	return format.Field{Name: name, Offset: at, Type: halfWord}
}
