//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/topic"
)

// memoryDir returns a fresh directory in memory.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shmem-look-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// seal makes a header page whose content was changed valid again, as far as checksums go, so that a
// look goes on to what the page says.
func seal(page []byte, st sys.Stat, size int64) {
	format.Adopt(page, st.Ino, st.Dev)
	h, err := format.DecodeHeader(page, size)
	if err != nil {
		return
	}
	n := int(page[format.OffRecordLength]) | int(page[format.OffRecordLength+1])<<8
	if n == 0 || n > format.InlineSchema {
		return
	}
	schema := append([]byte(nil), page[format.OffInline:][:n]...)
	t, err := format.Decode(schema)
	if err != nil {
		return
	}
	r := h.NewRecord(schema, t.Fingerprint(), uint64(t.Size))
	r.Encode(page[format.OffRecord:], schema)
}

// place writes a file named x that may be any, with a header for this very file. A sparse one has
// memory only where it has other bytes than zeros.
func place(t testing.TB, dir string, content []byte, sparse bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := sys.Lstat(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	content = append([]byte(nil), content...)
	if at := len(content) - format.HeaderSize; at >= 0 {
		seal(content[at:], st, int64(len(content)))
	}
	const piece = 4096
	for off := 0; off < len(content); off += piece {
		b := content[off:min(off+piece, len(content))]
		if sparse && strings.Trim(string(b), "\x00") == "" {
			continue
		}
		if _, err := f.WriteAt(b, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

// An output counts what a terminal would act on.
type output struct {
	b   strings.Builder
	bad int
}

func (o *output) Write(p []byte) (int, error) {
	for _, c := range p {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			o.bad++
		}
	}
	if o.b.Len() < 1<<20 {
		o.b.Write(p)
	}
	return len(p), nil
}

// A runner is a command that kong would run.
type runner interface{ Run(*env) error }

// reading are the commands that read a segment named x, in all their forms.
func reading(dir string) map[string]runner {
	const short = time.Millisecond
	return map[string]runner{
		"ls": &lsCmd{}, "ls --json": &lsCmd{JSON: true}, "ls -1": &lsCmd{Names: true},
		"stat":         &statCmd{Name: "x", For: short},
		"stat --json":  &statCmd{Name: "x", For: short, JSON: true},
		"cat":          &catCmd{Name: "x"},
		"cat -a":       &catCmd{Name: "x", All: true},
		"cat --json":   &catCmd{Name: "x", JSON: true},
		"cat --hex":    &catCmd{Name: "x", Hex: true},
		"cat --type":   &catCmd{Name: "x", Type: true},
		"cat PATH":     &catCmd{Name: "x", Path: "Limit"},
		"watch":        &watchCmd{Name: "x", Interval: short, Count: 1},
		"watch --json": &watchCmd{Name: "x", Interval: short, Count: 1, JSON: true},
		"top":          &topCmd{Interval: short, Count: 1},
		"diff":         &diffCmd{Name: "x"},
		"diff --json":  &diffCmd{Name: "x", JSON: true},
		"gc -n":        &gcCmd{DryRun: true},
		"gc -n --json": &gcCmd{DryRun: true, JSON: true},
		"tail":         &tailCmd{Name: "x", From: "oldest", Count: 2},
		"tail --json":  &tailCmd{Name: "x", From: "oldest", Count: 2, JSON: true},
		"record":       &recordCmd{Name: "x", File: filepath.Join(dir, ".rec"), From: "oldest", Count: 2},
		"gen go":       &genCmd{Lang: "go", Name: "x"},
		"check":        &checkCmd{Held: time.Second, Full: 90, Level: "note"},
		"check --json": &checkCmd{Held: time.Second, Full: 90, Level: "note", JSON: true},
		"ps":           &psCmd{},
		"ps --json":    &psCmd{JSON: true},
		"serve json":   serveOnce{"/api/state", "/api/segment?id="},
		"serve text":   serveOnce{"/metrics"},
		"__names":      namesCmd{},
	}
}

// serveOnce prints what serve answers to some requests; a path that ends in = is asked for each
// segment.
type serveOnce []string

func (paths serveOnce) Run(e *env) error {
	s := newServer(e, &serveCmd{Values: true, AnyUser: true})
	defer s.lookout.close()
	ask := func(path string) error {
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
		if _, err := w.Body.WriteTo(e.out); err != nil || w.Code != http.StatusOK {
			return errors.Join(err, fmt.Errorf("%s: %d", path, w.Code))
		}
		return nil
	}
	for _, path := range paths {
		if !strings.HasSuffix(path, "=") {
			if err := ask(path); err != nil {
				return err
			}
			continue
		}
		for _, id := range s.lookout.order {
			if err := ask(path + url.QueryEscape(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookEvery runs every reading command at the file x of dir. A command may refuse; it may not
// panic, wait, print what a terminal acts on, or print JSON that is none.
func lookEvery(t testing.TB, dir string) {
	t.Helper()
	for name, cmd := range reading(dir) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		var out, errs output
		w := &buffered{f: os.NewFile(^uintptr(0), "none")}
		e := &env{ctx: ctx, verb: strings.Fields(name)[0], dir: dir, width: columns, height: lines,
			stdout: w, raw: &out, out: guard{w: &out}, err: guard{w: &errs},
			unlinked: func(string) ([]shmem.Info, error) { return nil, nil }, alone: true}
		err := cmd.Run(e)
		cancel()
		if err != nil {
			e.report(err)
		}
		if out.bad+errs.bad > 0 {
			t.Errorf("shmem %s prints what a terminal acts on: %q %q", name, out.b.String(),
				errs.b.String())
		}
		if err != nil || !strings.Contains(name, "json") || out.b.Len() >= 1<<20 {
			continue
		}
		for d := json.NewDecoder(strings.NewReader(out.b.String())); ; {
			var v any
			if err := d.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("shmem %s: %v in %q", name, err, out.b.String())
				break
			}
		}
	}
}

// images are the files of segments of every kind.
func images(t testing.TB) map[string][]byte {
	t.Helper()
	dir, ctx, all := memoryDir(t), t.Context(), map[string][]byte{}
	keep := func(name string, c io.Closer, err error) {
		t.Helper()
		var b []byte
		if err == nil {
			b, err = os.ReadFile(filepath.Join(dir, name))
		}
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	b, err := shmem.Create[Config]("box", &shmem.Options{Dir: dir, Slots: 4})
	keep("box", b, err)
	s, err := shmem.CreateSegment("raw", 5000, &shmem.Options{Dir: dir, Slots: 4})
	keep("raw", s, err)
	for _, single := range []bool{false, true} {
		name, stamped := fmt.Sprintf("%v", single), single // each form once, with stamps or without
		q, err := queue.Create[Job]("queue-"+name,
			&queue.Options{Dir: dir, Slots: 4, Capacity: 4, Single: single, Stamped: !stamped})
		if err == nil {
			err = q.Send(ctx, Job{1})
		}
		keep("queue-"+name, q, err)
		p, err := queue.CreateBytes("bytes-"+name,
			&queue.BytesOptions{Dir: dir, Slots: 4, Capacity: 4, Bytes: 256, Single: single,
				Stamped: stamped})
		if err == nil {
			err = p.Send(ctx, []byte("esc \x1b[31m"))
		}
		keep("bytes-"+name, p, err)
	}
	tp, err := topic.Create[Tick]("topic", &topic.Options{Dir: dir, Slots: 4, Capacity: 4, Holds: 1})
	if err == nil {
		err = tp.Publish(ctx, Tick{})
	}
	keep("topic", tp, err)
	m, err := kv.Create[uint64, Job]("map", &kv.Options{Dir: dir, Slots: 4, Capacity: 4})
	if err == nil {
		err = m.Set(ctx, 1, Job{1})
	}
	keep("map", m, err)
	c, err := kv.CreateCache[string]("cache", &kv.CacheOptions{Dir: dir, Slots: 4, Size: 64 << 10})
	if err == nil {
		err = c.Set(ctx, "key \x1b[31m", []byte("esc \x1b[31m"))
	}
	keep("cache", c, err)
	ctx, cancel := context.WithCancel(ctx)
	served, o := make(chan error, 3), &rpc.ServeOptions{Dir: dir, Slots: 4, Calls: 4}
	serveAll(ctx, o, served)
	d := &rpc.DialOptions{Dir: dir}
	client, err := rpc.Dial[Job, Tick](ctx, "calls", d)
	keep("calls", client, err)
	bytesClient, err := rpc.DialBytes(ctx, "byte-calls", d)
	keep("byte-calls", bytesClient, err)
	streamClient, err := rpc.DialStream[Job, Tick](ctx, "stream-calls", d)
	keep("stream-calls", streamClient, err)
	cancel()
	if err := errors.Join(<-served, <-served, <-served); err != nil {
		t.Fatal(err)
	}
	return all
}

// serveAll serves a service of each form until ctx is done, and sends their errors.
func serveAll(ctx context.Context, o *rpc.ServeOptions, served chan<- error) {
	go func() {
		served <- rpc.Serve(ctx, "calls", func(context.Context, *Job, *Tick) error { return nil }, o)
	}()
	go func() {
		served <- rpc.ServeBytes(ctx, "byte-calls", rpc.Sizes{Request: 64, Reply: 64},
			func(_ context.Context, _, reply []byte) ([]byte, error) { return reply, nil }, o)
	}()
	go func() {
		served <- rpc.ServeStream(ctx, "stream-calls",
			func(context.Context, *Job, func(*Tick) error) error { return nil }, o)
	}()
}

// FuzzLook drives every reading command over whole files.
func FuzzLook(f *testing.F) {
	dir := memoryDir(f)
	for _, raw := range images(f) {
		for _, sparse := range []bool{false, true} {
			f.Add(raw, uint32(0), uint64(0), uint32(0), uint64(0), sparse)
			f.Add(raw, uint32(len(raw)-4096+960+4), uint64(1), uint32(0), uint64(1)<<40, sparse)
			f.Add(raw[:len(raw)/2], uint32(0), uint64(0), uint32(0), uint64(0), sparse)
		}
	}
	f.Add([]byte("short"), uint32(0), uint64(0), uint32(0), uint64(0), false)
	f.Fuzz(func(t *testing.T, content []byte, at1 uint32, word1 uint64, at2 uint32, word2 uint64,
		sparse bool) {
		if len(content) > 1<<20 {
			return
		}
		content = append([]byte(nil), content...)
		for i := range 8 { // by chance alone a word that matters is seldom hit
			for at, word := range map[uint32]uint64{at1: word1, at2: word2} {
				if n := int(at) + i; n < len(content) {
					content[n] ^= byte(word >> (8 * i))
				}
			}
		}
		place(t, dir, content, sparse)
		lookEvery(t, dir)
	})
}

// TestChangesMeanwhile looks at files that another process writes, cuts, punches and replaces at the
// same time.
func TestChangesMeanwhile(t *testing.T) {
	dir, all := memoryDir(t), images(t)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(dir, "x")
	for _, name := range names {
		place(t, dir, all[name], false)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					vandalize(path, all[name], r)
				}
			}
		}()
		for range 3 {
			lookEvery(t, dir)
		}
		close(stop)
		<-stopped
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// vandalize changes a file in one of the ways in which another process could.
func vandalize(path string, whole []byte, r *rand.Rand) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	n := int64(len(whole))
	switch r.IntN(8) {
	case 0:
		_ = f.Truncate(r.Int64N(n))
	case 1:
		_ = f.Truncate(n + r.Int64N(n))
	case 2:
		const keepSize, punchHole = 1, 2
		_ = syscall.Fallocate(int(f.Fd()), keepSize|punchHole, r.Int64N(n), 1+r.Int64N(n))
	case 3, 4: // as it was
		_ = f.Truncate(n)
		_, _ = f.WriteAt(whole, 0)
		if st, err := sys.Lstat(path); err == nil {
			page := append([]byte(nil), whole[n-format.HeaderSize:]...)
			seal(page, st, n)
			_, _ = f.WriteAt(page, n-format.HeaderSize)
		}
		time.Sleep(time.Millisecond)
	default:
		b := make([]byte, 8)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		_, _ = f.WriteAt(b, r.Int64N(n))
	}
}
