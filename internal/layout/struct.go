package layout

import (
	"errors"
	"math"

	"github.com/shmembox/shmem/internal/format"
)

// A Part is a field of a struct composed at run time.
type Part struct {
	Name  string
	Type  *format.Type
	Len   int // not 0: an array of so many
	Align int // not 0: where it begins is a multiple of it
}

// ErrSize is returned for a struct that is too large, and for an array without elements.
var ErrSize = errors.New("a size that is not possible")

// Struct lays parts out one behind the other.
func Struct(name string, parts ...Part) (t *format.Type, err error) {
	t = &format.Type{Kind: format.Struct, Name: name, Align: 1}
	for _, p := range parts {
		f := p.Type
		if p.Len != 0 {
			if p.Len < 0 || p.Len > math.MaxInt/4/p.Type.Size {
				return nil, ErrSize
			}
			f = &format.Type{
				Kind: format.Array, Size: p.Len * p.Type.Size, Align: p.Type.Align,
				Len: p.Len, Elem: p.Type,
			}
		}
		t.Align = max(t.Align, f.Align)
		at := roundUp(t.Size, max(p.Align, f.Align))
		if at > math.MaxInt/2-f.Size {
			return nil, ErrSize
		}
		t.Fields = append(t.Fields, format.Field{Name: p.Name, Offset: at, Type: f})
		t.Size = at + f.Size
	}
	t.Size = roundUp(t.Size, t.Align)
	return t, nil
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// Len returns the length of the array that is the field of that name in t, and 0 if there is none.
func Len(t *format.Type, name string) int {
	if t != nil {
		for _, f := range t.Fields {
			if f.Name == name && f.Type.Kind == format.Array {
				return f.Type.Len
			}
		}
	}
	return 0
}

// Offset returns where the field of that name is in t, and -1 if there is none.
func Offset(t *format.Type, name string) int {
	for _, f := range t.Fields {
		if f.Name == name {
			return f.Offset
		}
	}
	return -1
}

// First returns the name of the first field of t, and "" if there is none.
func First(t *format.Type) string {
	if t == nil || len(t.Fields) == 0 {
		return ""
	}
	return t.Fields[0].Name
}
