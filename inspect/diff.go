package inspect

import "bytes"

// A Change is a leaf of a value that differs between two snapshots.
type Change struct {
	Path     string
	Old, New Value // the zero Value where there is none: a list that has grown, or other types
}

// Diff gives what has changed from old to new, leaf by leaf. Snapshots of different types differ as
// a whole.
func Diff(old, new *Snapshot) []Change {
	a, b := old.Value(), new.Value()
	if (a.t == nil) != (b.t == nil) || a.t != nil && a.t != b.t && a.t.Fingerprint() != b.t.Fingerprint() {
		return []Change{{"", a, b}}
	}
	if bytes.Equal(a.b, b.b) {
		return nil
	}
	return diff(nil, "", a, b)
}

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
		n := min(a.Len(), b.Len())
		for i := range max(a.Len(), b.Len()) {
			at := path + "[" + itoa(i) + "]"
			switch {
			case i >= n && i < b.Len():
				all = append(all, Change{at, Value{}, b.Index(i)})
			case i >= n:
				all = append(all, Change{at, a.Index(i), Value{}})
			default:
				if x, y := a.Index(i), b.Index(i); !bytes.Equal(x.b, y.b) {
					all = diff(all, at, x, y)
				}
			}
		}
		return all
	case k == Text && bytes.Equal(a.text(), b.text()):
		return all
	}
	return append(all, Change{path, a, b})
}
