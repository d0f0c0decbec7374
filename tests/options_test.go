package tests_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/topic"
)

// What every kind of segment has is an option of each, with one name and one type. Each kind passes
// it on: see TestOptionsArePassedOn in the packages.
func TestCommonOptions(t *testing.T) {
	common := []string{"Dir", "Disk", "Timeout", "Mode", "Group", "Slots", "Lifetime", "ReadOnly",
		"AnyUser", "Populate", "HugePages", "Logger"}
	root := reflect.TypeFor[shmem.Options]()
	for _, kind := range []reflect.Type{
		root, reflect.TypeFor[queue.Options](), reflect.TypeFor[queue.BytesOptions](), reflect.TypeFor[topic.Options](), reflect.TypeFor[topic.BytesOptions](),
		reflect.TypeFor[kv.Options](), reflect.TypeFor[rpc.ServeOptions](), reflect.TypeFor[rpc.DialOptions](),
		reflect.TypeFor[blob.Options](),
	} {
		for _, name := range common {
			f, ok := kind.FieldByName(name)
			want, _ := root.FieldByName(name)
			if !ok && strings.HasPrefix(kind.String(), "rpc.") {
				continue // a server writes, and a client creates nothing
			}
			if !ok || f.Type != want.Type {
				t.Errorf("%v has %s %v, shmem.Options has %v", kind, name, f.Type, want.Type)
			}
		}
		for i := range kind.NumField() {
			f := kind.Field(i)
			if want, ok := root.FieldByName(f.Name); ok && f.Type != want.Type {
				t.Errorf("%v has %s %v, shmem.Options has %v", kind, f.Name, f.Type, want.Type)
			}
		}
	}
}
