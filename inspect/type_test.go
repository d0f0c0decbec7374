package inspect_test

import (
	"testing"

	"github.com/shmembox/shmem/inspect"
)

// TestNilType: what says which kind a segment is can be asked of a segment without a schema.
func TestNilType(t *testing.T) {
	var none *inspect.Type
	key, value := none.MapTypes()
	request, reply := none.CallTypes()
	if key != nil || value != nil || request != nil || reply != nil || none.Item() != nil ||
		none.Stream() != "" || none.Name() != "" || none.String() != "" {
		t.Error("a type that is none has parts")
	}
}
