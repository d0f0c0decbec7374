package format

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
)

func TestDiff(t *testing.T) {
	type R1 struct {
		Name [8]byte
		Cost uint32
	}
	type R2 struct {
		Name [16]byte
		Cost float32
	}
	for _, c := range []struct {
		name        string
		here, there *Type
		want        string
	}{
		{"size", of[struct {
			A uint64
			L uint32
		}](t), of[struct{ A, L uint64 }](t), "field L: here uint32 at 8, in the segment uint64 at 8"},
		{"gone and come", of[struct{ A, B uint32 }](t), of[struct{ A, C uint32 }](t),
			"field B: here uint32 at 4, not in the segment\nfield C: not here, in the segment uint32 at 4"},
		{"moved", of[struct{ A, B uint32 }](t), of[struct{ B, A uint32 }](t),
			"field A: here uint32 at 0, in the segment uint32 at 4\nfield B: here uint32 at 4, in the segment uint32 at 0"},
		{"nested", of[struct {
			N      uint64
			Routes [4]R1
		}](t), of[struct {
			N      uint64
			Routes [4]R2
		}](t), "field Routes[].Name: here [8]uint8 at 8, in the segment [16]uint8 at 8\n" +
			"field Routes[].Cost: here uint32 at 16, in the segment float32 at 24"},
		{"moved with its fields", of[struct {
			N uint32
			R R1
		}](t), of[struct {
			N uint64
			R R1
		}](t), "field N: here uint32 at 0, in the segment uint64 at 0\nfield R: here format.R1 at 4, in the segment format.R1 at 8"},
		{"array", of[[3]uint8](t), of[[4]uint8](t), "value: here [3]uint8 at 0, in the segment [4]uint8 at 0"},
		{"atomic", of[struct{ A atomic.Uint32 }](t), of[struct{ A uint32 }](t), "field A: here atomic.Uint32 at 0, in the segment uint32 at 0"},
		{"kind", of[struct{ A R1 }](t), of[uint8](t), "value: here struct{...} at 0, in the segment uint8 at 0"},
		{"padding", of[struct {
			A uint32
			_ [8]byte
		}](t), of[struct{ A uint32 }](t), "value: here struct{...} (12 bytes) at 0, in the segment struct{...} (4 bytes) at 0"},
		{"int", &Type{Kind: Int, Size: 8, Align: 8}, &Type{Kind: Int, Size: 4, Align: 4},
			"value: here int (8 bytes) at 0, in the segment int (4 bytes) at 0"},
		{"same", of[R1](t), of[struct {
			Name [8]uint8
			Cost uint32
		}](t), ""},
	} {
		var lines []string
		for _, d := range Diff(c.here, c.there) {
			lines = append(lines, d.String())
		}
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// TestDiffAgrees: a change anywhere is in the fingerprint and in the list, or
// in neither.
func TestDiffAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	differ := 0
	for range 20000 {
		a := randomType(r, 4)
		b := change(r, a)
		same := a.Fingerprint() == b.Fingerprint()
		diffs := Diff(a, b)
		if same != (len(diffs) == 0) || (len(Diff(b, a)) == 0) != same {
			t.Fatalf("%v and\n%v: same fingerprint %v, differences %v", a, b, same, diffs)
		}
		if !same {
			differ++
		}
		if Prefix(a, b) && Prefix(b, a) != same {
			t.Fatalf("%v and\n%v: prefixes of each other, same fingerprint %v", a, b, same)
		}
	}
	if differ < 5000 {
		t.Errorf("only %d pairs differ", differ)
	}
}

// change is a copy of t with one thing changed, perhaps only its name.
func change(r *rand.Rand, t *Type) *Type {
	c := *t
	c.Fields = append([]Field(nil), t.Fields...)
	switch {
	case t.Kind == Array && r.IntN(2) == 0:
		c.Elem = change(r, t.Elem)
		c.Size, c.Align = c.Len*c.Elem.Size, c.Elem.Align
	case len(c.Fields) > 0 && r.IntN(4) > 0:
		i := r.IntN(len(c.Fields))
		if r.IntN(3) == 0 {
			c.Fields[i].Name += "x"
		} else {
			// The size is kept as it is, the list need not be sane here.
			c.Fields[i].Type = change(r, c.Fields[i].Type)
		}
	default:
		switch r.IntN(5) {
		case 0:
			c.Name += "x"
		case 1:
			if c.Kind == Array {
				c.Len++
				c.Size += c.Elem.Size
			} else {
				c.Size += c.Align
			}
		case 2:
			if c.Kind == Struct || c.Kind == Array {
				return &Type{Kind: Uint64, Size: 8, Align: 8}
			}
			c.Kind = Uint64
			c.Elem, c.Len = nil, 0
		case 3:
			c.Align *= 2
		case 4:
			if c.Kind != Struct && c.Kind != Array {
				c.Atomic = !c.Atomic
			}
		}
	}
	return &c
}

func TestPrefix(t *testing.T) {
	type short struct {
		A uint64
		B uint32
		_ uint32
	}
	type holed struct {
		A uint32
		B uint16
	}
	for _, c := range []struct {
		name        string
		short, long *Type
		want        bool
	}{
		{"itself", of[short](t), of[short](t), true},
		{"appended", of[short](t), of[struct {
			A uint64
			B uint32
			_ uint32
			C uint8
		}](t), true},
		{"in the padding", of[holed](t), of[struct {
			A    uint32
			B, C uint16
		}](t), false},
		{"larger alone", of[short](t), of[struct {
			A uint64
			B uint32
			_ [5]uint32
		}](t), true},
		{"longer first", of[struct {
			A uint64
			B uint32
			_ uint32
			C uint8
		}](t), of[short](t), false},
		{"other name", of[short](t), of[struct {
			A uint64
			X uint32
			_ uint32
			C uint8
		}](t), false},
		{"other type", of[short](t), of[struct {
			A uint64
			B float32
			_ uint32
			C uint8
		}](t), false},
		{"in front", of[struct{ A uint32 }](t), of[struct{ B, A uint32 }](t), false},
		{"nested growth", of[struct{ S struct{ A uint32 } }](t), of[struct{ S struct{ A, B uint32 } }](t), false},
		{"array", of[[3]uint8](t), of[[4]uint8](t), false},
		{"equal arrays", of[[3]uint8](t), of[[3]level](t), true},
		{"array and struct", of[[3]uint8](t), of[struct{ A [3]uint8 }](t), false},
	} {
		if got := Prefix(c.short, c.long); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
