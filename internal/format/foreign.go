package format

import (
	"fmt"
	"reflect"
)

// OfForeign checks that a box of type t can be one of a foreign file: that the type has no hidden
// padding, and that the box calls its method Check if it has one.
func OfForeign(t reflect.Type) error {
	if err := checkMethod(t, &checkHook); err != nil {
		return err
	}
	return Unpadded(t, false)
}

var checkHook = hookMethod{
	find: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Check") },
	like: reflect.TypeFor[interface{ Check() error }](), name: "Check", want: "() error",
	byValue: true,
}

// Unpadded returns a *TypeError for a type whose fields have padding between them that is not
// declared. The same fields in a packed struct of another program are elsewhere, and nothing in the
// file says so: the numbers would be garbage. Padding at the end of t counts if there are many t in
// a row.
func Unpadded(t reflect.Type, many bool) error {
	if err := unpadded(t, typeName(t), many); err != nil {
		return err
	}
	return nil
}

func unpadded(t reflect.Type, path string, inside bool) *TypeError {
	switch {
	case t.Kind() == reflect.Array:
		return unpadded(t.Elem(), path+"[]", inside || t.Len() > 1)
	case t.Kind() != reflect.Struct || t.PkgPath() == psyncPath || t.PkgPath() == "sync/atomic":
		return nil
	}
	end := uintptr(0)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type.Size() == 0 {
			continue // a marker
		}
		at := path + "." + f.Name
		if gap := f.Offset - end; gap > 0 {
			return padded(f.Type, at, gap, "before it")
		}
		if err := unpadded(f.Type, at, true); err != nil {
			return err
		}
		end = f.Offset + f.Type.Size()
	}
	if gap := t.Size() - end; gap > 0 && inside {
		return padded(t, path, gap, "at its end")
	}
	return nil
}

func padded(t reflect.Type, path string, n uintptr, where string) *TypeError {
	return &TypeError{Type: t, Path: path, Reason: fmt.Sprintf(
		"%s has %d bytes of padding %s, which a packed struct of another program lacks; "+
			"if they are there declare them, as _ [%[2]d]byte, and if not declare its numbers as "+
			"arrays of bytes, for encoding/binary", typeName(t), n, where)}
}
