package natsbridge

import (
	"reflect"
	"testing"

	"github.com/shmembox/shmem/internal/format"
)

func typeOf[T any](t *testing.T) uint64 {
	t.Helper()
	f, err := format.Of(reflect.TypeFor[T]())
	check(t, err)
	return f.Fingerprint()
}
