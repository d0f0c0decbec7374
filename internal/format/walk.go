package format

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Limits of a schema. Of keeps them too, so that every process can decode what Of accepts.
const (
	maxDepth = 64      // of types in types
	maxNodes = 1 << 16 // types in the tree, each as often as it stands there
	maxName  = 1 << 10 // bytes of one name
	maxAlign = 1 << 12
)

// psyncPath is the package whose structs are opaque locks.
const psyncPath = "github.com/shmembox/shmem/psync"

// A TypeError says why a type cannot be in shared memory.
type TypeError struct {
	Type   reflect.Type // what is refused
	Path   string       // where it stands, as main.Config.Routes[].Name
	Reason string       // why, and what to use instead
}

func (e *TypeError) Error() string {
	if e.Type != nil && e.Path == typeName(e.Type) {
		return e.Reason // which begins with the type
	}
	return e.Path + ": " + e.Reason
}

var walked sync.Map // reflect.Type to *Type or *TypeError

// Of returns the schema of t. Its error is a *[TypeError].
func Of(t reflect.Type) (*Type, error) {
	v, ok := walked.Load(t)
	if !ok {
		schema, err := (&walker{psync: psyncPath, root: rootPath}).top(t)
		if err != nil {
			v = err
		} else {
			v = schema
		}
		v, _ = walked.LoadOrStore(t, v)
		if schema, ok := v.(*Type); ok {
			fingerprints.Store(schema, schema.fingerprint())
		}
	}
	if err, ok := v.(*TypeError); ok {
		return nil, err
	}
	return v.(*Type), nil
}

// A walker makes the schema of one type.
type walker struct {
	psync string // path of package psync
	root  string // path of package shmem
	nodes int
}

func (w *walker) top(t reflect.Type) (*Type, *TypeError) {
	if t == nil {
		return nil, &TypeError{Path: "nil",
			Reason: "an interface is no type of fixed size; use a struct"}
	}
	schema, err := w.walk(t, typeName(t), 1)
	if err != nil {
		return nil, err
	}
	if t.Size() == 0 {
		return nil, refuse(t, typeName(t), "has no size; there is nothing to share")
	}
	return schema, nil
}

func refuse(t reflect.Type, path, why string) *TypeError {
	return &TypeError{Type: t, Path: path, Reason: typeName(t) + " " + why}
}

var basicKinds = map[reflect.Kind]Kind{
	reflect.Bool: Bool,
	reflect.Int8: Int8, reflect.Int16: Int16, reflect.Int32: Int32, reflect.Int64: Int64,
	reflect.Uint8: Uint8, reflect.Uint16: Uint16, reflect.Uint32: Uint32, reflect.Uint64: Uint64,
	reflect.Int: Int, reflect.Uint: Uint, reflect.Uintptr: Uintptr,
	reflect.Float32: Float32, reflect.Float64: Float64,
	reflect.Complex64: Complex64, reflect.Complex128: Complex128,
}

// insteadOf says what to use instead of a type of package sync.
var insteadOf = map[string]string{
	"Mutex":     "psync.Mutex",
	"RWMutex":   "psync.RWMutex",
	"Cond":      "psync.Cond",
	"Once":      "psync.Once",
	"WaitGroup": "an atomic counter and psync.Event, or psync.Cond",
	"Map":       "an array of entries and a psync.RWMutex",
	"Pool":      "an array and a psync.Semaphore",
}

// refusals says why a type of a kind cannot be shared, and what to use instead.
var refusals = map[reflect.Kind]string{
	reflect.String:        "holds a Go pointer; use a [N]byte or shmem.Text",
	reflect.Slice:         "holds a Go pointer; use an array or shmem.Vec",
	reflect.Map:           "is a Go pointer; use an array of entries",
	reflect.Pointer:       "is a Go pointer; use the value itself, or an index into an array",
	reflect.UnsafePointer: "is a pointer; use an offset in a uint64",
	reflect.Chan:          "works only inside one process; use package queue",
	reflect.Func:          "is code of one process; use a number that stands for it",
	reflect.Interface:     "holds Go pointers; use a struct with a field that tells the kind",
}

// walk returns the schema of t, which is at path, or the reason why t cannot be shared.
func (w *walker) walk(t reflect.Type, path string, depth int) (*Type, *TypeError) {
	if depth > maxDepth {
		return nil, refuse(t, path, "nests too deep; use fewer than "+strconv.Itoa(maxDepth)+
			" levels")
	}
	if w.nodes++; w.nodes > maxNodes {
		return nil, refuse(t, path, "is one field too many; use arrays for what repeats")
	}
	if err := w.generic(t, path); err != nil {
		return nil, err
	}
	s := &Type{Name: schemaName(t), Size: int(t.Size()), Align: t.Align()}
	switch t.PkgPath() {
	case "sync/atomic":
		for kind, name := range atomicNames {
			if name != "" && name == t.Name() {
				s.Kind, s.Atomic = Kind(kind), true
				return s, nil
			}
		}
		return nil, refuse(t, path, "holds a Go pointer; use an index in an atomic.Uint64")
	case "sync", "internal/sync":
		better, ok := insteadOf[t.Name()]
		if !ok {
			better = "a type of package psync"
		}
		return nil, refuse(t, path, "works only inside one process; use "+better)
	case "time":
		if t.Name() == "Time" {
			return nil, refuse(t, path, "holds a Go pointer; use its UnixNano in an int64")
		}
	case w.psync:
		if t.Kind() == reflect.Struct {
			s.Kind, s.Name = Sync, "psync."+cut(t.Name())
			// Its fields are not recorded, but they must not be pointers either.
			return s, w.fields(t, path, depth, func(Field) {})
		}
	}
	switch t.Kind() {
	case reflect.Array:
		s.Kind, s.Len = Array, t.Len()
		elem, err := w.walk(t.Elem(), path+"[]", depth+1)
		s.Elem = elem
		return s, err
	case reflect.Struct:
		s.Kind = Struct
		err := w.fields(t, path, depth, func(f Field) { s.Fields = append(s.Fields, f) })
		return s, err
	}
	if reason := refusals[t.Kind()]; reason != "" {
		return nil, refuse(t, path, reason)
	}
	kind, ok := basicKinds[t.Kind()]
	if !ok {
		return nil, refuse(t, path, "is of a kind that cannot be shared; use a number")
	}
	s.Kind = kind
	return s, nil
}

func (w *walker) fields(t reflect.Type, path string, depth int, add func(Field)) *TypeError {
	for i := range t.NumField() {
		f := t.Field(i)
		at := path + "." + f.Name
		if f.Type.Size() == 0 {
			if err := w.generic(f.Type, at); err != nil {
				return err
			}
			continue // a marker, whatever it is made of
		}
		if len(f.Name) > maxName {
			return refuse(f.Type, at, "has a field name that is too long; use a shorter one")
		}
		// Blank fields are checked too: a copy of the value on Go's heap must have no pointer for
		// the collector.
		s, err := w.walk(f.Type, at, depth+1)
		if err != nil {
			return err
		}
		if f.Name != "_" {
			add(Field{f.Name, int(f.Offset), s})
		}
	}
	return nil
}

// schemaName returns the name to record for t. Predeclared types have none.
func schemaName(t reflect.Type) string {
	if t.PkgPath() == "" {
		return ""
	}
	return typeName(t)
}

// typeName returns the Go name of t to be displayed. It keeps the last elements of the import paths
// that reflect gives in type arguments.
func typeName(t reflect.Type) string {
	long := t.String()
	var b strings.Builder
	for start := 0; start < len(long); {
		end := start
		for end < len(long) && !strings.ContainsRune("[],;{} *\"", rune(long[end])) {
			end++
		}
		word := long[start:end]
		b.WriteString(word[strings.LastIndexByte(word, '/')+1:])
		if end < len(long) {
			b.WriteByte(long[end])
			end++
		}
		start = end
	}
	return cut(b.String())
}

// cut changes a name to one that nameOK accepts.
func cut(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	const limit = 200
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// nameOK reports whether a name can be displayed as it is.
func nameOK(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return len(s) <= maxName
}
