package format

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// rootPath is the package of Text and Vec, and of the interfaces Initializer and Dropper.
const rootPath = "github.com/shmembox/shmem"

var checked sync.Map // reflect.Type to nil or *TypeError of its methods

// OfValue returns the schema of t, the type of a box. It also checks the methods Init and Drop of
// t: that a box calls them.
func OfValue(t reflect.Type) (*Type, error) {
	schema, err := Of(t)
	if err != nil {
		return nil, err
	}
	v, ok := checked.Load(t)
	if !ok {
		v, _ = checked.LoadOrStore(t, checkMethods(t))
	}
	if err := v.(*TypeError); err != nil {
		return nil, err
	}
	return schema, nil
}

// A hookMethod is a method that a box calls.
type hookMethod struct {
	// the name is constant, so the linker drops others
	find func(reflect.Type) (reflect.Method, bool)
	like reflect.Type // the interface that *T must implement
	name string
	want string // the method's type, as written behind its name
	// a value receiver is as good: the method changes nothing
	byValue bool
}

var hookMethods = [...]hookMethod{
	{
		find: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Init") },
		like: reflect.TypeFor[interface{ Init() error }](), name: "Init", want: "() error",
	},
	{
		find: func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Drop") },
		like: reflect.TypeFor[interface{ Drop() }](), name: "Drop", want: "()",
	},
}

// checkMethods returns an error for a method that looks as if a box called it.
func checkMethods(t reflect.Type) *TypeError {
	for i := range hookMethods {
		if err := checkMethod(t, &hookMethods[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkMethod(t reflect.Type, h *hookMethod) *TypeError {
	_, byPointer := h.find(reflect.PointerTo(t))
	_, byValue := h.find(t)
	why := ""
	switch {
	case !byPointer && h.embedded(t):
		why = "is ambiguous or hidden, so it is never called"
	case !byPointer:
		return nil
	case !reflect.PointerTo(t).Implements(h.like):
		why = "has another signature, so it is never called"
	case byValue && !h.byValue:
		why = "has a value receiver, so it gets a copy"
	default:
		return nil
	}
	return refuse(t, typeName(t), fmt.Sprintf("has a method %s that %s; "+
		"declare %[1]s%[3]s on the type itself with a pointer receiver, or choose another name",
		h.name, why, h.want))
}

// embedded reports whether a struct embedded in t, at any depth, has the method.
func (h *hookMethod) embedded(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.Anonymous {
			continue
		}
		if _, has := h.find(reflect.PointerTo(f.Type)); has || h.embedded(f.Type) {
			return true
		}
	}
	return false
}

// holds reports whether items is an array of elem that can hold something.
func holds(items, elem reflect.Type) bool {
	return items.Kind() == reflect.Array && items.Elem() == elem && items.Size() > 0
}

// generic refuses a Text or Vec whose parameters are not of the kind that it works with.
func (w *walker) generic(t reflect.Type, path string) *TypeError {
	if t.PkgPath() != w.root || t.Kind() != reflect.Struct || t.NumField() == 0 {
		return nil
	}
	items := t.Field(t.NumField() - 1).Type
	switch name, _, _ := strings.Cut(t.Name(), "["); name {
	case "Text":
		if !holds(items, reflect.TypeFor[byte]()) {
			return refuse(t, path, "can hold nothing; its parameter must be an array of bytes, "+
				"as in Text[[32]byte]")
		}
	case "Vec":
		elem := t.Field(0).Type.Elem() // of the marker
		if !holds(items, elem) {
			return refuse(t, path, "can hold nothing; its second parameter must be "+
				"an array of the first, as in Vec["+typeName(elem)+", [16]"+typeName(elem)+"]")
		}
	}
	return nil
}
