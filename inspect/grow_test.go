//go:build linux

package inspect_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

type (
	note1 struct{ ID int64 }
	note2 struct {
		ID   int64
		More [2]int32
	}
)

// TestGrown looks into a queue and a topic while fields are appended to their messages. An observer
// shows the fields that it knows, and after Refresh all.
func TestGrown(t *testing.T) {
	dir := shmemtest.Dir(t)
	ctx := context.Background()
	q, err := queue.Create[note1]("q", &queue.Options{
		Dir: dir, Capacity: 4, Reserve: 8, Lifetime: shmem.Owned})
	check(t, err)
	defer q.Close()
	single, err := queue.Create[note1]("s", &queue.Options{
		Dir: dir, Capacity: 4, Reserve: 8, Single: true, Lifetime: shmem.Owned})
	check(t, err)
	defer single.Close()
	tp, err := topic.Create[note1]("t", &topic.Options{Dir: dir, Capacity: 4, Reserve: 8})
	check(t, err)
	defer tp.Close()
	for i := range int64(2) {
		check(t, q.Send(ctx, note1{i}))
		check(t, single.Send(ctx, note1{i}))
		check(t, tp.Publish(ctx, note1{i}))
	}
	for _, name := range []string{"q", "s", "t"} {
		o := look(t, dir, name)
		f, followErr := o.Follow(0)
		shows := func(want ...string) {
			t.Helper()
			all, err := o.Messages(0)
			check(t, err)
			var got []string
			for _, m := range all {
				b, err := m.Value.MarshalJSON()
				check(t, err)
				got = append(got, string(b))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		shows(`{"ID":0}`, `{"ID":1}`)
		var send func() error
		switch name {
		case "t":
			t2, err := topic.Attach[note2](name, &topic.Options{Dir: dir, Append: true})
			check(t, err)
			defer t2.Close()
			send = func() error { return t2.Publish(ctx, note2{2, [2]int32{5, 6}}) }
		default:
			q2, err := queue.Attach[note2](name, &queue.Options{Dir: dir, Append: true})
			check(t, err)
			defer q2.Close()
			if name == "s" {
				single2 := single // it has the end
				send = func() error { return single2.Send(ctx, note1{2}) }
			} else {
				send = func() error { return q2.Send(ctx, note2{2, [2]int32{5, 6}}) }
			}
		}
		check(t, send())
		shows(`{"ID":0}`, `{"ID":1}`, `{"ID":2}`)
		check(t, o.Refresh())
		last := `{"ID":2,"More":[5,6]}`
		if name == "s" {
			last = `{"ID":2,"More":[0,0]}`
		}
		shows(`{"ID":0,"More":[0,0]}`, `{"ID":1,"More":[0,0]}`, last)
		if d := o.Type().Item().Declaration(); !strings.Contains(d, "More") {
			t.Errorf("%s: %s", name, d)
		}
		if name == "t" {
			check(t, followErr)
			for i := range 3 {
				m, ok, err := f.Try()
				if err != nil || !ok || m.Seq != uint64(i) {
					t.Fatal(m, ok, err)
				}
			}
			now, err := o.Follow(0)
			check(t, err)
			m, ok, err := now.Try()
			check(t, err)
			if b, err := m.Value.MarshalJSON(); !ok || err != nil || string(b) != `{"ID":0,"More":[0,0]}` {
				t.Error(string(b), err)
			}
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPythonOfOlderType: code that was generated for a topic follows it when its messages have more
// fields, and refuses one of another type.
func TestPythonOfOlderType(t *testing.T) {
	python := tool(t, "/usr/bin/python3", "python3")
	dir, code := shmemtest.Dir(t), t.TempDir()
	ctx := context.Background()
	t1, err := topic.Create[note1]("t", &topic.Options{Dir: dir, Capacity: 4, Reserve: 8})
	check(t, err)
	defer t1.Close()
	check(t, t1.Publish(ctx, note1{7}))
	b, err := look(t, dir, "t").Type().Generate(inspect.Python, "Notes")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(code, "notes.py"), b, 0o600))
	run := func(name string) (string, error) {
		t.Helper()
		const script = "import sys; sys.path.insert(0, sys.argv[1]); import notes\n" +
			"with notes.NotesBox.open(sys.argv[2]) as box:\n" +
			"    print(*[(n, v.ID) for n, v in box.follow(0)])\n"
		out, err := exec.Command(python, "-B", "-c", script, code, filepath.Join(dir, name)).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	t2, err := topic.Attach[note2]("t", &topic.Options{Dir: dir, Append: true})
	check(t, err)
	defer t2.Close()
	check(t, t2.Publish(ctx, note2{8, [2]int32{1, 2}}))
	check(t, t1.Publish(ctx, note1{9}))
	check(t, t1.End())
	if out, err := run("t"); err != nil || out != "(0, 7) (1, 8) (2, 9)" {
		t.Errorf("%v: %s", err, out)
	}
	type other struct{ ID uint64 }
	o, err := topic.Create[other]("o", &topic.Options{Dir: dir, Capacity: 4, Reserve: 8})
	check(t, err)
	defer o.Close()
	if out, err := run("o"); err == nil || !strings.Contains(out, "MismatchError") {
		t.Errorf("%v: %s", err, out)
	}
}
