package layout

import (
	"fmt"

	"github.com/shmembox/shmem/internal/format"
)

// A Topic is the layout of a topic.Topic or topic.Bytes. Offsets are in bytes from the start of the
// payload.
//
//	Topic  TopicHeader; Holds [Holds]Hold, if there are any; Slots [Capacity]Word;
//	       Items [Capacity]cell
//	Bytes  TopicBytesHeader; Holds, likewise; Slots [Capacity]Word; Extents [Capacity]Extent;
//	       Data [Bytes]byte
//
// Where messages have time stamps, Stamps [Capacity]Word stand behind the slots.
//
// A cell is an item or, where there is spare room behind it, the item in a struct; see cellOf. The
// stride is a multiple of a word: the copy of a message reads and writes whole words.
type Topic struct {
	Type     *format.Type // of the whole payload
	Item     *format.Type // of a message; nil: a topic.Bytes
	Capacity int          // messages kept
	Bytes    int          // of a topic.Bytes
	Holds    int          // subscribers that can hold publishers back
	Stamped  bool         // messages have time stamps

	HoldsAt, Slots, Stamps, Extents int // offsets; 0 of a part that is not there
	Items                           int // offset of the first item, or of Data
	Stride                          int // from item to item; 0 in a topic.Bytes
}

// NewTopic lays out a topic without spare room.
func NewTopic(item *format.Type, capacity, holds int) (*Topic, error) {
	return SpacedTopic(item, capacity, holds, StrideOf(TopicName, item, 0))
}

// SpacedTopic lays out a topic whose items begin stride bytes apart; see StrideOf.
func SpacedTopic(item *format.Type, capacity, holds, stride int) (*Topic, error) {
	if capacity < 1 || holds < 0 || !fits(item, stride) || stride%machineWord != 0 {
		return nil, ErrSize
	}
	t := &Topic{Item: item, Capacity: capacity, Holds: holds, Stride: stride}
	return t, t.lay()
}

// NewTopicBytes lays out a topic.Bytes. bytes is a multiple of a word of 8 bytes.
func NewTopicBytes(capacity, bytes, holds int) (*Topic, error) {
	if capacity < 1 || holds < 0 || bytes < wordSize || bytes%wordSize != 0 {
		return nil, ErrSize
	}
	t := &Topic{Capacity: capacity, Bytes: bytes, Holds: holds}
	return t, t.lay()
}

// WithStamps returns the layout of a topic that is like t, with time stamps.
func (t *Topic) WithStamps() (*Topic, error) {
	s := *t
	s.Stamped = true
	return &s, s.lay()
}

// lay sets the type and the offsets, by the other fields.
func (t *Topic) lay() error {
	name, header, last := TopicName, TopicHeader, itemsField
	if t.Item == nil {
		name, header, last = TopicBytesName, TopicBytesHeader, dataField
	}
	all := []Part{{Name: topicField, Type: header}}
	if t.Holds > 0 {
		all = append(all, Part{Name: holdsField, Type: Hold, Len: t.Holds})
	}
	all = append(all, Part{Name: slotsField, Type: Word, Len: t.Capacity})
	if t.Stamped {
		all = append(all, Part{Name: stampsField, Type: Word, Len: t.Capacity})
	}
	if t.Item == nil {
		all = append(all, Part{Name: extentsField, Type: Extent, Len: t.Capacity},
			Part{Name: dataField, Type: octet, Len: t.Bytes, Align: pairAlign})
	} else {
		cell := cellOf(topicCell, t.Item, t.Stride)
		all = append(all,
			Part{Name: itemsField, Type: cell, Len: t.Capacity, Align: pairAlign})
	}
	typ, err := Struct(name, all...)
	if err != nil {
		return err
	}
	t.Type = typ
	t.HoldsAt, t.Extents = max(0, Offset(typ, holdsField)), max(0, Offset(typ, extentsField))
	t.Stamps = max(0, Offset(typ, stampsField))
	t.Slots, t.Items = Offset(typ, slotsField), Offset(typ, last)
	return nil
}

// TopicLike lays out a topic of items with the capacity, the holds and the stride of a stored one.
// It has time stamps if that one has. It is ErrNoTopic if stored is no topic.
func TopicLike(stored, item *format.Type) (*Topic, error) {
	if Stream(stored) != TopicName {
		return nil, ErrNoTopic
	}
	t, err := SpacedTopic(
		item, Len(stored, itemsField), Len(stored, holdsField), Stride(stored))
	return stampedLike(t, err, stored)
}

// stampedLike returns t, with time stamps if a stored topic has them.
func stampedLike(t *Topic, err error, stored *format.Type) (*Topic, error) {
	if err != nil || Len(stored, stampsField) == 0 {
		return t, err
	}
	return t.WithStamps()
}

// TopicBytesLike lays out a topic.Bytes with the sizes of a stored one. It is ErrNoTopic if stored
// is no topic.Bytes.
func TopicBytesLike(stored *format.Type) (*Topic, error) {
	if Stream(stored) != TopicBytesName {
		return nil, ErrNoTopic
	}
	t, err := NewTopicBytes(
		Len(stored, slotsField), Len(stored, dataField), Len(stored, holdsField))
	return stampedLike(t, err, stored)
}

// TopicOf is the layout of a stored topic.Topic or topic.Bytes. It is ErrNoTopic unless that is, to
// the byte, what SpacedTopic or NewTopicBytes make.
func TopicOf(stored *format.Type) (t *Topic, err error) {
	if Stream(stored) == TopicBytesName {
		t, err = TopicBytesLike(stored)
	} else {
		t, err = TopicLike(stored, Item(stored))
	}
	if err != nil || t.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoTopic
	}
	return t, nil
}

// Stream is the name of t if t is the type of a queue or topic: QueueName, BytesName, TopicName or
// TopicBytesName; else "". The value of such a segment is no box: protocols of their own order its
// words, not the box's lock.
func Stream(t *format.Type) string {
	if t == nil || t.Kind != format.Struct || len(t.Fields) < 2 {
		return ""
	}
	last := t.Fields[len(t.Fields)-1]
	if last.Type.Kind != format.Array || last.Type.Len == 0 {
		return ""
	}
	first := First(t)
	queue := first == manyField || first == singleField
	switch {
	case t.Name == QueueName && queue && last.Name == itemsField,
		t.Name == BytesName && queue && last.Name == dataField,
		t.Name == TopicName && first == topicField && last.Name == itemsField,
		t.Name == TopicBytesName && first == topicField && last.Name == dataField:
		return t.Name
	}
	return ""
}

// OfBytes reports whether the messages of a stream of that name have any length.
func OfBytes(stream string) bool { return stream == BytesName || stream == TopicBytesName }

// OfTopic reports whether a stream of that name is a topic.
func OfTopic(stream string) bool { return stream == TopicName || stream == TopicBytesName }

// Described names a stored type, and says how to open what it is the type of.
func Described(t *format.Type) string {
	switch Stream(t) {
	case QueueName:
		return "a " + QueueName + " of " + NameOf(Item(t)) + " (see queue.Open)"
	case BytesName:
		return "a " + BytesName + " (see queue.OpenBytes)"
	case TopicName:
		return "a " + TopicName + " of " + NameOf(Item(t)) + " (see topic.Open)"
	case TopicBytesName:
		return "a " + TopicBytesName + " (see topic.OpenBytes)"
	}
	if IsMap(t) {
		key, value := entryOf(t)
		return "a " + MapName + " of " + NameOf(key) + " and " + NameOf(value) + " (see kv.Open)"
	}
	if IsCache(t) {
		return "a " + CacheName + " (see kv.OpenCache)"
	}
	if IsPool(t) {
		return "a " + PoolName + " (see blob.Open)"
	}
	if IsCalls(t) {
		request, reply := callTypes(t)
		return "an " + CallsName + " of " + NameOf(request) + " and " + NameOf(reply) +
			" (see rpc.Serve)"
	}
	return "a box of " + NameOf(t) + " (see shmem.Open)"
}

// NameOf is the name of a type; where it has none, the beginning of its declaration.
func NameOf(t *format.Type) string {
	if t == nil {
		return "an unknown type"
	}
	if t.Name != "" {
		return t.Name
	}
	return fmt.Sprintf("%.60s", t)
}

// Item is the type of the messages of a queue.Queue or topic.Topic; nil if t is neither.
func Item(t *format.Type) *format.Type {
	if s := Stream(t); s == "" || OfBytes(s) {
		return nil
	}
	return itemIn(t.Fields[len(t.Fields)-1].Type.Elem)
}
