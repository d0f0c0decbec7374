package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

type route struct {
	Name   shmem.Text[[16]byte]
	Weight int32
	Up     bool
}

type config struct {
	Limit   uint64
	Ratio   float32
	Small   int8
	Z       complex64
	Timeout time.Duration
	Routes  shmem.Vec[route, [16]route]
	Table   [64]uint16
	Key     [20]byte
	Pair    [2]route
	Hits    atomic.Uint64
	Flag    atomic.Uint32
	Mu      psync.Mutex
	RW      psync.RWMutex
	Sem     psync.Semaphore
	Ev      psync.Event
}

func (c *config) fill() {
	c.Limit, c.Ratio, c.Small, c.Z, c.Timeout = 100, 0.25, -3, 1+2i, 1500*time.Millisecond
	for i := range 3 {
		var r route
		_ = r.Name.Set(fmt.Sprint("route", i))
		r.Weight = int32(i) - 1
		_ = c.Routes.Append(r)
	}
	for i := range 10 {
		c.Table[i] = uint16(i * i)
	}
	copy(c.Key[:], "a key")
	c.Hits.Store(1 << 40)
}

// huge is always stored with all words the same, so that a torn copy can be seen.
type huge struct{ W [4096]uint64 }

// roles are what child processes do.
var roles = []shmemtest.Role{{Name: "holder", Run: holder}, {Name: "writer", Run: writer}}

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

// holder opens a box and fills it. Then it takes a lock or goes into an Update when it is told to.
func holder(c *shmemtest.Conn) error {
	b, err := shmem.Open[config]("config", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	defer b.Close()
	b.Value().fill()
	c.Send("up")
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		switch line {
		case "lock":
			err = b.Value().Mu.Lock(context.Background())
		case "update":
			err = b.Update(context.Background(), func(v *config) error {
				v.Limit = 7
				v.Hits.Add(1)
				c.Send("inside")
				_, err := c.Recv()
				return err
			})
		}
		if err != nil {
			return err
		}
		c.Send("done")
	}
}

// writer stores as fast as it can until it is killed.
func writer(c *shmemtest.Conn) error {
	b, err := shmem.Attach[huge]("huge", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	defer b.Close()
	c.Send("up")
	var v huge
	for n := uint64(1); ; n++ {
		for i := range v.W {
			v.W[i] = n
		}
		if n%2 == 0 {
			err = b.StoreFrom(context.Background(), &v)
		} else {
			err = b.Update(context.Background(), func(p *huge) error { *p = v; return nil })
		}
		if err != nil {
			return err
		}
	}
}

func look(t testing.TB, dir, name string) *inspect.Observer {
	t.Helper()
	s, err := inspect.Open(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func snap(t testing.TB, s *inspect.Observer) *inspect.Snapshot {
	t.Helper()
	v, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func at(t testing.TB, v inspect.Value, path string) inspect.Value {
	t.Helper()
	v, err := v.At(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestValue(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Value().fill()
	s := look(t, dir, "config")
	v := snap(t, s).Value()
	for path, want := range map[string]string{
		"Limit": "100", "Ratio": "0.25", "Small": "-3", "Z": "(1+2i)", "Timeout": "1.5s",
		"Routes[2].Name": `"route2"`, "Routes[0].Weight": "-1", "Table[9]": "81", "Key": `"a key"`,
		"Pair[1]": `{Name "", Weight 0, Up false}`, "Hits": "1099511627776", "Mu": "free",
		"Routes[0]": `{Name "route0", Weight -1, Up false}`,
	} {
		if got := at(t, v, path).String(); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"Nope": "it has Limit", "Routes[3]": "elements 0 to 2", "Limit.X": "it is uint64",
		"Routes[x]": "elements", "Routes[": "missing",
		"Limit[0]": "no array", "Routes[0]Name": "expected",
	} {
		if _, err := v.At(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("path %s: error %v, want one with %q", path, err, want)
		}
	}
	n := 0
	for range v.Leaves() {
		n++
	}
	if n != 5+9+64+1+6+2+4 {
		t.Errorf("%d leaves", n)
	}
}

// TestJSON: the JSON of a value is that of encoding/json, where that knows the type.
func TestJSON(t *testing.T) {
	type plain struct {
		A int8
		B uint64
		C [3]float32
		D float64
		E [2]struct{ X, Y int16 }
		F shmem.Text[[8]byte]
		G shmem.Vec[int32, [4]int32]
		H bool
		I [4]byte
		T time.Duration
	}
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[plain]("plain", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := b.Value()
	p.A, p.B, p.C, p.D, p.H, p.I, p.T = -5, 1<<63, [3]float32{0.1, 1e30, -2}, 1e-9, true,
		[4]byte{1, 2, 3, 4}, time.Second
	p.E[1].Y = -7
	_ = p.F.Set("<é>")
	_ = p.G.Append(1, -2)
	want, err := json.Marshal(*p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(snap(t, look(t, dir, "plain")).Value())
	if err != nil || string(got) != string(want) {
		t.Errorf("JSON is\n%s, want\n%s (%v)", got, want, err)
	}
}

func TestCrashed(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := shmemtest.Start(t, "holder", dir)
	c.Expect(t, "up")
	s := look(t, dir, "config")
	before := snap(t, s)
	c.Send("lock")
	c.Expect(t, "done")
	st, err := s.Status()
	if err != nil {
		t.Fatal(err)
	}
	if st.State != shmem.Live || len(st.Slots) != 1 || !st.Slots[0].Owner ||
		st.Slots[0].PID != c.Pid() || !strings.Contains(st.Fate, "garbage") {
		t.Errorf("status %+v", st)
	}
	mu := at(t, snap(t, s).Value(), "Mu")
	if l, _ := mu.Lock(); l.State != "locked" || len(l.Holders) != 1 ||
		l.Holders[0].PID != c.Pid() || l.Dead {
		t.Errorf("the mutex is %+v", l)
	}
	c.Send("update")
	c.Expect(t, "inside")
	if st, err = s.Status(); err != nil || !st.Changing || st.Lock.State != "locked" ||
		len(st.Lock.Holders) != 1 {
		t.Errorf("status in Update: %+v, %v", st, err)
	}
	// The value is that before Update. Atomics are as they are now.
	now := snap(t, s)
	if got := at(t, now.Value(), "Limit").Any(); got != uint64(100) || !now.Changing || now.Torn {
		t.Errorf("in Update Limit is %v, %+v", got, now)
	}
	var changed []string
	for _, d := range inspect.Diff(before, now) {
		changed = append(changed, d.Path)
	}
	if fmt.Sprint(changed) != "[Hits Mu]" {
		t.Errorf("changed %v", changed)
	}
	c.Kill()
	if st, err = s.Status(); err != nil || st.State != shmem.Garbage || !st.Lock.Dead ||
		st.Lock.Holders[0].Alive {
		t.Errorf("status after the kill: %+v, %v", st, err)
	}
	if got := at(t, snap(t, s).Value(), "Limit").Any(); got != uint64(100) {
		t.Errorf("after the kill Limit is %v", got)
	}
	if err := inspect.Set(context.Background(), "config", &shmem.Options{Dir: dir},
		inspect.Assignment{"Limit", "1"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Set of garbage: %v", err)
	}
	_ = shmem.Remove(dir, "config")
}

// TestSnapshotIsWhole: no snapshot is torn while another process stores all the time.
func TestSnapshotIsWhole(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[huge]("huge", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := shmemtest.Start(t, "writer", dir)
	c.Expect(t, "up")
	s := look(t, dir, "huge")
	n, busy := 0, 0
	for start := time.Now(); time.Since(start) < time.Second; n++ {
		p, err := s.Snapshot()
		if errors.Is(err, shmem.ErrContended) {
			busy++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		raw := p.Value().Bytes()
		for i := 8; i < len(raw); i += 8 {
			if string(raw[i:i+8]) != string(raw[:8]) {
				t.Fatalf("snapshot %d is torn at %d: %x and %x", n, i, raw[:8], raw[i:i+8])
			}
		}
	}
	t.Logf("%d snapshots of %d bytes, %d busy", n, len(huge{}.W)*8, busy)
	c.Kill()
}

func TestSet(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	b, err := shmem.Create[config]("config", o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Value().fill()
	version := b.Version()
	err = inspect.Set(context.Background(), "config", o,
		inspect.Assignment{"Limit", "0x10"}, inspect.Assignment{"Routes[1].Name", "up"},
		inspect.Assignment{"Ratio", "-1.5"},
		inspect.Assignment{"Small", "-128"}, inspect.Assignment{"Z", "3-1i"},
		inspect.Assignment{"Timeout", "2m"},
		inspect.Assignment{"Pair[0]", `{"Up":true,"Weight":9}`},
		inspect.Assignment{"Key", "0x0102"}, inspect.Assignment{"Hits", "77"},
		inspect.Assignment{"Flag", "5"}, inspect.Assignment{"Routes[2]", `{"Name":"last"}`},
	)
	if err != nil {
		t.Fatal(err)
	}
	v := b.Value()
	if v.Limit != 16 || v.Routes.Slice()[1].Name.String() != "up" || v.Ratio != -1.5 ||
		v.Small != -128 || v.Z != 3-1i ||
		v.Timeout != 2*time.Minute || !v.Pair[0].Up || v.Pair[0].Weight != 9 || v.Key[1] != 2 ||
		v.Key[2] != 0 || v.Hits.Load() != 77 ||
		v.Flag.Load() != 5 || v.Routes.Slice()[2].Name.String() != "last" ||
		v.Routes.Slice()[2].Weight != 1 {
		t.Errorf("after Set: %v", snap(t, look(t, dir, "config")).Value())
	}
	if b.Version() != version+1 {
		t.Errorf("version %d after one Set at %d", b.Version(), version)
	}
	for a, want := range map[inspect.Assignment]string{
		{"Limit", "-1"}: "uint64 is needed", {"Small", "128"}: "range",
		{"Routes[1].Name", "much too long a name"}: "fit",
		{"Mu", "1"}: "lock", {"Nope", "1"}: "no field", {"Pair[0]", `{"Bad":1}`}: "no field",
		{"Pair", "[1]"}:         "2 elements",
		{"Pair[0].Up", "maybe"}: "true or false", {"Routes", `[{"Name":1}]`}: "is a",
	} {
		err := inspect.Set(context.Background(), "config", o, inspect.Assignment{"Limit", "99"}, a)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Set %v: error %v, want one with %q", a, err, want)
		}
	}
	if v.Limit != 16 {
		t.Error("a Set that failed changed something")
	}
	if err := inspect.Set(context.Background(), "config", o, inspect.Assignment{"Routes", `[{"Name":"only","Weight":3}]`}); err != nil || v.Routes.Len() != 1 {
		t.Errorf("Set of a list: %v, %v", v.Routes.Len(), err)
	}
	if err := b.Update(context.Background(), func(*config) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		defer cancel()
		err := inspect.Set(ctx, "config", o, inspect.Assignment{"Limit", "1"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set of a locked box: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestSetAtAnOrphan: Set leaves the cleanup of an orphan to other processes.
func TestSetAtAnOrphan(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	c := shmemtest.Start(t, "holder", dir)
	c.Expect(t, "up")
	b, err := shmem.Attach[config]("config", o)
	if err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if err := inspect.Set(context.Background(), "config", o,
		inspect.Assignment{"Limit", "1"}); err != nil {
		t.Fatal(err)
	}
	if st, err := look(t, dir, "config").Status(); err != nil || st.State != shmem.Orphaned ||
		!strings.Contains(st.Fate, "last one") {
		t.Errorf("status %+v, %v", st, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := inspect.Open(o.Dir, "config"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the last one left: %v", err)
	}
}

func TestForeignDamagedTruncated(t *testing.T) {
	dir := shmemtest.Dir(t)
	file := filepath.Join(dir, "other")
	if err := os.WriteFile(file, []byte("hello, world"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	s := look(t, dir, "other")
	if p := snap(t, s); s.Info().State != shmem.Foreign || p.Value().String() != `"hello, world"` ||
		!p.Torn {
		t.Errorf("foreign: %+v %v", s.Info(), p.Value())
	}
	b, err := shmem.Create[huge]("huge", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s = look(t, dir, "huge")
	if err := os.Truncate(filepath.Join(dir, "huge"), 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Snapshot(); !errors.Is(err, shmem.ErrFault) {
		t.Errorf("snapshot of a truncated file: %v", err)
	}
	if _, err := s.Status(); err != nil && !errors.Is(err, shmem.ErrFault) {
		t.Errorf("status of a truncated file: %v", err)
	}
	_ = os.Remove(filepath.Join(dir, "huge"))
	if _, err := inspect.Open(dir, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// TestStrangerUnlinks: another program unlinks the name. The processes attached go on, and Unlinked
// finds the segment.
func TestStrangerUnlinks(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	b, err := shmem.Create[config]("config", o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := shmemtest.Start(t, "holder", dir) // it attaches by the name
	c.Expect(t, "up")
	if all, err := inspect.Unlinked(o.Dir); err != nil || len(all) != 0 {
		t.Errorf("unlinked: %v, %v", all, err)
	}
	if err := os.Remove(filepath.Join(dir, "config")); err != nil {
		t.Fatal(err)
	}
	all, err := inspect.Unlinked(o.Dir)
	if err != nil || len(all) != 1 || all[0].Name != "config" || all[0].State != shmem.Live {
		t.Fatalf("unlinked: %+v, %v", all, err)
	}
	s, err := inspect.Open("", all[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st, err := s.Status(); err != nil || st.Linked ||
		!strings.Contains(st.Fate, "name is gone") {
		t.Errorf("status %+v, %v", st, err)
	}
	b2, err := shmem.Create[config]("config", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil { // does not unlink the new one
		t.Fatal(err)
	}
	if !b2.Segment().Linked() {
		t.Error("the Close of the stolen one took the new one's name")
	}
	_ = b2.Close()
}

func TestLines(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Value().fill()
	v := snap(t, look(t, dir, "config")).Value()
	var out strings.Builder
	for l := range v.Lines(80, 100) {
		fmt.Fprintf(&out, "%s%s: %s (%s)\n", strings.Repeat("  ", l.Depth), l.Label, l.Text, l.Note)
	}
	for _, want := range []string{"Limit: 100", "[10..63]: all zero",
		`[0]: {Name "route0", Weight -1, Up false}`, "Hits: 1099511627776 (atomic)",
		"Routes:  (3 of 16)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// hostile writes a file, and calls everything that shows it. Errors are fine; panics and hangs are
// not.
func hostile(t testing.TB, dir string, content []byte) {
	path := filepath.Join(dir, "x")
	write := func() {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	// A header with a wrong checksum, or of another file, would be refused before the rest is read.
	if page := len(content) - format.HeaderSize; page >= 0 {
		st, err := sys.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		format.Adopt(content[page:], st.Ino, st.Dev)
		write()
	}
	s, err := inspect.Open(dir, "x")
	if err != nil {
		return
	}
	defer s.Close()
	if _, err := s.Status(); err != nil && !errors.Is(err, shmem.ErrFault) {
		t.Fatal(err)
	}
	if _, err := s.Stats(); err != nil && !errors.Is(err, shmem.ErrFault) &&
		!errors.Is(err, shmem.ErrClosed) {
		t.Fatal(err)
	}
	_, _ = s.Messages(0)
	p, err := s.Snapshot()
	if err != nil {
		return
	}
	v := p.Value()
	if _, err := json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	for range v.Lines(80, 50) {
	}
	for path, l := range v.Leaves() {
		if got, err := v.At(path); err == nil && got.Offset() != l.Offset() {
			t.Fatalf("path %s leads to %d, not %d", path, got.Offset(), l.Offset())
		}
	}
	inspect.Diff(p, p)
	v.Any()
}

func image(t testing.TB, dir string) []byte {
	b, err := shmem.Create[config]("seed", &shmem.Options{Dir: dir, Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	b.Value().fill()
	_ = b.Store(context.Background(), *b.Value())
	raw, err := os.ReadFile(filepath.Join(dir, "seed"))
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	return raw
}

func FuzzSegment(f *testing.F) {
	dir := shmemtest.Dir(f)
	f.Cleanup(func() { _ = os.Remove(filepath.Join(dir, "x")) })
	raw := image(f, dir)
	f.Add(raw, uint32(0), uint64(0))
	f.Add([]byte("short"), uint32(1), uint64(1))
	f.Add(raw, uint32(len(raw)-4096+960), uint64(1<<40))
	f.Fuzz(func(t *testing.T, content []byte, at uint32, word uint64) {
		content = append([]byte(nil), content...)
		for i := range 8 { // by chance alone a word that matters is seldom hit
			if n := int(at) + i; n < len(content) {
				content[n] ^= byte(word >> (8 * i))
			}
		}
		hostile(t, dir, content) // each worker has a directory of its own
	})
}

// TestMutated is the part of the fuzzing that every run has: mutated control blocks.
func TestMutated(t *testing.T) {
	dir := shmemtest.Dir(t)
	raw := image(t, dir)
	defer os.Remove(filepath.Join(dir, "x"))
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 3000 {
		b := append([]byte(nil), raw...)
		for range 1 + n%4 {
			from := len(b) - 4096 - 256 // slots and header
			b[from+r.IntN(len(b)-from)] = byte(r.Uint32())
		}
		if n%10 == 0 {
			b = b[:r.IntN(len(b))]
		}
		hostile(t, dir, b)
	}
}
