package inspect

import (
	"github.com/shmembox/shmem/internal/anytopic"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// Traffic counts the messages of a queue or topic, as its own words have them. In a queue of bytes with
// one sender they count bytes.
type Traffic struct {
	Kind     string // "queue.Queue", "queue.Bytes", "topic.Topic"
	Capacity int    // messages there is room for
	Sent     uint64
	Received uint64 // of a queue
	Depth    uint64 // of a queue: sent and not yet received
	Skipped  uint64 // not sent, because the sender died
	Again    uint64 // of a queue: given back, because the receiver died; of a topic: holds released so
	Lost     uint64 // of a topic: overwritten before a subscriber had it, over all subscribers
	Holding  int    // subscribers of a topic that hold its publishers back
	Holds    int    // how many there can be
	Lag      uint64 // how far the slowest of these is behind
	Slowest  Holder // who that is, if there are any
	Ended    bool

	// Of a queue of bytes: how many bytes its messages take, headers and what rounds them up included, and how many
	// there is room for.
	Bytes, BytesCap uint64

	Single           bool   // a queue with one sender and one receiver
	Sender, Receiver Holder // who has these ends; the zero Holder: nobody
}

// Traffic reads the counters of a queue or topic; nil if the segment is none.
func (s *Observer) Traffic() (tr *Traffic, err error) {
	err = s.looking("inspect", func() error { tr = s.traffic(); return nil })
	return tr, err
}

// traffic reads the counters of a queue or topic; nil for other types.
func (s *Observer) traffic() *Traffic {
	t := s.t
	if layout.Stream(t) == "" {
		return nil
	}
	tr := &Traffic{Kind: t.Name}
	words := map[string]uint64{}
	head := t.Fields[0]
	var read func(t *format.Type, off, depth int)
	read = func(t *format.Type, off, depth int) {
		for _, f := range t.Fields {
			switch {
			case f.Type.Kind == format.Struct && depth < 2:
				read(f.Type, off+f.Offset, depth+1)
			case f.Type.Atomic && f.Type.Size == 8:
				b := make([]byte, 8)
				s.m.LoadPart(b, off+f.Offset)
				words[f.Name] = Value{b: b}.uint()
			}
		}
	}
	read(head.Type, head.Offset, 0)
	if _, ok := words["Tail"]; !ok {
		return nil
	}
	for _, f := range t.Fields[1:] {
		if f.Type.Kind == format.Array && (tr.Capacity == 0 || f.Name == "Slots") {
			tr.Capacity = f.Type.Len
		}
	}
	tr.Sent, tr.Skipped, tr.Ended = words["Tail"], words["Skipped"], words["Closed"] != 0
	tr.Again = words["Returned"] + words["Released"]
	if tp, err := anytopic.Of(s.m, t); err == nil {
		tr.Sent, tr.Lost, tr.Holding, tr.Holds = tp.Ring.Now(), words["Lost"], tp.Ring.Holding(), tp.Ring.Holds()
		if id, cursor := tp.Ring.Slowest(); id != 0 {
			tr.Slowest, tr.Lag = s.holder(format.ID(id), "hold"), tr.Sent-min(cursor, tr.Sent)
		}
	}
	if h, ok := words["Head"]; ok {
		tr.Received = h
		if h < tr.Sent {
			tr.Depth = tr.Sent - h
		}
	}
	if t.Name == "queue.Bytes" {
		tr.BytesCap = uint64(layout.Len(t, "Data"))
		tr.Bytes = tr.Depth
	}
	if tr.Single = head.Name == "Single"; tr.Single {
		end := func(name, what string) Holder {
			if id := words[name]; id != 0 && id>>31 == 0 {
				return s.holder(format.ID(id), what)
			}
			return Holder{}
		}
		tr.Sender, tr.Receiver = end("Producer", "send"), end("Consumer", "receive")
	} else if q, err := s.queue(); err == nil && tr.BytesCap > 0 {
		tr.Bytes = q.fill()
	}
	return tr
}
