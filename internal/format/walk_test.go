package format

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

type level uint8

type route struct {
	Name [32]byte
	Cost float32
}

type config struct {
	_      [0]uint64
	Limit  uint32
	Level  level
	Routes [4]route
	Hits   atomic.Uint64
	On     atomic.Bool
	_      [0]func()
	_      [3]uint32
	C      complex128
	inner  struct{ a, b int16 }
	last   uintptr
}

// lock stands for a type of psync: the tests call this package psync.
type lock struct {
	Word, Armed uint32
}

type pair[A, B any] struct {
	A A
	B B
}

const here = "github.com/shmembox/shmem/internal/format"

func of[T any](t testing.TB) *Type {
	t.Helper()
	s, err := Of(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOf(t *testing.T) {
	s := of[config](t)
	var c config
	want := []struct {
		name   string
		kind   Kind
		offset uintptr
		size   uintptr
		atomic bool
	}{
		{"Limit", Uint32, unsafe.Offsetof(c.Limit), 4, false},
		{"Level", Uint8, unsafe.Offsetof(c.Level), 1, false},
		{"Routes", Array, unsafe.Offsetof(c.Routes), unsafe.Sizeof(c.Routes), false},
		{"Hits", Uint64, unsafe.Offsetof(c.Hits), 8, true},
		{"On", Bool, unsafe.Offsetof(c.On), 4, true},
		{"C", Complex128, unsafe.Offsetof(c.C), 16, false},
		{"inner", Struct, unsafe.Offsetof(c.inner), 4, false},
		{"last", Uintptr, unsafe.Offsetof(c.last), unsafe.Sizeof(c.last), false},
	}
	if len(s.Fields) != len(want) {
		t.Fatalf("%d fields in %v, want %d", len(s.Fields), s, len(want))
	}
	for i, w := range want {
		f := s.Fields[i]
		if f.Name != w.name || f.Type.Kind != w.kind || f.Offset != int(w.offset) ||
			f.Type.Size != int(w.size) || f.Type.Atomic != w.atomic {
			t.Errorf("field %d is %s %v at %d, %d bytes, want %+v", i, f.Name, f.Type, f.Offset, f.Type.Size, w)
		}
	}
	if s.Size != int(unsafe.Sizeof(c)) || s.Align != int(unsafe.Alignof(c)) || s.Name != "format.config" {
		t.Errorf("%s: %d bytes aligned to %d", s.Name, s.Size, s.Align)
	}
	if again := of[config](t); again != s {
		t.Error("walked twice")
	}
}

func TestOfRefuses(t *testing.T) {
	type deep struct {
		Routes [4]struct{ Name string }
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{deep{}, "format.deep.Routes[].Name: string holds a Go pointer; use a [N]byte or shmem.Text"},
		{"", "string holds a Go pointer; use a [N]byte or shmem.Text"},
		{[]int{}, "[]int holds a Go pointer; use an array or shmem.Vec"},
		{struct{ P *int }{}, ".P: *int is a Go pointer"},
		{struct{ M map[int]int }{}, ".M: map[int]int is a Go pointer; use an array of entries"},
		{struct{ C chan int }{}, "use package queue"},
		{struct{ F func() }{}, "use a number that stands for it"},
		{struct{ E error }{}, ".E: error holds Go pointers; use a struct"},
		{struct{ U unsafe.Pointer }{}, "unsafe.Pointer is a pointer; use an offset in a uint64"},
		{struct{ A atomic.Pointer[int] }{}, ".A: atomic.Pointer[int] holds a Go pointer; use an index"},
		{struct{ A atomic.Value }{}, ".A: atomic.Value holds a Go pointer; use an index"},
		{struct{ sync.Mutex }{}, ".Mutex: sync.Mutex works only inside one process; use psync.Mutex"},
		{struct{ M sync.RWMutex }{}, "use psync.RWMutex"},
		{struct{ M sync.Once }{}, "use psync.Once"},
		{struct{ M sync.WaitGroup }{}, "use an atomic counter and psync.Event, or psync.Cond"},
		{struct{ M sync.Map }{}, "sync.Map works only inside one process"},
		{struct{ M [2]sync.Pool }{}, ".M[]: sync.Pool works only inside one process"},
		{struct{ _ *int }{}, "._: *int is a Go pointer"},
		{struct{ At time.Time }{}, "use its UnixNano in an int64"},
		{struct{}{}, "struct {} has no size"},
		{[0]int{}, "[0]int has no size"},
		{pair[level, *route]{}, "format.pair[format.level,*format.route].B: *format.route is a Go pointer"},
	} {
		s, err := Of(reflect.TypeOf(c.v))
		var te *TypeError
		if !errors.As(err, &te) || s != nil {
			t.Errorf("%T: %v, %v", c.v, s, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T:\n%v\nwant\n%s", c.v, err, c.want)
		}
		if te.Type == nil || te.Path == "" || te.Reason == "" {
			t.Errorf("%T: %#v", c.v, te)
		}
	}
	if _, err := Of(nil); err == nil {
		t.Error("nil accepted")
	}
	type myMutex sync.Mutex // sync's own parts give it away
	if _, err := Of(reflect.TypeFor[myMutex]()); err == nil {
		t.Error("a sync.Mutex by another name accepted")
	}
}

func TestOfLimits(t *testing.T) {
	nested := reflect.TypeFor[uint8]()
	for range maxDepth - 1 {
		nested = reflect.ArrayOf(1, nested)
	}
	s, err := Of(nested)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(s.AppendBinary(nil)); err != nil {
		t.Error("deepest:", err)
	}
	if _, err := Of(reflect.ArrayOf(1, nested)); err == nil {
		t.Error("one level too deep accepted")
	}
	wide := reflect.TypeFor[uint8]()
	for range 17 { // a tree of 2^17 leaves made of 17 types
		wide = reflect.StructOf([]reflect.StructField{{Name: "A", Type: wide}, {Name: "B", Type: wide}})
	}
	if _, err := Of(wide); err == nil {
		t.Error("a tree too wide accepted")
	}
}

func TestSync(t *testing.T) {
	walkAs := func(v any) (*Type, *TypeError) { return (&walker{psync: here}).walk(reflect.TypeOf(v), "T", 1) }
	s, err := walkAs(struct{ M lock }{})
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Fields[0].Type; m.Kind != Sync || m.Name != "psync.lock" || m.Size != 8 || m.Align != 4 || m.Fields != nil {
		t.Errorf("%+v", m)
	}
	if _, err := Decode(s.AppendBinary(nil)); err != nil {
		t.Error(err)
	}
	// level is of the package too, but no struct: a number like any other.
	if s, err := walkAs(level(1)); err != nil || s.Kind != Uint8 {
		t.Error(s, err)
	}
	if _, err := walkAs(struct{ P pair[int, *int] }{}); err == nil {
		t.Error("a lock with a pointer in it accepted")
	}
}

type mixed struct {
	A    uint32
	On   atomic.Bool
	N    atomic.Int64
	Tail [3]struct {
		V uint64
		A atomic.Uint32
		B atomic.Uint32
	}
	Row [5]atomic.Uint64
	X   uint64
	One [1]atomic.Uint64
}

func TestSpans(t *testing.T) {
	s := of[mixed](t)
	var m mixed
	tail, step := int(unsafe.Offsetof(m.Tail)), int(unsafe.Sizeof(m.Tail[0]))
	want := []Span{
		{4, 12},
		{tail + 8, 8},
		{tail + step + 8, 8},
		{tail + 2*step + 8, 8 + 40}, // with Row behind it
		{int(unsafe.Offsetof(m.One)), 8},
	}
	spans := s.Spans()
	if got := slices.Collect(spans); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if got := slices.Collect(spans); !slices.Equal(got, want) {
		t.Errorf("the second time %v", got)
	}
	for range spans {
		break // must not panic or go on
	}
	if got := slices.Collect(s.SyncSpans()); got != nil {
		t.Errorf("locks at %v", got)
	}
	if got := slices.Collect(of[route](t).Spans()); got != nil {
		t.Errorf("atomics at %v", got)
	}
	l := &Type{Kind: Sync, Name: "psync.Mutex", Size: 8, Align: 8}
	two := &Type{Kind: Struct, Size: 24, Align: 8, Fields: []Field{
		{"L", 0, l}, {"A", 8, &Type{Kind: Uint64, Atomic: true, Size: 8, Align: 8}}, {"V", 16, &Type{Kind: Uint64, Size: 8, Align: 8}}}}
	if got := slices.Collect(two.Spans()); !slices.Equal(got, []Span{{0, 16}}) {
		t.Error(got)
	}
	if got := slices.Collect(two.SyncSpans()); !slices.Equal(got, []Span{{0, 8}}) {
		t.Error(got)
	}
}

func TestSpansOfHugeArrays(t *testing.T) {
	type cell struct {
		N atomic.Uint64
		V uint64
	}
	type only struct{ N atomic.Uint64 }
	start := time.Now()
	for _, c := range []struct {
		s    *Type
		want []Span // the first of them
		all  bool
	}{
		{of[[1 << 20]only](t), []Span{{0, 8 << 20}}, true},
		{of[[1 << 10][1 << 10]only](t), []Span{{0, 8 << 20}}, true},
		{of[[1 << 20]cell](t), []Span{{0, 8}, {16, 8}, {32, 8}}, false},
		{of[[1 << 10][1 << 10]struct {
			C cell
			D [8]cell
		}](t), []Span{{0, 8}, {16, 8}}, false},
	} {
		n := testing.AllocsPerRun(1, func() { c.s.Spans() })
		if n > 20 {
			t.Errorf("%v: %v allocations", c.s, n)
		}
		i := 0
		for sp := range c.s.Spans() {
			if i < len(c.want) && sp != c.want[i] {
				t.Errorf("%v: span %d is %v, want %v", c.s, i, sp, c.want[i])
			}
			if i++; i > 1000 {
				break
			}
		}
		if c.all && i != len(c.want) {
			t.Errorf("%v: %d spans", c.s, i)
		}
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestSpansAgree marks bytes by walking the tree in the dullest way.
func TestSpansAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		s := randomType(r, 4)
		if s.Size > 1<<16 {
			continue
		}
		want := make([]bool, s.Size)
		mark(want, s)
		got := make([]bool, s.Size)
		end := -1
		for sp := range s.Spans() {
			if sp.Len < 1 || sp.Off <= end || sp.Off+sp.Len > s.Size {
				t.Fatalf("%v: span %v behind %d", s, sp, end)
			}
			end = sp.Off + sp.Len // the next may not even touch
			for i := range sp.Len {
				got[sp.Off+i] = true
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v: spans %v", s, slices.Collect(s.Spans()))
		}
	}
}

func mark(b []bool, s *Type) {
	switch {
	case s.Kind == Sync || s.Atomic:
		for i := range b {
			b[i] = true
		}
	case s.Kind == Array:
		for i := range s.Len {
			mark(b[i*s.Elem.Size:][:s.Elem.Size], s.Elem)
		}
	case s.Kind == Struct:
		for _, f := range s.Fields {
			mark(b[f.Offset:][:f.Type.Size], f.Type)
		}
	}
}

// randomType makes a valid schema.
func randomType(r *rand.Rand, depth int) *Type {
	n := 18
	if depth == 0 {
		n = 14
	}
	num := func(k Kind, atomic bool, size int) *Type {
		return &Type{Kind: k, Atomic: atomic, Size: size, Align: min(size, 8)}
	}
	switch r.IntN(n) {
	case 0:
		return num(Bool, false, 1)
	case 1:
		return num(Int16, false, 2)
	case 2:
		return num(Uint32, false, 4)
	case 3:
		return num(Int64, false, 8)
	case 4:
		return num(Int, false, 4+4*r.IntN(2))
	case 5:
		return num(Float64, false, 8)
	case 6:
		return num(Complex128, false, 16)
	case 7, 8:
		return num(Bool, true, 4)
	case 9, 10:
		return num(Uint64, true, 8)
	case 11:
		return &Type{Kind: Sync, Name: "psync.Mutex", Size: 16, Align: 8}
	case 12:
		return &Type{Kind: Uint8, Name: "main.Level", Size: 1, Align: 1}
	case 13:
		return &Type{Kind: Struct, Size: 8, Align: 4} // nothing but padding
	case 14, 15:
		e := randomType(r, depth-1)
		l := 1 + r.IntN(5)
		return &Type{Kind: Array, Len: l, Elem: e, Size: l * e.Size, Align: e.Align}
	}
	s := &Type{Kind: Struct, Name: "main.T", Align: 1}
	for i := range 1 + r.IntN(5) {
		f := randomType(r, depth-1)
		s.Size = (s.Size + f.Align - 1) &^ (f.Align - 1)
		s.Fields = append(s.Fields, Field{string(rune('A' + i)), s.Size, f})
		s.Size += f.Size
		s.Align = max(s.Align, f.Align)
	}
	s.Size = (s.Size + s.Align - 1) &^ (s.Align - 1)
	return s
}

func TestString(t *testing.T) {
	s := of[struct {
		Limit uint32
		R     [2]route
		L     level
		A     atomic.Int32
	}](t)
	const line = "struct{Limit uint32; R [2]struct{Name [32]uint8; Cost float32}; L uint8; A atomic.Int32}"
	if got := s.String(); got != line {
		t.Errorf("got  %s\nwant %s", got, line)
	}
	const lines = `struct{
	Limit uint32 // at 0
	R [2]struct{
		Name [32]uint8 // at 0
		Cost float32 // at 32
	} // at 4
	L uint8 // at 76, format.level
	A atomic.Int32 // at 80
}`
	if got := s.Declaration(); got != lines {
		t.Errorf("got\n%s\nwant\n%s", got, lines)
	}
	if got := typeName(reflect.TypeFor[pair[[32]level, route]]()); got != "format.pair[[32]format.level,format.route]" {
		t.Error(got)
	}
	for k := Bool; k <= lastKind; k++ {
		if k.String() == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
}
