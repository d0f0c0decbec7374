package topic

import (
	"reflect"
	"testing"

	"github.com/shmembox/shmem"
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
