package inspect

import (
	"bytes"
	"iter"
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
func Diff(a, b *Snapshot) (all []Change) {
	for c := range Changes(a, b) {
		all = append(all, c)
	}
	return all
}

// Changes ranges over what Diff returns.
func Changes(a, b *Snapshot) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		v, w := a.Value(), b.Value()
		sameType := v.t == w.t || v.t != nil && w.t != nil && v.t.Fingerprint() == w.t.Fingerprint()
		switch {
		case !sameType:
			yield(Change{"", v, w})
		case !bytes.Equal(v.b, w.b):
			changes("", v, w, yield)
		}
	}
}

// changes yields the changes between two values of the same type, and reports whether more are
// wanted. Parts with equal bytes are not looked into.
func changes(path string, a, b Value, yield func(Change) bool) bool {
	switch k := a.Kind(); {
	case k == Struct:
		for i, f := range a.t.Fields {
			x, y := a.sub(f.Type, f.Offset), b.sub(b.t.Fields[i].Type, f.Offset)
			if !bytes.Equal(x.b, y.b) && !changes(join(path, f.Name), x, y, yield) {
				return false
			}
		}
		return true
	case (k == Array || k == List) && !isBytes(a.t):
		return changesOfElements(path, a, b, yield)
	// bytes behind the end of a text do not count
	case k == Text && bytes.Equal(a.text(), b.text()):
		return true
	}
	return yield(Change{path, a, b})
}

func changesOfElements(path string, a, b Value, yield func(Change) bool) bool {
	at := func(i int) string { return path + "[" + strconv.Itoa(i) + "]" }
	for i := range max(a.Len(), b.Len()) {
		more := true
		switch {
		case i >= a.Len():
			more = yield(Change{at(i), Value{}, b.Index(i)})
		case i >= b.Len():
			more = yield(Change{at(i), a.Index(i), Value{}})
		default:
			if x, y := a.Index(i), b.Index(i); !bytes.Equal(x.b, y.b) {
				more = changes(at(i), x, y, yield)
			}
		}
		if !more {
			return false
		}
	}
	return true
}
