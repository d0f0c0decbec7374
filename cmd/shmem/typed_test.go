//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A Mixed is a message with fields of all kinds that JSON could lose something of.
type Mixed struct {
	Big    uint64
	Small  int64
	Real   float64
	Half   float32
	Pair   complex128
	For    time.Duration
	Text   shmem.Text[[16]byte]
	List   shmem.Vec[Job, [3]Job]
	Key    [5]byte
	Grid   [2][2]int8
	Inside struct{ Up bool }
}

func mixed(n int) (m Mixed) {
	m = Mixed{Big: math.MaxUint64 - uint64(n), Small: math.MinInt64 + int64(n), Real: 1 / 3.0,
		Half: 0.1, Pair: complex(1, -float64(n)), For: time.Duration(n) * time.Millisecond,
		Key: [5]byte{0, 255, byte(n), '\n', 27}, Grid: [2][2]int8{{1, -2}, {127, -128}}}
	if n == 1 {
		m.Real = math.Inf(-1)
	}
	_ = m.Text.Set(fmt.Sprint("größe\n\x1b[31m", n))
	_ = m.List.Append(Job{uint32(n)})
	m.Inside.Up = n%2 == 1
	return m
}

// typedQueue makes a queue of Mixed that stays, with n messages.
func typedQueue(t *testing.T, dir, name string, n int, single bool) {
	t.Helper()
	q, err := queue.Create[Mixed](name, &queue.Options{Dir: dir, Capacity: 8, Single: single,
		Lifetime: shmem.Kept, Slots: 8})
	for i := range n {
		if err == nil {
			err = q.Send(t.Context(), mixed(i))
		}
	}
	if err == nil && n > 0 {
		err = q.End()
	}
	if err == nil {
		err = q.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantMixed receives n messages.
func wantMixed(t *testing.T, what string, n int, recv func() (Mixed, error)) {
	t.Helper()
	for i := range n {
		got, err := recv()
		if want := mixed(i); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: message %d: %+v, want %+v (%v)", what, i, got, want, err)
		}
	}
}

// TestTypedLines: the messages of a typed queue or topic leave as lines of JSON by the stored type,
// and come back the same, in both forms of queues, and by a recording.
func TestTypedLines(t *testing.T) {
	dir, bin := interruptible(t)
	const n = 3
	sh := func(script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Env = append(os.Environ(), "SHMEM_DIR="+dir, "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	for _, single := range []bool{false, true} {
		name := fmt.Sprint("queue-", single)
		typedQueue(t, dir, name, n, single)
		typedQueue(t, dir, name+"-to", 0, single)
		typedQueue(t, dir, name+"-again", 0, single)
		sh("shmem tail " + name + " | shmem pump --json " + name + "-to")
		q, err := queue.Attach[Mixed](name+"-to", &queue.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		wantMixed(t, name, n, func() (Mixed, error) { return q.TryRecv() })
		for i := range n {
			if err := q.Send(t.Context(), mixed(i)); err != nil {
				t.Fatal(err)
			}
		}
		_ = q.Close()
		sh(fmt.Sprintf("shmem record --json -n %d %s-to rec; shmem replay --max rec %s-again; "+
			"shmem replay --max rec %s-topic", n, name, name, name))
		q, err = queue.Attach[Mixed](name+"-again", &queue.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		wantMixed(t, name+" recorded", n, func() (Mixed, error) { return q.TryRecv() })
		_ = q.Close()
		sh(fmt.Sprintf("shmem record --from oldest %s-topic rec; shmem replay --max rec %s-topic2; "+
			"shmem tail --json --from oldest %s-topic2 >lines; shmem replay --keep --max rec x; "+
			"shmem pump --json x <lines", name, name, name))
		tp, err := topic.Attach[Mixed]("x", &topic.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := tp.Subscribe(topic.Oldest)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wantMixed(t, "topic", n, sub.TryRecv)
		}
		_ = tp.Close()
		sh("shmem rm x")
	}
}

// TestTypedRefusals: a line that does not fit the type is an error that says which line, and nothing
// of it is sent.
func TestTypedRefusals(t *testing.T) {
	dir, bin := interruptible(t)
	typedQueue(t, dir, "q", 0, false)
	for in, want := range map[string]string{
		"{\"Big\": 1}\n{\"Nope\": 1}\n":   `line 2: the value has no field "Nope"`,
		"{\"Big\": -1}\n":                 "line 1: Big: uint64 is needed",
		"{\"Big\": 18446744073709551616}": "line 1: Big: out of the range of uint64",
		"{\"Big\": 1} {\"Big\": 2}\n":     "line 1: ", // two values
		"[1]\n":                           "line 1: the value is a ",
		"hello\n":                         "line 1: JSON of a ",
		"{\"Key\": [1,2,3]}\n":            "line 1: Key has 5 elements, not 3",
		"{\"Text\": \"" + strings.Repeat("x", 17) + "\"}\n": "line 1: a text of 17 bytes does not fit into 16",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, "--dir", dir, "pump", "--json", "q")
		cmd.Stdin = strings.NewReader(in)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(string(out), want) {
			t.Errorf("%q: exit code %d: %s, want %s", in, code, out, want)
		}
	}
	for line, code := range map[string]int{
		"pump q": exitRefused, "pump --frame 3 q": exitRefused, "pump --json none": exitAbsent,
		"pump --json --frame 1 q": exitUsage, "tail --from oldest q": exitUsage, "tail --hold q": exitUsage,
		"record --from oldest q -": exitUsage, "replay /dev/null q": exitRefused,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, append([]string{"--dir", dir}, strings.Fields(line)...)...)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != code {
			t.Errorf("%s: exit code %d, want %d: %s", line, cmd.ProcessState.ExitCode(), code, out)
		}
	}
	q, err := queue.Attach[Mixed]("q", &queue.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if m, err := q.TryRecv(); err != nil || m.Big != 1 {
		t.Errorf("%+v %v, want the one message that fits", m, err)
	}
	if _, err := q.TryRecv(); err == nil {
		t.Error("a message was sent that does not fit")
	}
}
