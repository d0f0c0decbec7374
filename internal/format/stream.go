package format

// Stream is the type's name if it is that of a queue or topic: "queue.Queue", "queue.Bytes" or "topic.Topic";
// else "". Such a value is no box: its words are ordered by protocols of their own, not by the box's lock.
func (t *Type) Stream() string {
	if t == nil || t.Kind != Struct || len(t.Fields) < 2 {
		return ""
	}
	last := t.Fields[len(t.Fields)-1]
	if last.Type.Kind != Array || last.Type.Len == 0 {
		return ""
	}
	first := t.Fields[0].Name
	ring := first == "Many" || first == "Single"
	switch {
	case t.Name == "queue.Queue" && ring && last.Name == "Items",
		t.Name == "queue.Bytes" && ring && last.Name == "Data",
		t.Name == "topic.Topic" && first == "Topic" && last.Name == "Items":
		return t.Name
	}
	return ""
}

// Item is the type of the messages of a queue or topic; nil if t is none, or one of bytes.
func (t *Type) Item() *Type {
	if s := t.Stream(); s == "" || s == "queue.Bytes" {
		return nil
	}
	item := t.Fields[len(t.Fields)-1].Type.Elem
	// An item of a topic whose size is no multiple of 8 is alone in a struct with padding.
	if len(item.Name) > len(Cell) && item.Name[:len(Cell)] == Cell && len(item.Fields) == 1 && item.Fields[0].Offset == 0 {
		item = item.Fields[0].Type
	}
	return item
}

// Cell begins the name of the struct that pads an item of a topic.
const Cell = "topic.cell["
