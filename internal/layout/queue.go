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
	stampedEnds  = "StampedEnds" // in place of deathsField, in a Single queue.Bytes with stamps
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
// one byte: a message has at most half of the ring, less a record header of 8 bytes. With time
// stamps it takes 8 bytes more.
const (
	MinSingleBytes  = 32
	MinStampedBytes = 48
)

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
// Where messages have time stamps, Stamps [Capacity]Word stand before the marks, of a Single queue
// before the items. In a Single queue.Bytes the stamp stands before the bytes of each message, and
// Ends is called StampedEnds: the data begin at the same offset.
//
// A cell is an item or, where there is spare room behind it, the item in a struct; see cellOf. In a
// slot the word stands before the cell: both are on one cache line. See slotOf.
type Queue struct {
	Type     *format.Type // of the whole payload
	Single   bool
	Item     *format.Type // nil: a queue.Bytes
	Capacity int          // messages; 0 in a Single queue.Bytes, which is bounded by Bytes alone
	Bytes    int          // of a queue.Bytes
	Stamped  bool         // messages have time stamps

	Deaths, Slots, Stamps, Marks, Extents int // offsets
	Items                                 int // offset of the first item, or of Data

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
	q := &Queue{Single: single, Item: item, Capacity: capacity, Cell: stride}
	return q, q.lay()
}

// NewBytes lays out a queue.Bytes. A Single one has no capacity in messages, and at least
// MinSingleBytes.
func NewBytes(capacity, bytes int, single bool) (*Queue, error) {
	q := &Queue{Single: single, Capacity: capacity, Bytes: bytes}
	if single {
		q.Capacity = 0
	}
	return q, q.lay()
}

// WithStamps returns the layout of a queue that is like q, with time stamps.
func (q *Queue) WithStamps() (*Queue, error) {
	s := *q
	s.Stamped = true
	return &s, s.lay()
}

// SingleData is where the bytes of a Single queue.Bytes begin, whatever their number is.
var SingleData = sync.OnceValue(func() int {
	q, err := NewBytes(0, MinSingleBytes, true)
	if err != nil {
		panic(err) // the layout is constant
	}
	return q.Items
})

// lay sets the type and the offsets, by the other fields.
func (q *Queue) lay() error {
	name, parts := QueueName, q.itemParts
	if q.Item == nil {
		name, parts = BytesName, q.byteParts
	}
	q.WordStep, q.Stride = 1, q.Cell
	all := parts()
	for _, p := range all[1:] {
		if p.Type != Deaths && p.Len < 1 {
			return ErrSize
		}
	}
	t, err := Struct(name, all...)
	if err != nil {
		return err
	}
	q.Type = t
	q.place()
	return nil
}

// words is a part with a word for each message.
func (q *Queue) words(name string) Part { return Part{Name: name, Type: Word, Len: q.Capacity} }

// stamps are the part with the time stamps, if there is one.
func (q *Queue) stamps() []Part {
	if !q.Stamped {
		return nil
	}
	return []Part{q.words(stampsField)}
}

// itemParts are the parts of a queue.Queue.
func (q *Queue) itemParts() []Part {
	items := Part{
		Name: itemsField, Type: cellOf(queueCell, q.Item, q.Cell), Len: q.Capacity,
		Align: pairAlign,
	}
	if q.Single {
		all := []Part{{Name: singleField, Type: SingleHeader}, {Name: deathsField, Type: Deaths}}
		return append(append(all, q.stamps()...), items)
	}
	all := []Part{{Name: manyField, Type: ManyHeader}}
	if slot := slotOf(q.Item, q.Cell); slot != nil {
		items.Type = slot
		q.WordStep, q.Stride = slot.Size/wordSize, slot.Size
	} else {
		all = append(all, q.words(slotsField))
	}
	return append(append(all, q.stamps()...), q.words(leasesField), items)
}

// byteParts are the parts of a queue.Bytes.
func (q *Queue) byteParts() []Part {
	data := Part{Name: dataField, Type: octet, Len: q.Bytes, Align: pairAlign}
	if q.Single {
		ends, least := deathsField, MinSingleBytes
		if q.Stamped {
			ends, least = stampedEnds, MinStampedBytes
		}
		if q.Bytes < least {
			data.Len = 0
		}
		return []Part{{Name: singleField, Type: SingleHeader}, {Name: ends, Type: Deaths}, data}
	}
	all := []Part{{Name: manyField, Type: ManyBytesHeader}, q.words(slotsField)}
	return append(append(all, q.stamps()...), q.words(leasesField),
		Part{Name: extentsField, Type: Extent, Len: q.Capacity}, data)
}

// place sets the offsets, by the type.
func (q *Queue) place() {
	offset := func(name string) int { return max(0, Offset(q.Type, name)) }
	q.Deaths = max(offset(deathsField), offset(stampedEnds))
	q.Slots, q.Stamps = offset(slotsField), offset(stampsField)
	q.Marks, q.Extents = offset(leasesField), offset(extentsField)
	q.Items = max(offset(itemsField), offset(dataField))
	if q.WordStep > 1 { // a word begins each slot
		q.Slots = q.Items
		q.Items += wordSize
	}
}

// QueueLike lays out a queue.Queue of items with the form, the capacity and the cells of a stored
// one. It is ErrNoQueue if stored is no queue.Queue.
func QueueLike(stored, item *format.Type) (*Queue, error) {
	if Stream(stored) != QueueName {
		return nil, ErrNoQueue
	}
	q, err := SpacedQueue(
		item, Len(stored, itemsField), First(stored) == singleField, Stride(stored))
	return q.stampedLike(err, stored)
}

// stampedLike returns q, with time stamps if a stored queue has them.
func (q *Queue) stampedLike(err error, stored *format.Type) (*Queue, error) {
	if err != nil || Offset(stored, stampsField) < 0 && Offset(stored, stampedEnds) < 0 {
		return q, err
	}
	return q.WithStamps()
}

// BytesLike lays out a queue.Bytes with the form and the sizes of a stored one. It is ErrNoQueue if
// stored is no queue.Bytes.
func BytesLike(stored *format.Type) (*Queue, error) {
	if Stream(stored) != BytesName {
		return nil, ErrNoQueue
	}
	q, err := NewBytes(
		Len(stored, slotsField), Len(stored, dataField), First(stored) == singleField)
	return q.stampedLike(err, stored)
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
