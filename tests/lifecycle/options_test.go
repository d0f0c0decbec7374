package lifecycle_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// A claim is an option that says what a segment is. Where the segment exists and the option is set
// it must be as the segment was created.
type claim struct {
	created any // by the creator; nil: the default
	other   any // contradicts that
	is, ask string
}

// claims are those options, by their names. A field of an Options struct that is neither here nor in
// attachmentOptions fails TestOptions: a new option belongs to one of them.
func claims(kind string) map[string]claim {
	undo := claim{nil, shmem.UndoNever, "an undo image", "UndoNever"}
	if kind == "large box" {
		undo = claim{nil, shmem.UndoAlways, "without an undo image", "UndoAlways"}
	}
	other := fmt.Sprint(os.Getegid() + 1)
	return map[string]claim{
		"Mode":     {os.FileMode(0o640), os.FileMode(0o600), "0640", "0600"},
		"Group":    {nil, other, fmt.Sprintf("Group %d", os.Getegid()), "Group asks for " + other},
		"Slots":    {8, 9, "Slots 8", "9"},
		"Lifetime": {shmem.Kept, shmem.Owned, "kept", "owned"},
		"Reserve":  {24, 32, "Reserve 24", "32"},
		"Undo":     undo,
		"Capacity": {4, 5, "Capacity 4", "5"},
		"Bytes":    {128, 256, "Bytes 128", "256"},
		"Holds":    {2, 3, "Holds 2", "3"},
		"Single":   {nil, true, "without Single", "Single"},
		"Stamped":  {nil, true, "without time stamps", "Stamped"},
	}
}

// attachmentOptions are about one attachment, and say nothing of the segment.
var attachmentOptions = map[string]bool{
	"Dir": true, "Disk": true, "Timeout": true, "Passive": true, "ReadOnly": true, "Append": true, "AnyUser": true,
	"Foreign": true, "Offset": true, "Populate": true, "HugePages": true, "Logger": true,
	"RetryDelay": true, "LeaseTimeout": true, "DeadLetters": true, "MaxDeliveries": true,
}

// A kind is something with options that can be opened.
type kind struct {
	options any // a pointer to a zero struct
	open    func(options any) (interface{ Close() error }, error)
}

func kinds() map[string]kind {
	type large [1<<20 + 8]byte
	return map[string]kind{
		"box": {new(shmem.Options), func(o any) (interface{ Close() error }, error) {
			return shmem.Open[point]("f", o.(*shmem.Options))
		}},
		"large box": {new(shmem.Options), func(o any) (interface{ Close() error }, error) {
			return shmem.Open[large]("f", o.(*shmem.Options))
		}},
		"segment": {new(shmem.Options), func(o any) (interface{ Close() error }, error) {
			return shmem.OpenSegment("f", 64, o.(*shmem.Options))
		}},
		"queue": {new(queue.Options), func(o any) (interface{ Close() error }, error) {
			return queue.Open[point]("f", o.(*queue.Options))
		}},
		"bytes": {new(queue.BytesOptions), func(o any) (interface{ Close() error }, error) {
			return queue.OpenBytes("f", o.(*queue.BytesOptions))
		}},
		"topic": {new(topic.Options), func(o any) (interface{ Close() error }, error) {
			return topic.Open[point]("f", o.(*topic.Options))
		}},
		"topic of bytes": {new(topic.BytesOptions), func(o any) (interface{ Close() error }, error) {
			return topic.OpenBytes("f", o.(*topic.BytesOptions))
		}},
	}
}

// with returns a copy of options in which Dir, and the field of that name unless value is nil, are
// set.
func with(options any, dir, name string, value any) any {
	v := reflect.New(reflect.TypeOf(options).Elem())
	v.Elem().FieldByName("Dir").SetString(dir)
	if f := v.Elem().FieldByName(name); value != nil {
		f.Set(reflect.ValueOf(value).Convert(f.Type()))
	}
	return v.Interface()
}

// TestOptions: every option that says what a segment is, of every kind of segment, is ErrMismatch
// where it contradicts the segment that exists, and the error names both. The same option again, and
// none, open it.
func TestOptions(t *testing.T) {
	for name, k := range kinds() {
		all := claims(name)
		for _, f := range reflect.VisibleFields(reflect.TypeOf(k.options).Elem()) {
			c, claimed := all[f.Name]
			if claimed == attachmentOptions[f.Name] {
				t.Errorf("%s: option %s is neither a claim nor about the attachment alone; see claims", name, f.Name)
			}
			if !claimed {
				continue
			}
			t.Run(name+"/"+f.Name, func(t *testing.T) { contradict(t, k, f.Name, c) })
		}
	}
}

func contradict(t *testing.T, k kind, option string, c claim) {
	dir := shmemtest.Dir(t)
	first, err := k.open(with(k.options, dir, option, c.created))
	check(t, err)
	for _, value := range []any{c.created, nil} {
		again, err := k.open(with(k.options, dir, option, value))
		check(t, err)
		check(t, again.Close())
	}
	second, err := k.open(with(k.options, dir, option, c.other))
	if err == nil {
		_ = second.Close()
	}
	var e *shmem.Error
	if !errors.Is(err, shmem.ErrMismatch) || !errors.As(err, &e) || e.Op == "" || e.Name != "f" {
		t.Errorf("%s %v where %v exists: %v", option, c.other, c.created, err)
	} else if !strings.Contains(err.Error(), c.is) || !strings.Contains(err.Error(), c.ask) ||
		!strings.Contains(err.Error(), "Options."+option) {
		t.Errorf("the error does not name %q, %q and the option: %v", c.is, c.ask, err)
	}
	check(t, first.Close())
	_ = shmem.Remove(dir, "f")
}

// TestForeignOptions: a foreign file has no slots, no lifetime and no spare room.
func TestForeignOptions(t *testing.T) {
	dir := shmemtest.Dir(t)
	path := filepath.Join(dir, "f")
	check(t, os.WriteFile(path, make([]byte, 4096), 0o600))
	for name, value := range map[string]any{
		"Mode": os.FileMode(0o640), "Slots": 8, "Lifetime": shmem.Kept, "Reserve": 24,
		"Undo": shmem.UndoAlways, "Group": fmt.Sprint(os.Getegid() + 1),
	} {
		o := with(new(shmem.Options), dir, name, value).(*shmem.Options)
		o.Foreign = true
		b, err := shmem.Open[point]("f", o)
		if err == nil {
			_ = b.Close()
		}
		if !errors.Is(err, shmem.ErrMismatch) || !strings.Contains(err.Error(), "Options."+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := shmem.Open[point]("f", &shmem.Options{Dir: dir, Foreign: true, Mode: 0o600, Undo: shmem.UndoNever})
	check(t, err)
	check(t, b.Close())
	check(t, os.Remove(path))
}
