package layout

import (
	"errors"
	"sync"

	"github.com/shmembox/shmem/internal/format"
)

// The names of the types that queues and topics have in their schemas.
const (
	QueueName = "queue.Queue"
	BytesName = "queue.Bytes"
	TopicName = "topic.Topic"

	TopicBytesName = "topic.Bytes"
)

// The fields of these types. The name of the first one tells the form.
const (
	manyField   = "Many"
	singleField = "Single"
	topicField  = "Topic"

	deathsField  = "Ends"
	holdsField   = "Holds"
	slotsField   = "Slots"
	stampsField  = "Stamps"
	leasesField  = "Marks"
	extentsField = "Extents"
	itemsField   = "Items"
	dataField    = "Data"
)

// pairAlign is where items and bytes begin: a multiple of two cache lines, because CPUs fetch these
// in pairs.
const pairAlign = 128

// MinSingleBytes is the least number of bytes of a Single queue.Bytes that can carry a message of
// one byte: a message has at most half of the ring, less a record header of 8 bytes.
const MinSingleBytes = 32

// Errors of a type that is not laid out as it should be.
var (
	ErrNoQueue = errors.New("it is no queue of this version")
	ErrNoTopic = errors.New("it is no topic of this version")
)

// A Queue is the layout of a queue.Queue or queue.Bytes. Offsets are in bytes from the start of the
// payload; an offset of a part that the form does not have is 0. The header is at 0.
//
//	Queue          ManyHeader, Slots, Marks [Capacity]Word, Items [Capacity]cell
//	Queue, small   ManyHeader, Marks [Capacity]Word, Items [Capacity]slot
//	Queue, Single  SingleHeader, Ends Deaths, Items [Capacity]cell
//	Bytes          ManyBytesHeader, Slots, Marks [Capacity]Word, Extents [Capacity]Extent,
//	               Data [Bytes]byte
//	Bytes, Single  SingleHeader, Ends Deaths, Data [Bytes]byte
//
// A cell is an item or, where there is spare room behind it, the item in a struct; see cellOf. In a
// slot the word stands before the cell: both are on one cache line. See slotOf.
type Queue struct {
	Type     *format.Type // of the whole payload
	Single   bool
	Item     *format.Type // nil: a queue.Bytes
	Capacity int          // messages; 0 in a Single queue.Bytes, which is bounded by Bytes alone
	Bytes    int          // of a queue.Bytes

	Deaths, Slots, Marks, Extents int // offsets
	Items                         int // offset of the first item, or of Data

	WordStep int // words from one word of Slots to the next
	Stride   int // from item to item; 0 in a queue.Bytes
	Cell     int // bytes of an item with its spare room
}

// NewQueue lays out a queue.Queue of so many items side by side.
func NewQueue(item *format.Type, capacity int, single bool) (*Queue, error) {
	return SpacedQueue(item, capacity, single, StrideOf(QueueName, item, 0))
}

// SpacedQueue lays out a queue.Queue of so many items, which begin stride bytes apart; see
// StrideOf.
func SpacedQueue(item *format.Type, capacity int, single bool, stride int) (*Queue, error) {
	if !fits(item, stride) {
		return nil, ErrSize
	}
	q := &Queue{
		Single: single, Item: item, Capacity: capacity, WordStep: 1, Stride: stride, Cell: stride,
	}
	items := Part{
		Name: itemsField, Type: cellOf(queueCell, item, stride), Len: capacity, Align: pairAlign,
	}
	if single {
		return q.lay(QueueName, Part{Name: singleField, Type: SingleHeader},
			Part{Name: deathsField, Type: Deaths}, items)
	}
	slot := slotOf(item, stride)
	if slot == nil {
		return q.lay(QueueName, Part{Name: manyField, Type: ManyHeader},
			Part{Name: slotsField, Type: Word, Len: capacity},
			Part{Name: leasesField, Type: Word, Len: capacity}, items)
	}
	items.Type = slot
	q.WordStep, q.Stride = slot.Size/wordSize, slot.Size
	q, err := q.lay(QueueName, Part{Name: manyField, Type: ManyHeader},
		Part{Name: leasesField, Type: Word, Len: capacity}, items)
	if err == nil {
		q.Slots = q.Items
		q.Items += wordSize
	}
	return q, err
}

// NewBytes lays out a queue.Bytes. A Single one has no capacity in messages, and at least
// MinSingleBytes.
func NewBytes(capacity, bytes int, single bool) (*Queue, error) {
	if single && bytes < MinSingleBytes {
		return nil, ErrSize
	}
	q := &Queue{Single: single, Capacity: capacity, Bytes: bytes, WordStep: 1}
	data := Part{Name: dataField, Type: octet, Len: bytes, Align: pairAlign}
	if single {
		q.Capacity = 0
		return q.lay(BytesName, Part{Name: singleField, Type: SingleHeader},
			Part{Name: deathsField, Type: Deaths}, data)
	}
	return q.lay(BytesName, Part{Name: manyField, Type: ManyBytesHeader},
		Part{Name: slotsField, Type: Word, Len: capacity},
		Part{Name: leasesField, Type: Word, Len: capacity},
		Part{Name: extentsField, Type: Extent, Len: capacity}, data)
}

// SingleData is where the bytes of a Single queue.Bytes begin, whatever their number is.
var SingleData = sync.OnceValue(func() int {
	q, err := NewBytes(0, MinSingleBytes, true)
	if err != nil {
		panic(err) // the layout is constant
	}
	return q.Items
})

func (q *Queue) lay(name string, parts ...Part) (*Queue, error) {
	for _, p := range parts[1:] {
		if p.Type != Deaths && p.Len < 1 {
			return nil, ErrSize
		}
	}
	t, err := Struct(name, parts...)
	if err != nil {
		return nil, err
	}
	q.Type = t
	for _, f := range t.Fields {
		switch f.Name {
		case deathsField:
			q.Deaths = f.Offset
		case slotsField:
			q.Slots = f.Offset
		case leasesField:
			q.Marks = f.Offset
		case extentsField:
			q.Extents = f.Offset
		case itemsField, dataField:
			q.Items = f.Offset
		}
	}
	return q, nil
}

// QueueLike lays out a queue.Queue of items with the form, the capacity and the cells of a stored
// one. It is ErrNoQueue if stored is no queue.Queue.
func QueueLike(stored, item *format.Type) (*Queue, error) {
	if Stream(stored) != QueueName {
		return nil, ErrNoQueue
	}
	return SpacedQueue(item, Len(stored, itemsField), First(stored) == singleField, Stride(stored))
}

// BytesLike lays out a queue.Bytes with the form and the sizes of a stored one. It is ErrNoQueue if
// stored is no queue.Bytes.
func BytesLike(stored *format.Type) (*Queue, error) {
	if Stream(stored) != BytesName {
		return nil, ErrNoQueue
	}
	return NewBytes(Len(stored, slotsField), Len(stored, dataField), First(stored) == singleField)
}

// QueueOf is the layout of a stored queue.Queue or queue.Bytes. It is ErrNoQueue unless that is, to
// the byte, what SpacedQueue or NewBytes make.
func QueueOf(stored *format.Type) (q *Queue, err error) {
	if Stream(stored) == BytesName {
		q, err = BytesLike(stored)
	} else {
		q, err = QueueLike(stored, Item(stored))
	}
	if err != nil || q.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoQueue
	}
	return q, nil
}

// RingOf returns what a header says of the ring that a payload of type t is: its form, its items,
// where the words of its message slots begin, and how many bytes apart. It is FormValue if t is no
// queue and no topic.
func RingOf(t *format.Type) (form format.Form, items, words uint64, step uint32) {
	if t == nil || Stream(t) == "" {
		return format.FormValue, 0, 0, 0
	}
	if OfTopic(Stream(t)) {
		if l, err := TopicOf(t); err == nil {
			return format.FormTopic, uint64(l.Capacity), uint64(l.Slots), wordSize
		}
		return format.FormValue, 0, 0, 0
	}
	l, err := QueueOf(t)
	switch {
	case err != nil:
		return format.FormValue, 0, 0, 0
	case l.Single && l.Item != nil:
		return format.FormSingle, uint64(l.Capacity), 0, 0
	case l.Single:
		return format.FormSingleBytes, uint64(l.Bytes), 0, 0
	case l.Item != nil:
		return format.FormQueue, uint64(l.Capacity), uint64(l.Slots), uint32(wordSize * l.WordStep)
	}
	return format.FormBytes, uint64(l.Capacity), uint64(l.Slots), wordSize
}
