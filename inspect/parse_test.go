package inspect_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/shmemtest"
)

// settings has a field of every kind that can be set.
type settings struct {
	B    bool
	I8   int8
	U16  uint16
	F32  float32
	C    complex128
	D    time.Duration
	T    shmem.Text[[4]byte]
	Raw  [4]byte
	Nums [3]int32
	List shmem.Vec[uint16, [3]uint16]
	In   struct{ A, B uint8 }
}

// TestParse sets one part at a time and shows it, or the error.
func TestParse(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	box, err := shmem.Create[settings]("s", o)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	obs := look(t, dir, "s")
	for _, c := range []struct{ path, text, want string }{
		{"B", "true", "true"},
		{"B", "2", "error: true or false is needed"},
		{"I8", "-0x10", "-16"},
		{"I8", "128", "error: out of the range of int8"},
		{"I8", "1.5", "error: int8 is needed"},
		{"U16", "65535", "65535"},
		{"U16", "-1", "error: uint16 is needed"},
		{"F32", "1e-3", "0.001"},
		{"F32", "NaN", "NaN"},
		{"F32", "1e99", "error: out of the range of float32"},
		{"C", "1+2i", "(1+2i)"},
		{"D", "1.5s", "1.5s"},
		{"D", "10", "10ns"},
		{"T", "four", `"four"`},
		{"T", `"a\tb"`, `"a\tb"`},
		{"T", `"a`, "error: the quotes do not match"},
		{"T", "fives", "error: a text of 5 bytes does not fit into 4"},
		{"T", `"\x00"`, "error: a text cannot have a NUL byte"},
		{"Raw", "0x0102", "01020000"},
		{"Raw", "text", `"text"`},
		{"Raw", "0x0", "error: "},
		{"Raw", "longer", "error: 6 bytes do not fit into 4"},
		{"Raw", "[1,2,3,4]", "01020304"},
		{"Nums", "[1,-2,3]", "[1 -2 3]"},
		{"Nums", "[1,2]", "error: the value has 3 elements, not 2"},
		{"Nums", "[1,2,9999999999]", "error: [2]: out of the range of int32"},
		{"Nums", "[1", "error: JSON of a "},
		{"Nums", "[1,2,3] 4", "error: the JSON value is followed by more text"},
		{"List", "[7,8]", "[7 8]"},
		{"List", "[1,2,3,4]", "error: the value has 3 elements, not 4"},
		{"List[5]", "1", "error: List has elements 0 to 1"},
		{"In", `{"B":9}`, "{A 0, B 9}"},
		{"In", `{"C":9}`, `error: the value has no field "C"; it has A, B`},
		{"In", "[1]", "error: the value is a struct"},
		{"In.A.B", "1", `error: In.A has no field "B"; it is uint8`},
		{"Nope", "1", `error: the value has no field "Nope"; it has B, I8`},
	} {
		got := ""
		if err := inspect.Set(context.Background(), "s", o,
			inspect.Assignment{Path: c.path, Value: c.text}); err != nil {
			got = "error: " + err.Error()
		} else {
			snap, err := obs.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			v, err := snap.Value().At(c.path)
			if err != nil {
				t.Fatal(err)
			}
			got = v.String()
		}
		text, isError := strings.CutPrefix(c.want, "error: ")
		if isError && (!strings.HasPrefix(got, "error: shmem: inspect set s: ") ||
			!strings.Contains(got, text)) || !isError && got != c.want {
			t.Errorf("%s=%s: %s, want %s", c.path, c.text, got, c.want)
		}
	}
}
