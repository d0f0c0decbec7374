package lifecycle_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// An opener opens a segment as one kind of thing, by one function.
type opener func(dir string) (interface{ Close() error }, error)

// closer makes an opener's results of those of Open, without a nil pointer in the interface.
func closer[T interface{ Close() error }](v T, err error) (interface{ Close() error }, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// openers are Open, Create and Attach of everything, by kind.
func openers() map[string][3]opener {
	type item struct{ A, B int32 }
	all := map[string][3]opener{
		"box of point": {
			func(dir string) (interface{ Close() error }, error) {
				return closer(shmem.Open[point]("f", &shmem.Options{Dir: dir, Append: true}))
			},
			func(dir string) (interface{ Close() error }, error) {
				return closer(shmem.Create[point]("f", &shmem.Options{Dir: dir}))
			},
			func(dir string) (interface{ Close() error }, error) {
				return closer(shmem.Attach[point]("f", &shmem.Options{Dir: dir}))
			},
		},
		"segment": {
			func(dir string) (interface{ Close() error }, error) {
				return closer(shmem.OpenSegment("f", 100, &shmem.Options{Dir: dir}))
			},
			func(dir string) (interface{ Close() error }, error) {
				return closer(shmem.CreateSegment("f", 100, &shmem.Options{Dir: dir}))
			},
			func(dir string) (interface{ Close() error }, error) {
				return closer(shmem.AttachSegment("f", &shmem.Options{Dir: dir}))
			},
		},
	}
	for name, single := range map[string]bool{"queue of item": false, "single queue of item": true} {
		o := func(dir string) *queue.Options {
			return &queue.Options{Dir: dir, Single: single, Lifetime: shmem.Shared}
		}
		all[name] = [3]opener{
			func(dir string) (interface{ Close() error }, error) { return closer(queue.Open[item]("f", o(dir))) },
			func(dir string) (interface{ Close() error }, error) { return closer(queue.Create[item]("f", o(dir))) },
			func(dir string) (interface{ Close() error }, error) {
				return closer(queue.Attach[item]("f", &queue.Options{Dir: dir}))
			},
		}
	}
	for name, single := range map[string]bool{"bytes": false, "single bytes": true} {
		o := func(dir string) *queue.BytesOptions { return &queue.BytesOptions{Dir: dir, Single: single} }
		all[name] = [3]opener{
			func(dir string) (interface{ Close() error }, error) { return closer(queue.OpenBytes("f", o(dir))) },
			func(dir string) (interface{ Close() error }, error) { return closer(queue.CreateBytes("f", o(dir))) },
			func(dir string) (interface{ Close() error }, error) {
				return closer(queue.AttachBytes("f", &queue.BytesOptions{Dir: dir}))
			},
		}
	}
	for name, reserve := range map[string]int{"topic of item": 0, "topic of item with room": 8} {
		o := func(dir string) *topic.Options { return &topic.Options{Dir: dir, Reserve: reserve} }
		all[name] = [3]opener{
			func(dir string) (interface{ Close() error }, error) { return closer(topic.Open[item]("f", o(dir))) },
			func(dir string) (interface{ Close() error }, error) { return closer(topic.Create[item]("f", o(dir))) },
			func(dir string) (interface{ Close() error }, error) {
				return closer(topic.Attach[item]("f", &topic.Options{Dir: dir}))
			},
		}
	}
	// The same of another type.
	all["queue of int8"] = [3]opener{
		func(dir string) (interface{ Close() error }, error) {
			return closer(queue.Open[int8]("f", &queue.Options{Dir: dir, Append: true}))
		},
		func(dir string) (interface{ Close() error }, error) {
			return closer(queue.Create[int8]("f", &queue.Options{Dir: dir}))
		},
		func(dir string) (interface{ Close() error }, error) {
			return closer(queue.Attach[int8]("f", &queue.Options{Dir: dir}))
		},
	}
	all["topic of unnamed"] = [3]opener{
		func(dir string) (interface{ Close() error }, error) {
			return closer(topic.Open[[3]struct{ X int8 }]("f", &topic.Options{Dir: dir}))
		},
		func(dir string) (interface{ Close() error }, error) {
			return closer(topic.Create[[3]struct{ X int8 }]("f", &topic.Options{Dir: dir}))
		},
		func(dir string) (interface{ Close() error }, error) {
			return closer(topic.Attach[[3]struct{ X int8 }]("f", &topic.Options{Dir: dir}))
		},
	}
	return all
}

// clear checks that an error says what it is about, and leaves nothing out.
func clearError(t *testing.T, err error, is error) {
	t.Helper()
	var e *shmem.Error
	if !errors.Is(err, is) || !errors.As(err, &e) || e.Op == "" || e.Name != "f" {
		t.Errorf("%v is not %v with operation and name", err, is)
		return
	}
	for _, gap := range []string{" a ,", " a  ", "a (", " of  ", " of (", "not a ;", ": ;", "%!", "<nil>"} {
		if strings.Contains(err.Error(), gap) {
			t.Errorf("%q in the error: %v", gap, err)
		}
	}
}

// TestPairs opens everything as everything else. The error names what is there and what was asked
// for.
func TestPairs(t *testing.T) {
	all := openers()
	is := map[string][]string{
		"box of point": {"a box of lifecycle_test.point (see shmem.Open)"},
		"segment":      {"raw bytes"},
		"bytes":        {"a queue.Bytes (see queue.OpenBytes)"}, "single bytes": {"a queue.Bytes (see queue.OpenBytes)"},
		"queue of item":           {"a queue.Queue of lifecycle_test.item (see queue.Open)"},
		"single queue of item":    {"a queue.Queue of lifecycle_test.item (see queue.Open)"},
		"queue of int8":           {"a queue.Queue of int8 (see queue.Open)"},
		"topic of item":           {"a topic.Topic of lifecycle_test.item (see topic.Open)"},
		"topic of item with room": {"a topic.Topic of lifecycle_test.item (see topic.Open)"},
		"topic of unnamed":        {"a topic.Topic of [3]struct{X int8} (see topic.Open)"},
	}
	family := func(name string) string {
		for _, f := range []string{"queue", "bytes", "topic"} {
			if strings.Contains(name, f) {
				return f
			}
		}
		return name
	}
	for made, create := range all {
		dir := shmemtest.Dir(t)
		first, err := create[1](dir)
		check(t, err)
		for name, open := range all {
			t.Run(made+" as "+name, func(t *testing.T) {
				v, err := open[1](dir)
				if err == nil {
					_ = v.Close()
				}
				clearError(t, err, fs.ErrExist)
				for _, i := range []int{0, 2} {
					v, err := open[i](dir)
					if err == nil {
						_ = v.Close()
					}
					switch same := family(made) == family(name); {
					case name == "segment" && i == 2: // any value can be seen as bytes
						check(t, err)
					case name == made:
						check(t, err)
					case same && strings.HasSuffix(made, "item") && i == 2 && !strings.HasSuffix(name, "int8") && name != "topic of unnamed",
						same && family(name) == "bytes" && i == 2,
						made == "topic of item with room" && name == "topic of item",
						made == "single queue of item" && name == "queue of item",
						made == "single bytes" && name == "bytes":
						check(t, err) // without a claim
					case made == "segment" && strings.HasPrefix(name, "box"):
						check(t, err) // bytes get a type
					case same, name == "segment":
						clearError(t, err, shmem.ErrMismatch)
					default:
						clearError(t, err, shmem.ErrMismatch)
						for _, want := range is[made] {
							if err != nil && made != "segment" && !strings.Contains(err.Error(), want) {
								t.Errorf("it does not say %q: %v", want, err)
							}
						}
					}
				}
			})
			if made == "segment" { // a box has stored its type there
				check(t, first.Close())
				first, err = create[1](dir)
				check(t, err)
			}
		}
		check(t, first.Close())
	}
}

// TestNoSegment opens files that are no segments as everything.
func TestNoSegment(t *testing.T) {
	for name, open := range openers() {
		for _, size := range []int{0, 100, 1 << 14} {
			dir := shmemtest.Dir(t)
			check(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, size), 0o600))
			for _, i := range []int{0, 2} {
				_, err := open[i](dir)
				if clearError(t, err, shmem.ErrForeign); t.Failed() {
					t.Fatal(name)
				}
			}
			_, err := open[1](dir)
			clearError(t, err, fs.ErrExist)
			check(t, os.Remove(filepath.Join(dir, "f")))
			_, err = open[2](dir)
			clearError(t, err, fs.ErrNotExist)
		}
	}
}

// TestAfterClose calls every method that returns an error, of everything that has been closed, or
// whose box, queue or topic has.
func TestAfterClose(t *testing.T) {
	closed := map[string]any{}
	keep := func(name string, v any) { closed[name] = v }
	dir := func() string { return shmemtest.Dir(t) }
	box, err := shmem.Open[point]("f", &shmem.Options{Dir: dir()})
	check(t, err)
	check(t, box.Close())
	keep("box", box)
	keep("segment of a box", box.Segment())
	seg, err := shmem.OpenSegment("f", 64, &shmem.Options{Dir: dir()})
	check(t, err)
	check(t, seg.Close())
	keep("segment", seg)
	for _, single := range []bool{false, true} {
		name := map[bool]string{false: "", true: "single "}[single]
		q, err := queue.Open[int64]("f", &queue.Options{Dir: dir(), Single: single})
		check(t, err)
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		check(t, s.Close())
		keep(name+"closed sender", s)
		check(t, r.Close())
		keep(name+"closed receiver", r)
		s, err = q.Sender()
		check(t, err)
		r, err = q.Receiver()
		check(t, err)
		keep(name+"sender", s)
		keep(name+"receiver", r)
		check(t, q.Close())
		keep(name+"queue", q)
		b, err := queue.OpenBytes("f", &queue.BytesOptions{Dir: dir(), Single: single})
		check(t, err)
		bs, err := b.Sender()
		check(t, err)
		br, err := b.Receiver()
		check(t, err)
		check(t, bs.Close())
		keep(name+"closed sender of bytes", bs)
		check(t, br.Close())
		keep(name+"closed receiver of bytes", br)
		bs, err = b.Sender()
		check(t, err)
		br, err = b.Receiver()
		check(t, err)
		keep(name+"sender of bytes", bs)
		keep(name+"receiver of bytes", br)
		check(t, b.Close())
		keep(name+"bytes", b)
	}
	tp, err := topic.Open[int64]("f", &topic.Options{Dir: dir(), Holds: 3})
	check(t, err)
	for name, how := range map[string]topic.Delivery{"hold": topic.Hold, "no hold": topic.NoHold, "newest": topic.Newest} {
		s, err := tp.Subscribe(topic.Now, how)
		check(t, err)
		check(t, s.Close())
		keep("closed subscription with "+name, s)
		s, err = tp.Subscribe(topic.Now, how)
		check(t, err)
		keep("subscription with "+name, s)
	}
	p, err := tp.Publisher()
	check(t, err)
	check(t, p.Close())
	keep("closed publisher", p)
	p, err = tp.Publisher()
	check(t, err)
	keep("publisher", p)
	check(t, tp.Close())
	keep("topic", tp)
	m, err := kv.Open[int64, int64]("f", &kv.Options{Dir: dir()})
	check(t, err)
	check(t, m.Close())
	keep("map", m)
	c, err := kv.OpenCache[string]("f", &kv.CacheOptions{Dir: dir()})
	check(t, err)
	check(t, c.Close())
	keep("cache", c)
	for name, v := range closed {
		callAll(t, name, reflect.ValueOf(v))
	}
}

// callAll calls every method of v that returns an error.
func callAll(t *testing.T, name string, v reflect.Value) {
	failure := reflect.TypeFor[error]()
	for i := range v.NumMethod() {
		m, mt := v.Method(i), v.Type().Method(i)
		n := m.Type().NumOut()
		if n == 0 || m.Type().Out(n-1) != failure {
			continue
		}
		args := make([]reflect.Value, m.Type().NumIn())
		for j := range args {
			args[j] = argument(m.Type().In(j))
		}
		call := m.Call
		if m.Type().IsVariadic() {
			call = m.CallSlice
		}
		err, _ := call(args)[n-1].Interface().(error)
		if mt.Name == "Close" || mt.Name == "Leak" { // which closes
			if err != nil {
				t.Errorf("%s: second Close: %v", name, err)
			}
			continue
		}
		var e *shmem.Error
		if !errors.Is(err, shmem.ErrClosed) || !errors.As(err, &e) || e.Op == "" || e.Name != "f" ||
			strings.Contains(err.Error(), "file already closed") {
			t.Errorf("%s: %s: %v", name, mt.Name, err)
		}
	}
}

// argument returns something to call a method with.
func argument(t reflect.Type) reflect.Value {
	if t == reflect.TypeFor[context.Context]() {
		return reflect.ValueOf(context.Background())
	}
	switch t.Kind() {
	case reflect.Pointer:
		return reflect.New(t.Elem())
	case reflect.Func:
		return reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value {
			out := make([]reflect.Value, t.NumOut())
			for i := range out {
				out[i] = reflect.Zero(t.Out(i))
			}
			return out
		})
	case reflect.Slice:
		return reflect.MakeSlice(t, 1, 1)
	}
	return reflect.Zero(t)
}
