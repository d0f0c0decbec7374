package inspect_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
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
		if err := inspect.Set(context.Background(), "s", o, inspect.Assignment{Path: c.path, Value: c.text}); err != nil {
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
		if isError && (!strings.HasPrefix(got, "error: shmem: inspect set s: ") || !strings.Contains(got, text)) || !isError && got != c.want {
			t.Errorf("%s=%s: %s, want %s", c.path, c.text, got, c.want)
		}
	}
}

// TestErrors: every function returns a *shmem.Error with its operation and the segment's name, after
// Close too.
func TestErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp, err := topic.Create[uint64]("t", &topic.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	box, err := shmem.Create[uint64]("box", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(filepath.Join(dir, "file"))
	open := look(t, dir, "box")
	closed, err := inspect.Open(dir, "t")
	if err != nil {
		t.Fatal(err)
	}
	f, err := closed.Follow(inspect.FromNow)
	if err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, cancelled := f.Next(done)
	if err := errors.Join(closed.Close(), closed.Close()); err != nil {
		t.Fatal(err)
	}
	second := func(_ any, err error) error { return err }
	_, _, tried := f.Try()
	_, errFile := inspect.Open(dir, "nope")
	for _, c := range []struct {
		err  error
		op   string
		name string
		is   error
	}{
		{errFile, "inspect open", "nope", fs.ErrNotExist},
		{second(inspect.Open(dir, "")), "inspect open", "", shmem.ErrBadName},
		{second(open.Follow(0)), "inspect follow", "box", shmem.ErrMismatch},
		{second(open.Messages(0)), "inspect messages", "box", shmem.ErrMismatch},
		{cancelled, "inspect follow", "t", context.Canceled},
		{second(closed.Status()), "inspect refresh", "t", shmem.ErrClosed},
		{closed.Refresh(), "inspect refresh", "t", shmem.ErrClosed},
		{second(closed.Stats()), "inspect stats", "t", shmem.ErrClosed},
		{second(closed.Messages(1)), "inspect messages", "t", shmem.ErrClosed},
		{second(closed.Snapshot()), "inspect snapshot", "t", shmem.ErrClosed},
		{second(closed.Follow(0)), "inspect follow", "t", shmem.ErrClosed},
		{second(closed.ReadAt(make([]byte, 1), 0)), "inspect read", "t", shmem.ErrClosed},
		{tried, "inspect follow", "t", shmem.ErrClosed},
		{inspect.Set(context.Background(), "nope", &shmem.Options{Dir: dir}), "inspect set", "nope", fs.ErrNotExist},
		{inspect.Set(context.Background(), "file", &shmem.Options{Dir: dir}), "inspect set", "file", shmem.ErrForeign},
		{inspect.Set(done, "box", &shmem.Options{Dir: dir}, inspect.Assignment{Path: "x", Value: "1"}), "inspect set", "box", nil},
		{second(inspect.TypeFor[string]()), "inspect type", "", shmem.ErrBadType},
	} {
		var e *shmem.Error
		if !errors.As(c.err, &e) || e.Op != c.op || e.Name != c.name || c.is != nil && !errors.Is(c.err, c.is) {
			t.Errorf("%v (%T), want %s %s: %v", c.err, c.err, c.op, c.name, c.is)
		}
	}
	if _, err := open.ReadAt(make([]byte, 1), 1<<40); err != io.EOF {
		t.Errorf("behind the end: %v, want a bare io.EOF", err)
	}
	if err := tp.End(); err != nil {
		t.Fatal(err)
	}
	f, err = look(t, dir, "t").Follow(inspect.FromOldest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Next(context.Background()); err != io.EOF {
		t.Errorf("the end of a topic: %v, want a bare io.EOF", err)
	}
}

// TestFate: the sentence depends on the state and on the number of processes.
func TestFate(t *testing.T) {
	dir := shmemtest.Dir(t)
	fate := func(name string) string {
		st, err := look(t, dir, name).Status()
		if err != nil {
			t.Fatal(err)
		}
		return st.Fate
	}
	want := func(name, want string) {
		t.Helper()
		if got := fate(name); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	o := &shmem.Options{Dir: dir}
	var boxes []*shmem.Box[uint64]
	for n := range 3 {
		b, err := shmem.Open[uint64]("live", o)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		boxes = append(boxes, b)
		want("live", []string{"it is garbage", "the other process attached goes on", "the 2 others attached go on"}[n])
	}
	if err := boxes[0].Leak(); err != nil {
		t.Fatal(err)
	}
	want("live", "it has no owner")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("file", "a file of another program")
	if err := errors.Join(shmem.Remove(dir, "live"), shmem.Remove(dir, "file")); err != nil {
		t.Error(err)
	}
}
