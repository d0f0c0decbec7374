package layout

import (
	"fmt"

	"github.com/shmembox/shmem/internal/format"
)

// A Topic is the layout of a topic.Topic. Offsets are in bytes from the start of the payload.
//
//	TopicHeader; Holds [Holds]Hold, if there are any; Slots [Capacity]Word; Items [Capacity]cell
//
// A cell is an item or, where there is spare room behind it, the item in a struct; see cellOf. The
// stride is a multiple of a word: the copy of a message reads and writes whole words.
type Topic struct {
	Type     *format.Type // of the whole payload
	Item     *format.Type // of a message
	Capacity int          // messages kept
	Holds    int          // subscribers that can hold publishers back

	HoldsAt, Slots, Items int // offsets; HoldsAt is 0 if there are no holds
	Stride                int // from item to item
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
	parts := []Part{{Name: topicField, Type: TopicHeader}}
	if holds > 0 {
		parts = append(parts, Part{Name: holdsField, Type: Hold, Len: holds})
	}
	c := cellOf(topicCell, item, stride)
	t, err := Struct(TopicName, append(parts,
		Part{Name: slotsField, Type: Word, Len: capacity},
		Part{Name: itemsField, Type: c, Len: capacity, Align: pairAlign})...)
	if err != nil {
		return nil, err
	}
	return &Topic{
		Type: t, Item: item, Capacity: capacity, Holds: holds, Stride: stride,
		HoldsAt: max(0, Offset(t, holdsField)), Slots: Offset(t, slotsField),
		Items: Offset(t, itemsField),
	}, nil
}

// TopicLike lays out a topic of items with the capacity, the holds and the stride of a stored one.
// It is ErrNoTopic if stored is no topic.
func TopicLike(stored, item *format.Type) (*Topic, error) {
	if Stream(stored) != TopicName {
		return nil, ErrNoTopic
	}
	return SpacedTopic(item, Len(stored, itemsField), Len(stored, holdsField), Stride(stored))
}

// TopicOf is the layout of a stored topic. It is ErrNoTopic unless that is, to the byte, what
// SpacedTopic makes.
func TopicOf(stored *format.Type) (*Topic, error) {
	t, err := TopicLike(stored, Item(stored))
	if err != nil || t.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoTopic
	}
	return t, nil
}

// Stream is the name of t if t is the type of a queue or topic: QueueName, BytesName or TopicName;
// else "". The value of such a segment is no box: protocols of their own order its words, not the
// box's lock.
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
		t.Name == TopicName && first == topicField && last.Name == itemsField:
		return t.Name
	}
	return ""
}

// Described names a stored type, and says how to open what it is the type of.
func Described(t *format.Type) string {
	switch Stream(t) {
	case QueueName:
		return "a " + QueueName + " of " + NameOf(Item(t)) + " (see queue.Open)"
	case BytesName:
		return "a " + BytesName + " (see queue.OpenBytes)"
	case TopicName:
		return "a " + TopicName + " of " + NameOf(Item(t)) + " (see topic.Open)"
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
	if s := Stream(t); s == "" || s == BytesName {
		return nil
	}
	return itemIn(t.Fields[len(t.Fields)-1].Type.Elem)
}
