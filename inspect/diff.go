package inspect

import (
	"bytes"
	"strconv"
)

// A Change is a leaf of a value (see Value.Leaves) that differs between two snapshots.
type Change struct {
	Path string
	// Old and New are the leaf in both snapshots. One of them is the zero Value if a list has grown
	// or shrunk.
	Old, New Value
}

// Diff returns what has changed from a to b, leaf by leaf, in the order of the type. Snapshots of
// different types give one Change of the whole value, with the path "".
func Diff(a, b *Snapshot) []Change {
	v, w := a.Value(), b.Value()
	sameType := v.t == w.t || v.t != nil && w.t != nil && v.t.Fingerprint() == w.t.Fingerprint()
	if !sameType {
		return []Change{{"", v, w}}
	}
	if bytes.Equal(v.b, w.b) {
		return nil
	}
	return diff(nil, "", v, w)
}

// diff appends the changes between two values of the same type to all. Parts with equal bytes are
// not looked into.
func diff(all []Change, path string, a, b Value) []Change {
	switch k := a.Kind(); {
	case k == Struct:
		for i, f := range a.t.Fields {
			x, y := a.sub(f.Type, f.Offset), b.sub(b.t.Fields[i].Type, f.Offset)
			if !bytes.Equal(x.b, y.b) {
				all = diff(all, join(path, f.Name), x, y)
			}
		}
		return all
	case (k == Array || k == List) && !isBytes(a.t):
		return diffElements(all, path, a, b)
	// bytes behind the end of a text do not count
	case k == Text && bytes.Equal(a.text(), b.text()):
		return all
	}
	return append(all, Change{path, a, b})
}

func diffElements(all []Change, path string, a, b Value) []Change {
	for i := range max(a.Len(), b.Len()) {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case i >= a.Len():
			all = append(all, Change{at, Value{}, b.Index(i)})
		case i >= b.Len():
			all = append(all, Change{at, a.Index(i), Value{}})
		default:
			if x, y := a.Index(i), b.Index(i); !bytes.Equal(x.b, y.b) {
				all = diff(all, at, x, y)
			}
		}
	}
	return all
}
