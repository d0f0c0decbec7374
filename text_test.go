package shmem_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

type route struct {
	Prefix shmem.Text[[8]byte]
	Metric int32
}

func TestText(t *testing.T) {
	var a, b shmem.Text[[4]byte]
	for _, s := range []string{"", "abcd", "xy", "日"} {
		if err := a.Set(s); err != nil || a.String() != s || a.Len() != len(s) {
			t.Errorf("Set(%q): %v, reads %q, length %d", s, err, a.String(), a.Len())
		}
	}
	if a.Cap() != 4 {
		t.Errorf("Cap = %d", a.Cap())
	}
	for _, s := range []string{"abcde", "a\x00b"} {
		if err := a.Set(s); err == nil || a.String() != "日" {
			t.Errorf("Set(%q): %v, reads %q", s, err, a.String())
		}
	}
	// A shorter text that replaces a longer one equals a fresh one.
	a.Set("long")
	a.Set("x")
	b.Set("x")
	if a != b {
		t.Error("equal texts differ")
	}
	if s := fmt.Sprint(a); s != "x" {
		t.Errorf("printed %q", s)
	}
}

func TestTextNeedsBytes(t *testing.T) {
	var x shmem.Text[int]
	if err := x.Set("a"); err == nil || x.String() != "" {
		t.Errorf("a Text of no bytes took %q (%v)", x.String(), err)
	}
}

func TestVec(t *testing.T) {
	type list = shmem.Vec[int16, [3]int16]
	var a, b list
	if err := a.Append(1, 2); err != nil {
		t.Fatal(err)
	}
	if err := a.Append(3, 4); err == nil || a.Len() != 2 {
		t.Errorf("more than fits: %v, length %d", err, a.Len())
	}
	if err := a.Append(3); err != nil || !slices.Equal(a.Slice(), []int16{1, 2, 3}) || a.Cap() != 3 {
		t.Errorf("%v: %v", err, a)
	}
	for i, p := range a.All() {
		*p += int16(i)
	}
	if fmt.Sprint(a) != "[1 3 5]" {
		t.Errorf("printed %v", a)
	}
	a.Truncate(1)
	b.Append(1)
	if a != b {
		t.Error("equal lists differ")
	}
	a.Truncate(-1)
	if a != (list{}) {
		t.Error("an emptied list differs from a fresh one")
	}
}

func TestFixedJSON(t *testing.T) {
	type table struct {
		Routes shmem.Vec[route, [2]route]
	}
	var in table
	var r route
	r.Prefix.Set("10/8")
	r.Metric = 5
	in.Routes.Append(r)
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"Routes":[{"Prefix":"10/8","Metric":5}]}` {
		t.Fatalf("%s %v", b, err)
	}
	var out table
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%v: %v", err, out)
	}
	if err := json.Unmarshal([]byte(`{"Routes":[{},{},{}]}`), &out); err == nil || out != in {
		t.Errorf("too many items: %v, %v", err, out)
	}
}

// TestBadParameters opens a Text and a Vec that could hold nothing.
func TestBadParameters(t *testing.T) {
	o := &shmem.Options{Dir: shmemtest.Dir(t)}
	_, err := shmem.Open[shmem.Text[[4]int32]]("b", o)
	wantErr(t, err, shmem.ErrBadType, "array of bytes", "Text[[32]byte]")
	_, err = shmem.Open[struct{ A, B shmem.Text[int64] }]("b", o)
	wantErr(t, err, shmem.ErrBadType, ".A: shmem.Text", "array of bytes")
	_, err = shmem.Open[struct {
		N int
		T shmem.Text[struct{}]
	}]("b", o)
	wantErr(t, err, shmem.ErrBadType, ".T: shmem.Text")
	_, err = shmem.Open[shmem.Vec[int32, [4]int64]]("b", o)
	wantErr(t, err, shmem.ErrBadType, "array of the first", "Vec[int32, [16]int32]")
	_, err = shmem.Open[shmem.Vec[int32, int32]]("b", o)
	wantErr(t, err, shmem.ErrBadType, "array of the first")
	_, err = shmem.Open[struct {
		N int
		T shmem.Text[[0]byte]
	}]("b", o)
	wantErr(t, err, shmem.ErrBadType, ".T: shmem.Text[[0]uint8]", "array of bytes")
	_, err = shmem.Open[shmem.Vec[int64, [0]int64]]("b", o)
	wantErr(t, err, shmem.ErrBadType, "array of the first")
	_, err = shmem.Open[shmem.Vec[struct{}, [4]struct{}]]("b", o)
	wantErr(t, err, shmem.ErrBadType, "array of the first")
	open[shmem.Vec[route, [4]route]](t, o.Dir, "good")
}
