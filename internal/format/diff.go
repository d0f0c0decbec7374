package format

import "fmt"

// A Difference is one field in which two schemas differ.
type Difference struct {
	Path        string // as Routes[].Name; "" is the value itself
	Here, There *Place // nil: no such field
}

// A Place is a field's type and offset in one schema.
type Place struct {
	Type   string
	Offset int // in the payload; below an array, that in its first element
}

func (p *Place) String() string { return fmt.Sprintf("%s at %d", p.Type, p.Offset) }

// String describes the difference in one line.
func (d Difference) String() string {
	what := "field " + d.Path
	if d.Path == "" {
		what = "value"
	}
	switch {
	case d.Here == nil && d.There == nil:
		return what + ": nowhere"
	case d.Here == nil:
		return fmt.Sprintf("%s: not here, in the segment %v", what, d.There)
	case d.There == nil:
		return fmt.Sprintf("%s: here %v, not in the segment", what, d.Here)
	}
	return fmt.Sprintf("%s: here %v, in the segment %v", what, d.Here, d.There)
}

// Diff returns the differences of two schemas, by path, the fields of here first. It returns none
// exactly if the fingerprints are equal. A struct at another offset is one difference, not one for
// each of its fields.
func Diff(here, there *Type) []Difference { return DiffAt("", here, there) }

// DiffAt is Diff for types that stand at a path. Offsets are those in the types.
func DiffAt(path string, here, there *Type) []Difference {
	var all []Difference
	diff(&all, path, here, there, 0, 0, false)
	return all
}

// diff compares one field. moved reports that the field has another offset in its struct.
func diff(all *[]Difference, path string, here, there *Type, hereOff, thereOff int, moved bool) {
	before := len(*all)
	report := func() {
		h, t := here.short(), there.short()
		if h == t && here.Size != there.Size {
			h = fmt.Sprintf("%s (%d bytes)", h, here.Size)
			t = fmt.Sprintf("%s (%d bytes)", t, there.Size)
		}
		d := Difference{path, &Place{h, hereOff}, &Place{t, thereOff}}
		*all = append(*all, d)
	}
	leaf := here.Kind != Array && here.Kind != Struct
	switch {
	case moved,
		here.Kind != there.Kind,
		here.Atomic != there.Atomic,
		here.Len != there.Len,
		here.Kind == Sync && here.Name != there.Name,
		leaf && here.Size != there.Size:
		report()
	}
	if here.Kind != there.Kind {
		return
	}
	switch here.Kind {
	case Array:
		diff(all, path+"[]", here.Elem, there.Elem, hereOff, thereOff, false)
	case Struct:
		diffFields(all, path, here, there, hereOff, thereOff)
		if len(*all) == before && here.Size != there.Size {
			report() // padding
		}
	}
}

func diffFields(all *[]Difference, path string, here, there *Type, hereOff, thereOff int) {
	if path != "" {
		path += "."
	}
	theirs := make(map[string]Field, len(there.Fields))
	for _, f := range there.Fields {
		theirs[f.Name] = f
	}
	for _, f := range here.Fields {
		g, ok := theirs[f.Name]
		if !ok {
			*all = append(*all,
				Difference{path + f.Name, &Place{f.Type.short(), hereOff + f.Offset}, nil})
			continue
		}
		delete(theirs, f.Name)
		diff(all, path+f.Name, f.Type, g.Type, hereOff+f.Offset, thereOff+g.Offset,
			f.Offset != g.Offset)
	}
	for _, g := range there.Fields {
		if _, ok := theirs[g.Name]; ok {
			*all = append(*all,
				Difference{path + g.Name, nil, &Place{g.Type.short(), thereOff + g.Offset}})
		}
	}
}

// Prefix reports whether long is short, with or without appended fields.
//
// An appended field lies beyond all of short, and not in padding at the end of short: a process
// that knows only short may overwrite the padding with its whole value.
func Prefix(short, long *Type) bool {
	if short.Kind != Struct || long.Kind != Struct {
		return len(Diff(short, long)) == 0
	}
	n := len(short.Fields)
	if n > len(long.Fields) || short.Size > long.Size {
		return false
	}
	for i, f := range short.Fields {
		g := long.Fields[i]
		if f.Name != g.Name || f.Offset != g.Offset || len(Diff(f.Type, g.Type)) > 0 {
			return false
		}
	}
	return n == len(long.Fields) || long.Fields[n].Offset >= short.Size
}

// InPadding returns the first field of long that would be an appended one, if it did not lie in the
// padding at the end of short; "" if there is none.
func InPadding(short, long *Type) string {
	n := len(short.Fields)
	if short.Kind != Struct || long.Kind != Struct || n >= len(long.Fields) ||
		long.Fields[n].Offset >= short.Size {
		return ""
	}
	last := *long
	last.Fields, last.Size = long.Fields[:n], short.Size
	if !Prefix(short, &last) {
		return ""
	}
	return long.Fields[n].Name
}
