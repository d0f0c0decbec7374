package topic

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// fill sets every field of *opts to something.
func fill(opts any) {
	v := reflect.ValueOf(opts).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Uint32:
			f.SetUint(0o644)
		default:
			f.SetInt(64)
		}
	}
}

// passedOn checks that what the options have in common with those of a segment is passed on. Reserve
// is that of each item here.
func passedOn(t *testing.T, from any, to *shmem.Options) {
	t.Helper()
	f, s := reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem()
	for i := range f.NumField() {
		name := f.Type().Field(i).Name
		if got := s.FieldByName(name); name != "Reserve" && got.IsValid() && !got.Equal(f.Field(i)) {
			t.Errorf("%v.%s is %v, the segment's is %v", f.Type(), name, f.Field(i), got)
		}
	}
}

func TestOptionsArePassedOn(t *testing.T) {
	var o Options
	fill(&o)
	passedOn(t, &o, o.segment())
}

// An item has what a box has: texts and lists that can hold something. Its methods Init and Drop are
// never called, so they may be anything.
type hooked struct{ N int64 }

func (*hooked) Init(int) {}
func (hooked) Drop() int { return 0 }

func TestItems(t *testing.T) {
	o := &Options{Dir: shmemtest.Dir(t)}
	_, err1 := Open[shmem.Text[[4]int32]]("q", o)
	_, err2 := Open[struct {
		N    int64
		List shmem.Vec[int64, [4]int32]
	}]("q", o)
	_, err3 := Open[*int]("q", o)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, shmem.ErrBadType) || !strings.Contains(err.Error(), "topic open q") {
			t.Error(err)
		}
	}
	q, err := Open[hooked]("q", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
