package queue

import (
	"reflect"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// TestDeathCounters compares the struct with the layout of it.
func TestDeathCounters(t *testing.T) {
	got, err := format.Of(reflect.TypeFor[deathCounters]())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, layout.Deaths) {
		t.Errorf("the struct is\n%s\nthe layout says\n%s", got.Declaration(), layout.Deaths.Declaration())
	}
}
