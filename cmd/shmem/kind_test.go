//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/topic"
)

// everyKind makes a segment of every kind that the library makes, and returns what each is by its
// name. They are open until the test ends.
func everyKind(t testing.TB, dir string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	all := map[string]string{}
	keep := func(name, kind string, c io.Closer, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		all[name] = kind
	}
	b, err := shmem.Create[Config]("box", &shmem.Options{Dir: dir, Slots: 4})
	keep("box", kindBox, b, err)
	l, err := shmem.CreateLarge[Config]("large", &shmem.Options{Dir: dir, Slots: 4})
	keep("large", kindBox, l, err)
	s, err := shmem.CreateSegment("raw", 5000, &shmem.Options{Dir: dir, Slots: 4})
	keep("raw", kindBytes, s, err)
	for name, single := range map[string]bool{"": false, "-single": true} {
		q, err := queue.Create[Job]("jobs"+name,
			&queue.Options{Dir: dir, Slots: 4, Capacity: 4, Single: single})
		if err == nil {
			err = q.Send(ctx, Job{1})
		}
		keep("jobs"+name, kindQueue, q, err)
		p, err := queue.CreateBytes("lines"+name,
			&queue.BytesOptions{Dir: dir, Slots: 4, Capacity: 4, Bytes: 256, Single: single})
		if err == nil {
			err = p.Send(ctx, []byte("esc \x1b[31m"))
		}
		keep("lines"+name, kindQueue, p, err)
	}
	tp, err := topic.Create[Tick]("ticks", &topic.Options{Dir: dir, Slots: 4, Capacity: 4, Holds: 1})
	if err == nil {
		err = tp.Publish(ctx, Tick{})
	}
	keep("ticks", kindTopic, tp, err)
	m, err := kv.Create[uint64, Job]("map", &kv.Options{Dir: dir, Slots: 4, Capacity: 4})
	if err == nil {
		err = m.Set(ctx, 1, Job{1})
	}
	keep("map", kindMap, m, err)
	c, err := kv.CreateCache[string]("cache", &kv.CacheOptions{Dir: dir, Slots: 4, Size: 64 << 10})
	if err == nil {
		err = c.Set(ctx, "key \x1b[31m", []byte("esc \x1b[31m"))
	}
	keep("cache", kindCache, c, err)
	buffers, err := blob.Create("buffers", &blob.Options{Dir: dir, Slots: 4, Size: 64 << 10})
	if err == nil {
		_, err = buffers.TryTake(100)
	}
	keep("buffers", kindBlob, buffers, err)
	served, o := make(chan error, 3), &rpc.ServeOptions{Dir: dir, Slots: 4, Calls: 4}
	serveAll(ctx, o, served)
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, <-served, <-served); err != nil {
			t.Error(err)
		}
	})
	d := &rpc.DialOptions{Dir: dir}
	client, err := rpc.Dial[Job, Tick](ctx, "calls", d)
	keep("calls", kindService, client, err)
	bytesClient, err := rpc.DialBytes(ctx, "byte-calls", d)
	keep("byte-calls", kindService, bytesClient, err)
	streamClient, err := rpc.DialStream[Job, Tick](ctx, "stream-calls", d)
	keep("stream-calls", kindService, streamClient, err)
	return all
}

// TestKinds: every command says of a segment of every kind what it is, or why it is not for that
// kind and what to use instead.
func TestKinds(t *testing.T) {
	dir := memoryDir(t)
	all := everyKind(t, dir)
	file := filepath.Join(t.TempDir(), "file")
	const refuses = "REFUSES"
	elsewhere := map[string]string{kindMap: refuses, kindCache: refuses, kindService: refuses,
		kindBlob: refuses}
	with := func(more map[string]string) map[string]string {
		maps.Copy(more, elsewhere)
		return more
	}
	for _, c := range []struct {
		verb string
		cmd  func(name string) runner
		want map[string]string // what it prints of a kind, or refuses
	}{
		{"cat", func(n string) runner { return &catCmd{Name: n} }, map[string]string{
			kindBox: "Limit ", kindBytes: "|...", kindQueue: "of ", kindTopic: " published",
			kindMap: "of 4 entries", kindCache: "1 with ", kindService: "handled ",
			kindBlob: "in use, taken 1 time"}},
		{"cat", func(n string) runner { return &catCmd{Name: n, JSON: true} }, map[string]string{
			kindBox: `"Limit"`, kindBytes: `"AAAA`, kindQueue: `"kind": "queue.`,
			kindTopic: `"kind": "topic.`, kindMap: `"key": "uint64"`, kindCache: `"hits"`,
			kindService: `"handled"`, kindBlob: `"inFlight"`}},
		{"watch", func(n string) runner { return &watchCmd{Name: n, Count: 1} }, map[string]string{
			kindBox: "Limit ", kindBytes: "zero bytes", kindQueue: "queue.", kindTopic: "topic.",
			kindMap: "kv.Map[", kindCache: "kv.Cache", kindService: "rpc.Service[",
			kindBlob: "blob.Pool"}},
		{"watch", func(n string) runner { return &watchCmd{Name: n, Count: 1, JSON: true} },
			map[string]string{kindBox: `"Limit"`, kindBytes: `"AAAA`, kindQueue: `"kind":"queue.`,
				kindTopic: `"kind":"topic.`, kindMap: `"key":"uint64"`, kindCache: `"hits"`,
				kindService: `"handled"`, kindBlob: `"inFlight"`}},
		{"stat", func(n string) runner { return &statCmd{Name: n} }, map[string]string{
			kindBox: "main.Config", kindBytes: "bytes", kindQueue: "with unread", kindTopic: "topic.Topic[",
			kindMap: "kv.Map[", kindCache: "kv.Cache", kindService: "rpc.Service[",
			kindBlob: "blob.Pool"}},
		{"ls", func(n string) runner { return &lsCmd{Pattern: []string{n}} }, map[string]string{
			kindBox: "main.Config", kindBytes: "bytes", kindQueue: "queue.", kindTopic: "topic.Topic[",
			kindMap: "kv.Map[", kindCache: "kv.Cache", kindService: "rpc.Service[",
			kindBlob: "blob.Pool"}},
		{"diff", func(n string) runner { return &diffCmd{Name: n} }, with(map[string]string{
			kindBox: " changed in ", kindBytes: " changed in ", kindQueue: refuses, kindTopic: refuses})},
		{"set", func(n string) runner {
			return &setCmd{Name: n, Set: []string{"A=1"}, Timeout: time.Minute}
		}, with(map[string]string{kindBox: `has no field "A"`, kindBytes: "without a schema",
			kindQueue: refuses, kindTopic: refuses})},
		{"recover", func(n string) runner { return &recoverCmd{Name: n, Timeout: time.Minute} },
			with(map[string]string{kindBox: "", kindBytes: "without a schema", kindQueue: refuses,
				kindTopic: refuses})},
		{"tail", func(n string) runner { return &tailCmd{Name: n, From: "oldest", Count: 1} },
			with(map[string]string{kindBox: refuses, kindBytes: refuses, kindTopic: `"N":0`})},
		{"pump", func(n string) runner { return &pumpCmd{Name: n, Line: 1} },
			with(map[string]string{kindBox: refuses, kindBytes: refuses, kindTopic: "--json"})},
		{"record", func(n string) runner {
			return &recordCmd{Name: n, File: file, From: "oldest", Count: 1}
		}, with(map[string]string{kindBox: refuses, kindBytes: refuses, kindTopic: "1 messages recorded"})},
		{"gen", func(n string) runner { return &genCmd{Lang: "go", Name: n} }, map[string]string{
			kindBox: "package main", kindBytes: "has no schema", kindQueue: "Go programs attach",
			kindTopic: "type Tick struct", kindMap: "Go programs attach", kindCache: "Go programs attach",
			kindService: "Go programs make calls",
			kindBlob:    "Go programs attach"}},
	} {
		for name, kind := range all {
			want, ok := c.want[kind]
			if !ok {
				continue
			}
			code, out := inProcess(t, dir, c.verb, c.cmd(name))
			switch {
			case want == refuses:
				if code != exitRefused || !strings.Contains(out, "refused: it is a") ||
					!strings.Contains(out, " watch "+name+"` shows its ") {
					t.Errorf("shmem %s %s: %d\n%s", c.verb, name, code, out)
				}
			case !strings.Contains(out, want) || strings.Contains(out, "ReadyArmed"):
				t.Errorf("shmem %s %s: %d, want %q in\n%s", c.verb, name, code, want, out)
			}
		}
	}
	schema := wholeSchema()
	for _, c := range []struct {
		kind string
		cmd  runner
	}{
		{"service", &catCmd{Name: "calls", JSON: true}},
		{"service", &watchCmd{Name: "byte-calls", Count: 1, JSON: true}},
		{"pool", &catCmd{Name: "buffers", JSON: true}},
	} {
		_, out := inProcess(t, dir, "cat", c.cmd)
		var v any
		err := json.Unmarshal([]byte(out), &v)
		if err == nil {
			err = valid(schema, schema["properties"].(node)[c.kind].(node), v, c.kind)
		}
		if err != nil {
			t.Errorf("%v in %s", err, out)
		}
	}
	url := served(t, dir, &serveCmd{Listen: "127.0.0.1:0", Values: true})
	_, state := get(t, url+"/api/state")
	for name, kind := range all {
		r, ok := (&env{dir: dir}).rowOf(name)
		if !ok || kindOf(r) != kind || !strings.Contains(state, `"kind":"`+kind+`"`) {
			t.Errorf("the page shows %s as %s, want %s", name, kindOf(r), kind)
		}
		if _, body := get(t, url+"/api/segment?id="+rowID(r)); kind == kindService &&
			!strings.Contains(body, `"counters":[{"label":"calls",`) ||
			kind == kindCache && !strings.Contains(body, `"counters":[{"label":"entries",`) ||
			kind == kindBlob && !strings.Contains(body, `"counters":[{"label":"`) {
			t.Errorf("the page shows of %s %s", name, body)
		}
	}
}

// inProcess runs a command in this process, and returns its exit code and all that it prints.
func inProcess(t *testing.T, dir, verb string, cmd runner) (int, string) {
	t.Helper()
	var out output
	w := &buffered{f: os.NewFile(^uintptr(0), "none")}
	e := &env{ctx: t.Context(), verb: verb, dir: dir, width: columns, height: lines, stdout: w,
		raw: &out, out: guard{w: &out}, err: guard{w: &out}, unlinked: inspect.Unlinked}
	code := 0
	if err := cmd.Run(e); err != nil {
		code = e.report(err)
	}
	return code, out.b.String()
}
