package layout

import (
	"math"
	"strings"

	"github.com/shmembox/shmem/internal/format"
)

// The items of a ring stand in cells of one size, the stride, which never changes. An item that is
// smaller than its cell has spare room behind it: a creator asks for it, for fields that later
// versions of the type append, and a topic has it where the size of an item is no multiple of a
// word. Which bytes of a cell the item has is what the stored type says. They may become more.
//
// Spare room is zero in every message: a sender writes its whole item, and zero behind it to the
// end of the cell, also if it does not know the fields that are there. So a receiver that knows
// more fields than the sender finds zero in them.

// The beginnings of the names of structs that are an item with spare room.
const (
	queueCell = "queue.cell["
	topicCell = "topic.cell["
	valueName = "Value" // of their only field

	queueSlot = "queue.slot["
	wordName  = "Word" // of its first field; the other one is valueName
)

// machineWord is what the copy of a message moves at a time: the alignment and size of a Go
// uintptr.
const machineWord = 4 << (^uint(0) >> 63)

// growAlign is what the stride is a multiple of where the item can grow: the largest alignment of a
// Go type. So an appended field may need a larger alignment than the item had.
const growAlign = 8

// StrideOf returns the distance between the items of a new ring: that of items side by side, or
// with reserve spare bytes. It is 0 if there is no such ring.
func StrideOf(ring string, item *format.Type, reserve int) int {
	align := item.Align
	if ring == TopicName {
		align = max(align, machineWord)
	}
	if reserve > 0 {
		align = max(align, growAlign)
	}
	if reserve < 0 || reserve > math.MaxInt/4 || item.Size > math.MaxInt/4 {
		return 0
	}
	return roundUp(item.Size+reserve, align)
}

// fits reports whether an item can be in a cell of stride bytes.
func fits(item *format.Type, stride int) bool {
	return item != nil && item.Size > 0 && item.Align > 0 && item.Size <= stride &&
		stride%item.Align == 0
}

// Stride returns the bytes of a cell of a queue.Queue or topic.Topic; 0 if t is neither.
func Stride(t *format.Type) int {
	if s := Stream(t); s == "" || OfBytes(s) {
		return 0
	}
	return cellIn(t.Fields[len(t.Fields)-1].Type.Elem).Size
}

const wordSize = 8

// slotOf returns the type of a slot that holds its word and a cell, or nil if they do not fit on a
// cache line. A slot has a power of two of bytes, and so is on one cache line. What is behind the
// cell is not used: an item does not grow there.
func slotOf(item *format.Type, stride int) *format.Type {
	size := 2 * wordSize
	for size < wordSize+stride {
		size *= 2
	}
	if size > format.MaxWordStep {
		return nil
	}
	return &format.Type{
		Kind: format.Struct, Name: queueSlot + item.Name + "]", Size: size, Align: Word.Align,
		Fields: []format.Field{
			{Name: wordName, Type: Word},
			{Name: valueName, Offset: wordSize, Type: cellOf(queueCell, item, stride)},
		},
	}
}

// cellIn returns the cell of a slot, or the type itself if it is no slot.
func cellIn(t *format.Type) *format.Type {
	if !strings.HasPrefix(t.Name, queueSlot) || t.Kind != format.Struct || len(t.Fields) != 2 {
		return t
	}
	if f := t.Fields[1]; f.Name == valueName && f.Offset == wordSize {
		return f.Type
	}
	return t
}

// cellOf returns the type of a cell: the item itself, or a struct of stride bytes that begins with
// it.
func cellOf(name string, item *format.Type, stride int) *format.Type {
	if stride == item.Size {
		return item
	}
	align := item.Align
	for align < growAlign && stride%(2*align) == 0 {
		align *= 2
	}
	return &format.Type{
		Kind: format.Struct, Name: name + item.Name + "]", Size: stride, Align: align,
		Fields: []format.Field{{Name: valueName, Type: item}},
	}
}

// itemIn returns the item of a cell or slot.
func itemIn(cell *format.Type) *format.Type {
	cell = cellIn(cell)
	named := strings.HasPrefix(cell.Name, queueCell) || strings.HasPrefix(cell.Name, topicCell)
	if !named || cell.Kind != format.Struct || len(cell.Fields) != 1 {
		return cell
	}
	f := cell.Fields[0]
	if f.Name != valueName || f.Offset != 0 || f.Type.Size >= cell.Size {
		return cell
	}
	return f.Type
}
