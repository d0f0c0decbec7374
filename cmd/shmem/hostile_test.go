//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// evil is what a terminal would act on: it sets the title, clears the screen, writes backwards and
// begins a line of its own.
const evil = evilName + "\x00"

const evilName = "A\x1b]0;pwned\a\x1b[2J\x1b[31mred\u009b2J\u202egnp\x7f\r\nFORGED"

// A Note is a value with texts.
type Note struct {
	Text  shmem.Text[[64]byte]
	List  shmem.Vec[byte, [64]byte]
	Bytes [64]byte
	Big   uint64
	Small int64
}

func evilNote() (n Note) {
	_ = n.Text.Set(strings.TrimRight(evil, "\x00"))
	for _, c := range []byte(evil) {
		_ = n.List.Append(c)
	}
	copy(n.Bytes[:], evil)
	n.Big, n.Small = 1<<64-1, -1<<63
	return n
}

// evilDir is a directory with segments that say evil in every name and text. Three of them are
// without a name: a process that stays has them open.
func evilDir(t *testing.T) (dir, bin string) {
	t.Helper()
	dir, bin = interruptible(t)
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := shmem.Create[Note]("box", &shmem.Options{Dir: dir, Lifetime: shmem.Kept})
	check(err)
	check(b.Store(ctx, evilNote()))
	check(b.Close())
	q, err := queue.Create[Note]("queue", &queue.Options{Dir: dir, Capacity: 4, Lifetime: shmem.Kept})
	check(err)
	check(q.Send(ctx, evilNote()))
	check(q.Close())
	p, err := queue.CreateBytes("bytes", &queue.BytesOptions{Dir: dir, Lifetime: shmem.Kept,
		Capacity: 4, Bytes: 1 << 10})
	check(err)
	for range 2 {
		check(p.Send(ctx, []byte(evil)))
	}
	p.End()
	check(p.Close())
	publish(ctx, t, dir, "texts", func() (v shmem.Text[[64]byte]) { return evilNote().Text })
	publish(ctx, t, dir, "lists", func() shmem.Vec[byte, [64]byte] { return evilNote().List })
	publish(ctx, t, dir, "frames", func() [64]byte { return evilNote().Bytes })
	publish(ctx, t, dir, "notes", evilNote)
	aMap(t, dir)
	c, err := kv.CreateCache[string]("cache", &kv.CacheOptions{Dir: dir, Lifetime: shmem.Kept,
		Size: 64 << 10})
	check(err)
	check(c.Set(ctx, evil, []byte(evil)))
	check(c.Close())
	nameProgram(t, dir, "box")
	for i := range 3 { // files that have lost a name that ShmemBox could not have made
		name := filepath.Join(dir, fmt.Sprintf("lost%d", i))
		lost, err := shmem.Create[Note](filepath.Base(name), &shmem.Options{Dir: dir})
		check(err)
		check(os.Rename(name, filepath.Join(dir, fmt.Sprint(i, "lost$(touch pwned)", evilName))))
		t.Cleanup(func() { _ = lost.Close() })
		f, err := os.Open(filepath.Join(dir, fmt.Sprint(i, "lost$(touch pwned)", evilName)))
		check(err)
		t.Cleanup(func() { _ = f.Close() })
		check(os.Remove(f.Name()))
	}
	check(os.WriteFile(filepath.Join(dir, "file"+evilName), []byte(evil), 0o600))
	check(os.WriteFile(filepath.Join(dir, "foreign"), []byte(evil), 0o600))
	return dir, bin
}

func publish[T any](ctx context.Context, t *testing.T, dir, name string, f func() T) {
	t.Helper()
	tp, err := topic.Create[T](name, &topic.Options{Dir: dir, Capacity: 4, Lifetime: shmem.Kept})
	for range 2 {
		if err == nil {
			err = tp.Publish(ctx, f())
		}
	}
	if err == nil {
		tp.End()
		err = tp.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// nameProgram makes a segment say that a program of an evil name has created it.
func nameProgram(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sys.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	page := b[len(b)-format.HeaderSize:]
	copy(page[format.OffProgram:][:32], evil)
	format.Adopt(page, st.Ino, st.Dev)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNothingActs: no command that shows names and texts lets a terminal act on them, on any stream,
// and none lets them begin a line.
func TestNothingActs(t *testing.T) {
	dir, bin := evilDir(t)
	name := "file" + evilName
	lines := []string{
		"ls", "ls --json", "ls -1", "gc -n", "gc -n --json", "gc", "doctor", "top -n 2 -i 10ms",
		"__names", "completion bash", "completion zsh", "completion fish",
		"tail bytes", "tail -n 1 bytes", "pump bytes", "rm -f nope" + evil[:20],
		"stat " + name, "cat " + name, "cat --raw nope" + evil[:20], "set box Text=" + evil[:20],
		"set box " + evil[:20] + "=1", "cat box " + evil[:20], "ls " + evil[:20],
		"record nope" + evil[:20] + " -", "replay nope" + evil[:20] + " x", "frob" + evil[:20],
		"--" + evil[:20], "--dir /nope" + evil[:20] + " ls", "tail --from " + evil[:20] + " texts",
		"cat box Text", "cat box List", "cat box Bytes", "cat --json box Text", "rm box" + evil[:20],
	}
	for _, n := range []string{"box", "queue", "bytes", "texts", "lists", "frames", "notes",
		"map", "cache", "foreign", name, "0lost$(touch pwned)" + evilName} {
		for _, v := range []string{"stat", "stat --json", "cat", "cat -a", "cat --json", "cat --hex",
			"cat --type", "watch -n 2 -i 10ms", "watch --json -n 2 -i 10ms", "diff --json", "gen go"} {
			lines = append(lines, v+" \x01"+n)
		}
	}
	for _, n := range []string{"texts", "lists", "frames", "notes"} {
		lines = append(lines, "tail --from oldest "+n, "tail --json --from oldest "+n,
			"cat "+n, "watch -n 1 "+n)
	}
	var all [][]string
	for _, line := range lines {
		args := strings.Fields(line)
		if cmd, one, ok := strings.Cut(line, "\x01"); ok { // the name may have blanks
			if args = append(strings.Fields(cmd), one); args[0] == "diff" {
				args = append(args, "10ms")
			}
		}
		all = append(all, args)
	}
	for args, out := range runAll(t, bin, dir, all) {
		for l := range bytes.Lines(out) {
			l = bytes.TrimSuffix(l, []byte("\n"))
			if !isPlain(string(l), "\t") {
				t.Errorf("shmem %q prints what a terminal acts on: %q", args, l)
				break
			}
			if bytes.HasPrefix(l, []byte("FORGED")) {
				t.Errorf("shmem %q lets a text begin a line: %q", args, out)
				break
			}
		}
	}
}

// runAll runs command lines, some at a time, and yields what each has printed. It fails the test
// where one does not end, or panics.
func runAll(t *testing.T, bin, dir string, lines [][]string) iter.Seq2[[]string, []byte] {
	t.Helper()
	const atOnce = 4 // each waits longer for the kernel than it computes
	outs, ended := make([][]byte, len(lines)), make([]bool, len(lines))
	var wg sync.WaitGroup
	var next atomic.Int64
	work := t.TempDir()
	for range atOnce {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(lines); i = int(next.Add(1)) - 1 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				cmd := exec.CommandContext(ctx, bin, lines[i]...)
				cmd.Env = append(os.Environ(), "SHMEM_DIR="+dir)
				cmd.Dir = work
				outs[i], _ = cmd.CombinedOutput()
				ended[i] = ctx.Err() == nil
				cancel()
			}
		})
	}
	wg.Wait()
	return func(yield func([]string, []byte) bool) {
		for i, args := range lines {
			if !ended[i] {
				t.Errorf("shmem %q does not end", args)
			}
			if bytes.Contains(outs[i], []byte("goroutine ")) {
				t.Errorf("shmem %q: %s", args, outs[i])
			}
			if !yield(args, outs[i]) {
				return
			}
		}
	}
}

// TestRawIsExact: the bytes leave as they are where that is asked for, and JSON says the same.
func TestRawIsExact(t *testing.T) {
	dir, bin := evilDir(t)
	text := strings.TrimRight(evil, "\x00")
	for line, want := range map[string]string{
		"cat --raw box Bytes":           evil + strings.Repeat("\x00", 64-len(evil)),
		"tail --raw -n 1 bytes":         evil,
		"cat --raw foreign":             evil,
		"tail --raw -n 1 frames":        evil + strings.Repeat("\x00", 64-len(evil)),
		"cat box Big":                   "18446744073709551615\n",
		"cat --json box Big":            "\"18446744073709551615\"\n",
		"cat --json box Small":          "\"-9223372036854775808\"\n",
		"cat box Text":                  clean(text) + "\n",
		"tail --from oldest -n 1 texts": clean(text) + "\n",
	} {
		args := strings.Fields(line)
		if strings.HasSuffix(line, "frames") {
			args = append(args, "--from", "oldest")
		}
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "SHMEM_DIR="+dir)
		out, err := cmd.Output()
		if string(out) != want || err != nil {
			t.Errorf("shmem %s: %q, want %q (%v)", line, out, want, err)
		}
	}
}

// typed makes a segment whose payload has a type that no program of this library would make.
func typed(t *testing.T, dir, name string, typ *format.Type) {
	t.Helper()
	a, err := segment.Open(segment.Request{Name: name, Create: true, Size: typ.Size,
		Config:  segment.Config{Dir: dir, Lifetime: format.LifetimeKept},
		Compose: func(int, *format.Type) (*format.Type, error) { return typ, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Detach(false); err != nil {
		t.Fatal(err)
	}
}

// TestLies looks at segments whose types lie: they have the names of queues, topics, texts, lists
// and locks, but not their words.
func TestLies(t *testing.T) {
	octet := &format.Type{Kind: format.Uint8, Size: 1, Align: 1}
	word := &format.Type{Kind: format.Uint64, Size: 8, Align: 8}
	array := func(n int, of *format.Type) *format.Type {
		return &format.Type{Kind: format.Array, Size: n * of.Size, Align: of.Align, Len: n, Elem: of}
	}
	strct := func(name string, fields ...format.Field) *format.Type {
		typ := &format.Type{Kind: format.Struct, Name: name, Align: 8}
		for i, f := range fields {
			fields[i].Offset = (typ.Size + f.Type.Align - 1) / f.Type.Align * f.Type.Align
			typ.Size = fields[i].Offset + f.Type.Size
		}
		typ.Size = (typ.Size + 7) / 8 * 8
		typ.Fields = fields
		return typ
	}
	field := func(name string, typ *format.Type) format.Field {
		return format.Field{Name: name, Type: typ}
	}
	lies := map[string]*format.Type{
		"topic":     strct("topic.Topic", field("Topic", word), field("Items", array(3, word))),
		"topic-1":   strct("topic.Topic", field("Topic", octet), field("Items", array(3, octet))),
		"topic-2":   strct("topic.Topic", field("Topic", array(512, octet)), field("Slots", array(4, word)), field("Items", array(4, word))),
		"cell":      strct("topic.Topic", field("Topic", word), field("Items", array(3, strct("topic.cell[x]", field("Value", octet))))),
		"queue":     strct("queue.Queue", field("Many", word), field("Items", array(3, word))),
		"single":    strct("queue.Queue", field("Single", word), field("Items", array(3, word))),
		"bytes":     strct("queue.Bytes", field("Many", word), field("Data", array(3, octet))),
		"bytes-1":   strct("queue.Bytes", field("Single", word), field("Data", array(64, octet))),
		"text":      strct("shmem.Text[[4]uint8]", field("b", array(4, word))),
		"text-1":    strct("shmem.Text[", field("b", array(4, octet))),
		"list":      strct("shmem.Vec[x]", field("n", &format.Type{Kind: format.Uint32, Size: 4, Align: 4}), field("a", array(4, array(2, word)))),
		"list-1":    strct("shmem.Vec[", field("n", word), field("a", array(4, word))),
		"mutex":     strct("x", field("Mu", &format.Type{Kind: format.Sync, Name: "psync.Mutex", Size: 1, Align: 1})),
		"semaphore": strct("x", field("S", &format.Type{Kind: format.Sync, Name: "psync.Semaphore", Size: 3, Align: 1})),
		"rwmutex":   strct("x", field("S", array(5000, &format.Type{Kind: format.Sync, Name: "psync.RWMutex", Size: 9, Align: 1}))),
		"unknown":   strct("x", field("S", &format.Type{Kind: format.Sync, Name: "psync.Future", Size: 64, Align: 8})),
		"duration":  {Kind: format.Int8, Name: "time.Duration", Size: 1, Align: 1},
		"many":      strct("x", field("A", array(1<<20, octet)), field("B", array(1<<17, strct("y", field("A", array(8, octet)))))),
		"map":       strct("kv.Map", field("Map", word)),
		"map-1":     strct("kv.Map", field("Map", word), field("Stripes", array(2, word)), field("Buckets", array(2, word)), field("Cells", array(2, strct("c", field("Hash", word), field("Key", word), field("Value", word))))),
		"cache":     strct("kv.Cache", field("Cache", word)),
		"cache-1":   strct("kv.Cache", field("Cache", word), field("A", word), field("B", word), field("C", array(9, octet))),
		"calls":     strct("rpc.Service", field("Calls", word)),
		"calls-1":   strct("rpc.Service", field("Calls", word), field("Servers", array(2, word)), field("Ready", array(2, word)), field("Slots", array(2, strct("c", field("Call", word), field("Text", word), field("Request", word), field("Reply", word))))),
		"deep":      array(2, array(3, array(4, array(5, array(6, array(7, octet)))))),
	}
	for name, typ := range lies {
		dir := memoryDir(t)
		typed(t, dir, "x", typ)
		t.Run(name, func(t *testing.T) { lookEvery(t, dir) })
	}
}

// TestLooksAreSmall: a look at a huge file takes little memory of this machine, and gives the file
// none.
func TestLooksAreSmall(t *testing.T) {
	dir, bin := interruptible(t)
	const huge = 1 << 40
	sparse := func(name string, content []byte, at int64) {
		f, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			_, err = f.WriteAt(content, at)
		}
		if err == nil && at+int64(len(content)) < huge && at == 0 {
			err = f.Truncate(huge)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	sparse("begin", []byte("at the beginning"), 0)
	sparse("end", []byte("at the end"), huge-10)
	hugeSegment(t, dir, "segment", huge)
	blocks := func() (sum int64) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			st, err := sys.Lstat(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			sum += st.Blocks
		}
		return sum
	}
	before := blocks()
	lines := []string{"ls", "ls --json", "gc -n", "top -n 2 -i 10ms"}
	for _, n := range []string{"begin", "end", "segment"} {
		for _, v := range []string{"stat ", "stat --json ", "cat ", "cat --hex ", "cat --json ",
			"watch -n 2 -i 10ms ", "watch --json -n 2 -i 10ms ", "diff ", "tail -n 1 ", "cat -a "} {
			lines = append(lines, v+n)
		}
	}
	for _, line := range lines {
		cmd := exec.Command(bin, strings.Fields(line)...)
		cmd.Env = append(os.Environ(), "SHMEM_DIR="+dir)
		out, err := cmd.CombinedOutput()
		rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
		if rss > 300 {
			t.Errorf("shmem %s takes %d MiB", line, rss)
		}
		if bytes.Contains(out, []byte("goroutine ")) || len(out) > 1<<20 {
			t.Errorf("shmem %s: %v %.200s", line, err, out)
		}
	}
	if after := blocks(); after != before {
		t.Errorf("the files have %d blocks, had %d", after, before)
	}
}

// hugeSegment makes a file with a valid control block for a value of about n bytes, all of it holes
// but the header.
func hugeSegment(t *testing.T, dir, name string, n int64) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := shmem.Create[[4096]byte](name, &shmem.Options{Dir: dir, Slots: 1, Lifetime: shmem.Kept,
		Undo: shmem.UndoNever})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := sys.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	page := content[len(content)-format.HeaderSize:]
	h, err := format.DecodeHeader(page, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	more := uint64(n)
	h.TotalSize, h.PayloadCap, h.ControlOff = h.TotalSize+more, h.PayloadCap+more, h.ControlOff+more
	h.SlotsOff += more
	if h.SchemaOff != 0 {
		h.SchemaOff += more
	}
	octet := &format.Type{Kind: format.Uint8, Size: 1, Align: 1}
	typ := &format.Type{Kind: format.Array, Size: 4096 + int(n), Align: 1, Len: 4096 + int(n),
		Elem: octet}
	schema := typ.AppendBinary(nil)
	h.Encode(page)
	r := h.NewRecord(schema, typ.Fingerprint(), uint64(typ.Size))
	r.Encode(page[format.OffRecord:], schema)
	format.Adopt(page, st.Ino, st.Dev)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(page, int64(h.TotalSize)-format.HeaderSize); err != nil {
		t.Fatal(err)
	}
}

// TestFull: what cannot be written is an error of every command.
func TestFull(t *testing.T) {
	dir, bin := evilDir(t)
	rec := filepath.Join(t.TempDir(), "rec")
	run := func(line string, to string) (code int, text string) {
		full, err := os.OpenFile(to, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		cmd := exec.Command(bin, strings.Fields(line)...)
		cmd.Env = append(os.Environ(), "SHMEM_DIR="+dir)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errs
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), errs.String()
	}
	for _, line := range []string{
		"ls", "ls --json", "ls -1", "stat box", "stat --json box", "cat box", "cat --json box",
		"cat --raw box", "cat --hex box", "cat --type box", "cat box Big", "cat foreign", "cat queue",
		"cat --json queue", "watch -n 1 box", "watch --json -n 1 box", "watch -n 1 queue",
		"watch --json -n 1 queue", "top -n 1", "diff box 1ms", "gc -n", "gc --json", "doctor",
		"doctor --json", "tail --from oldest texts", "tail --raw --from oldest frames",
		"tail --json --from oldest notes", "record --from oldest texts -",
		"record --from oldest texts /dev/full", "gen go box", "gen go box -o /dev/full",
		"completion bash", "completion zsh", "completion fish", "__names", "--help", "--version",
		"ls --help", "tail bytes",
	} {
		if code, text := run(line, "/dev/full"); code != 1 || !strings.Contains(text, "no space left") {
			t.Errorf("shmem %s >/dev/full: exit code %d: %s", line, code, text)
		}
	}
	if code, text := run("record --from oldest texts "+rec, os.DevNull); code != 0 {
		t.Fatal(text)
	}
}

// TestModes: a file that a command makes is as secret as what it was made from.
func TestModes(t *testing.T) {
	dir, bin := interruptible(t)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	work := t.TempDir()
	for _, mode := range []os.FileMode{0o600, 0o640, 0o644, 0o666} {
		name := fmt.Sprintf("m%o", mode)
		tp, err := topic.Create[[4]byte](name, &topic.Options{Dir: dir, Mode: mode, Capacity: 4,
			Lifetime: shmem.Kept})
		if err != nil {
			t.Fatal(err)
		}
		_ = tp.Publish(t.Context(), [4]byte{'x'})
		tp.End()
		_ = tp.Close()
		rec, code := filepath.Join(work, name), filepath.Join(work, name+".go")
		for _, args := range [][]string{{"record", "--from", "oldest", name, rec},
			{"gen", "go", name, "-o", code}, {"replay", "--max", rec, name + "-again"}} {
			cmd := exec.Command(bin, args...)
			cmd.Env = append(os.Environ(), "SHMEM_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
		for _, path := range []string{rec, code, filepath.Join(dir, name+"-again")} {
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
				t.Errorf("%s has mode %v, want %v (%v)", path, st.Mode(), mode, err)
			}
		}
	}
}

// TestColoursAreOurs: with colours, no text brings a colour of its own.
func TestColoursAreOurs(t *testing.T) {
	dir, bin := evilDir(t)
	for _, line := range []string{"ls", "gc -n", "top -n 1", "check --held 1ms", "ps", "stat box",
		"cat box", "cat queue", "cat bytes", "cat notes", "watch -n 1 box", "watch -n 1 bytes",
		"tail -n 1 --from oldest texts", "cat box Text", "cat foreign", "diff box 1ms", "ls nope"} {
		cmd := exec.Command(bin, append([]string{"--dir", dir, "--color", "always"},
			strings.Fields(line)...)...)
		out, _ := cmd.CombinedOutput()
		for _, bad := range []string{"\x1b[31mred", "\x1b[2J", "\x1b]0", "\u009b", "\u202e", "\r"} {
			if bytes.Contains(out, []byte(bad)) {
				t.Errorf("shmem %s prints %q: %q", line, bad, out)
			}
		}
	}
}

// TestOddFiles: what is no regular file is refused, and nothing waits for it.
func TestOddFiles(t *testing.T) {
	dir, bin := interruptible(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	check(os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	check(os.Symlink("/dev/zero", filepath.Join(dir, "link")))
	check(os.Symlink("loop", filepath.Join(dir, "loop")))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	check(err)
	defer l.Close()
	check(os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	var all [][]string
	for _, name := range []string{"fifo", "dir", "link", "loop", "socket", "empty", "/dev/zero",
		"/proc/self/maps", "/dev/tty", "/proc/self/fd", "", ".", "..", "/", "//"} {
		for _, verb := range []string{"stat", "stat --json", "cat", "cat --json", "cat --hex",
			"cat --raw", "watch -n 1", "watch --json -n 1", "tail -n 1", "diff", "gen go", "rm -n"} {
			args := append(strings.Fields(verb), name)
			if verb == "diff" {
				args = append(args, "10ms")
			}
			all = append(all, args)
		}
	}
	for _, verb := range []string{"ls", "ls --json", "top -n 1", "check --held 1ms", "gc -n", "ps"} {
		all = append(all, strings.Fields(verb))
	}
	for range runAll(t, bin, dir, all) {
	}
	for _, name := range []string{"fifo", "dir", "link", "loop", "socket"} {
		code, out := inProcess(t, dir, "cat", &catCmd{Name: name})
		if code != exitRefused || !strings.Contains(out, "not a regular file") {
			t.Errorf("shmem cat %s: %d %s", name, code, out)
		}
	}
}
