package layout

import (
	"errors"

	"github.com/shmembox/shmem/internal/format"
)

// MapName is the name that the type of a map has in its schema.
const MapName = "kv.Map"

// The fields of that type. The name of the first one tells the form.
const (
	mapField      = "Map"
	evictingField = "Evicting"

	stripesField = "Stripes"
	bucketsField = "Buckets"
	marksField   = "Marks"
	cellsField   = "Cells"

	keyField = "Key"
)

// ErrNoMap is returned for a type that is not laid out as a map.
var ErrNoMap = errors.New("it is no map of this version")

// The structs in the payload of a map. Tests compare each with the Go struct of package table that
// has its name.
var (
	// MapHeader begins a kv.Map.
	MapHeader = record("table.Header", 256,
		word("Seed", 0),
		word("Hand", 128), word("Removed", 136), word("Timed", 144),
		word("Evicted", 152), word("Expired", 160), word("Repairs", 168),
		half("Armed", 176))

	// Stripe is what a part of the buckets of a map has in common.
	Stripe = record("table.Stripe", 128,
		half("Lock", 0), half("LockArmed", 4), half("Armed", 8),
		word("Version", 16), word("Intent", 24), word("Spare", 32), word("Count", 40))
)

// cellWords are the words with which a cell begins, in their order.
var cellWords = []string{"State", "Gen", "Hash", "Next", "Expires", "Used"}

// wordAlign is where the key and the value of a cell begin, and its size: copies move whole words.
const wordAlign = 8

// MapCounts says how many of each part a map has.
type MapCounts struct{ Stripes, Buckets, Marks, Cells int }

// A Map is the layout of a kv.Map. Offsets are in bytes from the start of the payload. The header
// is at 0.
//
//	Header; Stripes [n]Stripe; Buckets [n]Word; Marks [n]Word; Cells [n]cell
//
// A cell is its words, the key and the value.
type Map struct {
	Type       *format.Type // of the whole payload
	Key, Value *format.Type
	Evicting   bool // entries are evicted where there is no room
	MapCounts

	StripesAt, BucketsAt, MarksAt, CellsAt int // offsets
}

// Capacity returns how many entries there is room for.
func (m *Map) Capacity() int { return m.Cells - m.Stripes }

// NewMap lays out a map.
func NewMap(key, value *format.Type, evicting bool, n MapCounts) (*Map, error) {
	if key == nil || value == nil || key.Align > wordAlign || value.Align > wordAlign ||
		n.Stripes < 1 || n.Buckets < 1 || n.Marks < 1 || n.Cells <= n.Stripes {
		return nil, ErrSize
	}
	c, err := mapCell(key, value)
	if err != nil {
		return nil, err
	}
	first := mapField
	if evicting {
		first = evictingField
	}
	t, err := Struct(MapName, Part{Name: first, Type: MapHeader},
		Part{Name: stripesField, Type: Stripe, Len: n.Stripes, Align: pairAlign},
		Part{Name: bucketsField, Type: Word, Len: n.Buckets, Align: pairAlign},
		Part{Name: marksField, Type: Word, Len: n.Marks, Align: pairAlign},
		Part{Name: cellsField, Type: c, Len: n.Cells, Align: pairAlign})
	if err != nil {
		return nil, err
	}
	return &Map{
		Type: t, Key: key, Value: value, Evicting: evicting, MapCounts: n,
		StripesAt: Offset(t, stripesField), BucketsAt: Offset(t, bucketsField),
		MarksAt: Offset(t, marksField), CellsAt: Offset(t, cellsField),
	}, nil
}

// mapCell returns the type of a cell.
func mapCell(key, value *format.Type) (*format.Type, error) {
	var parts []Part
	for _, name := range cellWords {
		parts = append(parts, Part{Name: name, Type: Word})
	}
	return Struct("kv.cell", append(parts,
		Part{Name: keyField, Type: key, Align: wordAlign},
		Part{Name: valueName, Type: value, Align: wordAlign})...)
}

// IsMap reports whether t is the type of a kv.Map. The value of such a segment is no box, as that
// of a queue is none.
func IsMap(t *format.Type) bool {
	if t == nil || t.Kind != format.Struct || t.Name != MapName || len(t.Fields) != 5 {
		return false
	}
	key, value := entryOf(t)
	return (First(t) == mapField || First(t) == evictingField) && key != nil && value != nil
}

// entryOf returns the types of the keys and values of a map.
func entryOf(t *format.Type) (key, value *format.Type) {
	last := t.Fields[len(t.Fields)-1]
	if last.Name != cellsField || last.Type.Kind != format.Array ||
		last.Type.Elem.Kind != format.Struct {
		return nil, nil
	}
	for _, f := range last.Type.Elem.Fields {
		switch f.Name {
		case keyField:
			key = f.Type
		case valueName:
			value = f.Type
		}
	}
	return key, value
}

// MapLike lays out a map of other keys and values with the form and the sizes of a stored one. It
// is ErrNoMap if stored is no map.
func MapLike(stored, key, value *format.Type) (*Map, error) {
	if !IsMap(stored) {
		return nil, ErrNoMap
	}
	return NewMap(key, value, First(stored) == evictingField, MapCounts{
		Stripes: Len(stored, stripesField), Buckets: Len(stored, bucketsField),
		Marks: Len(stored, marksField), Cells: Len(stored, cellsField),
	})
}

// MapOf is the layout of a stored map. It is ErrNoMap unless that is, to the byte, what NewMap
// makes.
func MapOf(stored *format.Type) (*Map, error) {
	if !IsMap(stored) {
		return nil, ErrNoMap
	}
	key, value := entryOf(stored)
	m, err := MapLike(stored, key, value)
	if err != nil || m.Type.Fingerprint() != stored.Fingerprint() {
		return nil, ErrNoMap
	}
	return m, nil
}
