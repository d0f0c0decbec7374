//go:build linux

package inspect_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "polyowner", Run: polyOwner, Optional: true}, // without compilers it does not run
		shmemtest.Role{Name: "lastwords", Run: lastWords},
		shmemtest.Role{Name: "topicholder", Run: topicHolder, Optional: true},
		shmemtest.Role{Name: "speaker", Run: speaker})
}

// Poly is the value that all languages share. Everything in it follows from N, so that a torn copy
// can be seen, except atomics and locks, which a store leaves out.
type Poly struct {
	N    uint64
	A    [7]uint32
	Name shmem.Text[[12]byte]
	Hits atomic.Uint64
	In   Inner
	Mu   psync.Mutex
	Tail [200]uint64
	End  uint64
}

// Inner has padding.
type Inner struct {
	X int16
	Y float64
	Z [3]uint8
}

func (p *Poly) Init() error {
	p.fill(0)
	return nil
}

func (p *Poly) fill(n uint64) {
	p.N, p.End = n, n
	for i := range p.A {
		p.A[i] = uint32(n)
	}
	for i := range p.Tail {
		p.Tail[i] = n
	}
	_ = p.Name.Set(fmt.Sprint(n % 100000000))
	p.In.X, p.In.Y = int16(n&0x7fff), float64(n)
}

func (p *Poly) good() bool {
	var w Poly
	w.fill(p.N)
	return p.A == w.A && p.Tail == w.Tail && p.End == w.End && p.Name == w.Name && p.In == w.In
}

// A language runs a program of testdata with the code that was generated for it.
type language struct {
	name string
	run  func(mode, path string, seconds float64) *peer
}

// A peer is a process that gets ready, runs when it is told to, and has a result. Instead of
// getting ready it may have an error as its result.
type peer struct {
	up     chan struct{}
	begin  func()
	result chan string
	kill   func() // nil in this process
}

func newPeer(begin func()) *peer {
	return &peer{make(chan struct{}), begin, make(chan string, 1),
		nil}
}

// at runs a peer as soon as it is ready.
func (p *peer) at() string {
	<-p.up
	p.begin()
	return <-p.result
}

// tool finds a program, or skips the test.
func tool(t *testing.T, names ...string) string {
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	t.Skipf("%s is not installed (Debian: apt install gcc python3 python3-numpy rustc)", names[0])
	return ""
}

func program(t *testing.T, name string, args ...string) *peer {
	cmd := exec.Command(name, args...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	p := newPeer(func() { fmt.Fprintln(in); in.Close() })
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.kill = func() { _ = cmd.Process.Kill() }
	go func() {
		lines := bufio.NewScanner(out)
		if lines.Scan() && lines.Text() == "up" {
			close(p.up)
			lines.Scan()
		} else {
			close(p.up)
		}
		text := lines.Text()
		_ = cmd.Wait()
		p.result <- text
	}()
	return p
}

// broken are changes of the generated code that make readers trust the first copy: text, and what
// replaces it.
var broken = map[inspect.Language][2]string{
	inspect.C:      {"if (__atomic_load_n(seq, __ATOMIC_RELAXED) == s) return 0;", "return 0;"},
	inspect.Python: {" and self._seq() == s:", ":"},
	inspect.Rust:   {"if self.seq().load(Relaxed) == s {", "if s != 1 {"},
}

// languages builds the programs, with readers that work or with broken ones.
func languages(t *testing.T, typ *inspect.Type, works bool) []language {
	// Debian's own programs before newer ones in PATH: the generated code must work with these.
	gcc, rustc, python := tool(t, "gcc", "cc"), tool(t, "/usr/bin/rustc", "rustc"),
		tool(t, "/usr/bin/python3", "python3")
	for _, p := range []string{gcc, rustc, python} {
		out, _ := exec.Command(p, "--version").CombinedOutput()
		version, _, _ := bytes.Cut(out, []byte{'\n'})
		t.Logf("%s: %s", p, version)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	copied := func(name string) string {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return write(name, b)
	}
	generate := func(lang inspect.Language, file string) {
		b, err := typ.Generate(lang, "")
		if err != nil {
			t.Fatal(err)
		}
		if edit := broken[lang]; !works {
			if n := bytes.Count(b, []byte(edit[0])); n != 1 {
				t.Fatalf("%s has %q %d times", file, edit[0], n)
			}
			b = bytes.Replace(b, []byte(edit[0]), []byte(edit[1]), 1)
		}
		write(file, b)
	}
	generate(inspect.C, "poly.h")
	generate(inspect.Python, "poly.py")
	generate(inspect.Rust, "poly.rs")
	c, r := filepath.Join(dir, "poly-c"), filepath.Join(dir, "poly-rust")
	var wg sync.WaitGroup
	optimize := "2"
	if !works { // a reader that tears is one at any speed, and the compilers are quicker
		optimize = "0"
	}
	for _, args := range [][]string{
		{gcc, "-std=gnu11", "-O" + optimize, "-Wall", "-Wextra", "-Werror", "-o", c,
			copied("poly.c")},
		{rustc, "--edition=2021", "-C", "opt-level=" + optimize, "-o", r, copied("main.rs")},
	} {
		wg.Go(func() {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", args, err, out)
			} else if len(out) > 0 {
				t.Logf("%s: %s", args[0], out)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	script := copied("poly_main.py")
	py := func(mode, path string, seconds float64) *peer {
		return program(t, python, "-B", script, mode, path, fmt.Sprint(seconds), dir)
	}
	all := []language{
		{"c", func(mode, path string, seconds float64) *peer {
			return program(t, c, mode, path, fmt.Sprint(seconds))
		}},
		{"rust", func(mode, path string, seconds float64) *peer {
			return program(t, r, mode, path, fmt.Sprint(seconds))
		}},
		{"python", py},
		{"go", func(mode, path string, seconds float64) *peer {
			begin := make(chan struct{})
			p := newPeer(func() { close(begin) })
			go func() {
				p.result <- goPeer(mode, path, seconds,
					sync.OnceFunc(func() { close(p.up) }), begin)
			}()
			return p
		}},
	}
	if exec.Command(python, "-c", "import numpy").Run() == nil {
		all = append(all, language{"numpy", func(mode, path string, seconds float64) *peer {
			if mode == "write" {
				return nil // writing is the same as in plain Python
			}
			return py("numpy", path, seconds)
		}})
	} else {
		t.Log("numpy is not installed: its reader is left out")
	}
	return all
}

// goPeer is a peer in this process, with an attachment of its own.
func goPeer(mode, path string, seconds float64, up func(), begin chan struct{}) string {
	defer up()
	b, err := shmem.Attach[Poly](filepath.Base(path),
		&shmem.Options{Dir: filepath.Dir(path), ReadOnly: mode == "read"})
	if err != nil {
		return "error " + err.Error()
	}
	defer b.Close()
	up()
	<-begin
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	n, torn, busy, distinct, last := 0, 0, 0, 0, ^uint64(0)
	v := new(Poly)
	if err := b.LoadTo(context.Background(), v); err != nil && !errors.Is(err, shmem.ErrBusy) {
		return "error " + err.Error()
	}
	first := v.N
	for time.Now().Before(end) {
		if mode == "write" {
			v.fill(first + uint64(n) + 1)
			if err := b.StoreFrom(context.Background(), v); err != nil {
				return "error " + err.Error()
			}
		} else if err := b.LoadTo(context.Background(), v); errors.Is(err, shmem.ErrBusy) {
			busy++
			continue
		} else if err != nil {
			return "error " + err.Error()
		} else {
			if !v.good() {
				torn++
			}
			if v.N != last {
				distinct++
			}
			last = v.N
		}
		n++
	}
	return fmt.Sprintf("done %d torn %d busy %d distinct %d", n, torn, busy, distinct)
}

// TestPolyglot: with one writer at full speed, in each language in turn, readers in all languages
// see no torn value. Each language refuses a type with a field that moved. SHMEM_POLYGLOT is how
// many seconds each pair runs.
func TestPolyglot(t *testing.T) {
	if testing.Short() {
		t.Skip("compilers take their time")
	}
	typ, err := inspect.TypeFor[Poly]()
	if err != nil {
		t.Fatal(err)
	}
	all := languages(t, typ, true)
	t.Run("whole", func(t *testing.T) { wholeInAll(t, all) })
	t.Run("events", func(t *testing.T) { eventsOfAll(t, all) })
	t.Run("killed", func(t *testing.T) { killedInAll(t, all) })
	t.Run("drift", func(t *testing.T) { refusedByAll(t, all, typ) })
	t.Run("broken", func(t *testing.T) { tornInAll(t, languages(t, typ, false)) })
}

func wholeInAll(t *testing.T, all []language) {
	dir := sharedDir(t)
	path := filepath.Join(dir, "poly")
	b, err := shmem.Create[Poly]("poly", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Value().Mu.Lock(context.Background()); err != nil { // no store may touch it
		t.Fatal(err)
	}
	seconds, long := 0.1, false
	if s, err := strconv.ParseFloat(os.Getenv("SHMEM_POLYGLOT"), 64); err == nil {
		seconds, long = s, true
	}
	// Processes that wait for a CPU do not meet: with few CPUs one pair runs at a time.
	groups := [][]language{all}
	if long && runtime.NumCPU() < len(all)+1 {
		groups = nil
		for _, r := range all {
			groups = append(groups, []language{r})
		}
	}
	for _, w := range all {
		if w.name == "numpy" {
			continue
		}
		for _, readers := range groups {
			var wg sync.WaitGroup
			var peers []*peer
			check := func(who, mode string, l language) {
				p := l.run(mode, path, seconds)
				peers = append(peers, p)
				wg.Go(func() {
					r := <-p.result
					t.Logf("%s writes, %s: %s", w.name, who, r)
					var n, torn, busy, distinct int
					if _, err := fmt.Sscanf(r, "done %d torn %d busy %d distinct %d", &n, &torn,
						&busy, &distinct); err != nil || n == 0 || torn != 0 {
						t.Errorf("%s writes, %s: %s", w.name, who, r)
					}
				})
			}
			check("writer", "write", w)
			for _, r := range readers {
				check(r.name, "read", r)
			}
			for _, p := range peers {
				<-p.up
			}
			for _, p := range peers {
				p.begin()
			}
			wg.Wait()
		}
		if err := b.Value().Mu.Unlock(); err != nil {
			t.Fatalf("after the writer in %s the mutex is not held: %v", w.name, err)
		}
		if err := b.Value().Mu.Lock(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if b.Value().Hits.Load() == 0 {
		t.Error("the atomic counter was stored over")
	}
	if info, err := shmem.Stat(dir, "poly"); err != nil || info.State != shmem.Live ||
		len(info.Peers) != 1 {
		t.Errorf("afterwards: %+v, %v", info, err)
	}
}

// eventsOfAll: each language counts that it has come, and that it has left.
func eventsOfAll(t *testing.T, all []language) {
	dir := sharedDir(t)
	b, err := shmem.Create[Poly]("poly", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	next, stop := iter.Pull2(b.Segment().Events(ctx))
	defer stop()
	want := func(l string, kind shmem.EventKind) {
		t.Helper()
		if e, err, _ := next(); e.Kind != kind || err != nil {
			t.Fatalf("%s: %+v, %v, want %v", l, e, err, kind)
		}
	}
	want("here", shmem.Attached)
	for _, l := range all {
		if l.name == "numpy" {
			continue // it reads only
		}
		before := eventCount(t, b.Segment())
		p := l.run("write", filepath.Join(dir, "poly"), 0.01)
		<-p.up
		want(l.name, shmem.Attached)
		p.begin()
		want(l.name, shmem.Left)
		<-p.result
		for end := time.Now().Add(20 * time.Second); eventCount(t, b.Segment()) != before+2; {
			if time.Now().After(end) {
				t.Fatalf("%s has counted %d events", l.name, eventCount(t, b.Segment())-before)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// eventCount returns the count of events in the header of a segment.
func eventCount(t *testing.T, s *shmem.Segment) uint64 {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var w [8]byte
	if _, err := f.ReadAt(w[:], st.Size()-format.HeaderSize+format.OffEvents); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(w[:])
}

// tornInAll: readers that do not check the counter after copying see torn values, in each language.
// So the test would notice.
func tornInAll(t *testing.T, all []language) {
	dir := sharedDir(t)
	b, err := shmem.Create[Poly]("poly", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		v := new(Poly)
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			v.fill(n)
			if err := b.StoreFrom(context.Background(), v); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for _, l := range all {
		if l.name == "go" {
			continue // it has no generated code
		}
		torn := 0
		for end := time.Now().Add(30 * time.Second); torn == 0 && time.Now().Before(end); {
			r := l.run("read", filepath.Join(dir, "poly"), 0.1).at()
			var n, busy, distinct int
			if _, err := fmt.Sscanf(r, "done %d torn %d busy %d distinct %d", &n, &torn, &busy,
				&distinct); err != nil {
				t.Fatalf("%s: %s", l.name, r)
			}
			t.Logf("%s, broken: %s", l.name, r)
		}
		if torn == 0 {
			t.Errorf("the broken reader in %s sees nothing torn", l.name)
		}
	}
	close(stop)
	<-stopped
}

// killedInAll: a writer that is killed anywhere leaves a whole value, and a lock that the next
// writer takes over, whatever the languages of the two. The last process to leave an orphan unlinks
// it.
func killedInAll(t *testing.T, all []language) {
	dir := sharedDir(t)
	path := filepath.Join(dir, "poly")
	o := &shmem.Options{Dir: dir}
	b, err := shmem.Create[Poly]("poly", o)
	if err != nil {
		t.Fatal(err)
	}
	odd, held := 0, 0
	for round := range 2 {
		for _, w := range all {
			if w.name == "go" || w.name == "numpy" {
				continue
			}
			p := w.run("write", path, 60)
			<-p.up
			p.begin()
			time.Sleep(time.Duration(20+7*round) * time.Millisecond)
			p.kill()
			<-p.result
			s := look(t, dir, "poly")
			if st, err := s.Status(); err != nil {
				t.Fatal(err)
			} else {
				if st.Changing {
					odd++
				}
				if st.Lock.State != "free" {
					held++
				}
				if len(st.Peers) != 1 {
					t.Errorf("%s was killed and is still attached: %+v", w.name, st.Peers)
				}
			}
			var v Poly
			if err := b.LoadTo(context.Background(), &v); err != nil || !v.good() {
				t.Errorf("%s was killed: the value is torn (%v)", w.name, err)
			}
			next := all[(round+1)%3]
			if r := next.run("write", path, 0.02).at(); !strings.HasPrefix(r, "done ") {
				t.Errorf("%s was killed, then %s: %s", w.name, next.name, r)
			}
			if err := b.LoadTo(context.Background(), &v); err != nil || !v.good() {
				t.Errorf("%s was killed, and %s wrote: the value is torn (%v)", w.name, next.name,
					err)
			}
		}
	}
	t.Logf("of 6 kills %d left the value half changed, %d the lock held", odd, held)
	_ = b.Close()
	for _, w := range all {
		if w.name == "go" || w.name == "numpy" {
			continue
		}
		c := shmemtest.Start(t, "polyowner", dir)
		c.Expect(t, "up")
		p := w.run("write", path, 0.05)
		<-p.up
		c.Kill()
		p.begin()
		if r := <-p.result; !strings.HasPrefix(r, "done ") {
			t.Errorf("%s, after the owner's death: %s", w.name, r)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was the last to leave an orphan, and did not unlink it (%v)", w.name, err)
			_ = shmem.Remove(o.Dir, "poly")
		}
	}
}

// polyOwner creates the box, and keeps it until it is killed.
func polyOwner(c *shmemtest.Conn) error {
	b, err := shmem.Create[Poly]("poly", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	defer b.Close()
	c.Send("up")
	_, err = c.Recv()
	return err
}

// listener follows a topic, and is ready when it has seen message 7.
const listener = `import sys
sys.path.insert(0, sys.argv[1])
import heard
seen, torn, last, order = 0, 0, -1, 0
copied = sys.argv[3] == "copied"
with heard.TopicBox.open(sys.argv[2]) as box:
    for n, m in box.follow(0, copy=copied):
        if not copied:
            m = heard._ITEM.from_buffer_copy(m)
            if not box.kept(n):
                box.lost += 1
                continue
        torn, order = torn + (m.N != n or m.Tail[:] != [n] * 200), order + (n <= last)
        seen, last = seen + 1, n
        if n == 7:
            print("up", flush=True)
print(seen, box.lost, torn, order)
`

// TestPythonFollows: a Python follower gets whole messages in order, and all except those that it
// counts as lost. It skips the message of a dead publisher. One that does not check after copying
// sees torn messages.
func TestPythonFollows(t *testing.T) {
	if testing.Short() {
		t.Skip("Python takes its time")
	}
	python := tool(t, "/usr/bin/python3", "python3")
	listen := func(how string) (torn int) {
		dir, code := sharedDir(t), t.TempDir()
		tp, err := topic.Create[message]("heard", &topic.Options{Dir: dir, Capacity: 16})
		if err != nil {
			t.Fatal(err)
		}
		b, err := look(t, dir, "heard").Type().Generate(inspect.Python, "Topic")
		if err != nil {
			t.Fatal(err)
		}
		if how == "broken" {
			const check = "return self._topic_slot(number)[:2] == (1, 0)"
			if !bytes.Contains(b, []byte(check)) {
				t.Fatalf("generated: no %q", check)
			}
			b = bytes.Replace(b, []byte(check), []byte("return True"), 1)
		}
		script := filepath.Join(code, "listen.py")
		if err := errors.Join(os.WriteFile(filepath.Join(code, "heard.py"), b, 0o600),
			os.WriteFile(script, []byte(listener), 0o600)); err != nil {
			t.Fatal(err)
		}
		published := 0
		speak := func(stop func() bool) {
			for ; !stop(); published++ {
				err := tp.PublishFunc(t.Context(), func(m *message) error {
					m.N = uint64(published)
					for i := range m.Tail {
						m.Tail[i] = m.N
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		speak(func() bool { return published == 5 })
		c := shmemtest.Start(t, "lastwords", dir)
		_ = c.Wait()
		published++ // no waiter repairs it
		speak(func() bool { return published == 8 })
		p := program(t, python, "-B", script, code, filepath.Join(dir, "heard"),
			strings.ReplaceAll(how, "broken", "in place"))
		<-p.up
		end := time.Now().Add(time.Second / 4)
		speak(func() bool { return published&255 == 0 && time.Now().After(end) })
		if err := tp.End(); err != nil {
			t.Fatal(err)
		}
		var seen, lost, order int
		r := <-p.result
		if _, err := fmt.Sscan(r, &seen, &lost, &torn, &order); err != nil {
			t.Fatalf("%s: %q", how, r)
		}
		t.Logf("%s: of %d published %d seen, %d lost, %d torn", how, published, seen, lost, torn)
		if seen < 8 || seen+lost != published-1 || order != 0 || torn != 0 && how != "broken" {
			t.Errorf("%s: of %d published %d seen, %d lost, %d torn, %d out of order", how,
				published, seen, lost, torn, order)
		}
		_ = tp.Close()
		return torn
	}
	listen("copied")
	listen("in place")
	if robust.RaceEnabled {
		return // there publishers are too slow to overtake a reader in the middle of a message
	}
	// A reader that does not check after copying sees a torn message, sooner or later.
	for try := 0; listen("broken") == 0; try++ {
		if try == 100 {
			t.Fatal("a broken reader is not seen to tear")
		}
	}
}

// A longMessage is a later version of message.
type longMessage struct {
	N     uint64
	Tail  [200]uint64
	Extra uint64
}

// TestPythonFollowsLonger: a follower with the code for the first version of the messages goes on
// when a program has appended fields, and so does one that is started then. One with the code for
// other messages is refused.
func TestPythonFollowsLonger(t *testing.T) {
	if testing.Short() {
		t.Skip("Python takes its time")
	}
	python := tool(t, "/usr/bin/python3", "python3")
	dir, code := sharedDir(t), t.TempDir()
	tp, err := topic.Create[message]("heard", &topic.Options{Dir: dir, Capacity: 64, Reserve: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	b, err := look(t, dir, "heard").Type().Generate(inspect.Python, "Topic")
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(code, "listen.py")
	if err := errors.Join(os.WriteFile(filepath.Join(code, "heard.py"), b, 0o600),
		os.WriteFile(script, []byte(listener), 0o600)); err != nil {
		t.Fatal(err)
	}
	speak := func(n uint64) {
		err := tp.PublishFunc(t.Context(), func(m *message) error {
			m.N = n
			for i := range m.Tail {
				m.Tail[i] = n
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(8) {
		speak(n)
	}
	listen := func() *peer {
		p := program(t, python, "-B", script, code, filepath.Join(dir, "heard"), "copied")
		<-p.up
		return p
	}
	running := listen()
	long, err := topic.Attach[longMessage]("heard", &topic.Options{Dir: dir, Append: true})
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	if err := long.PublishFunc(t.Context(), func(m *longMessage) error {
		m.N, m.Extra = 8, 99
		for i := range m.Tail {
			m.Tail[i] = 8
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	started := listen()
	speak(9)
	if err := tp.End(); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*peer{"running": running, "started": started} {
		if r := <-p.result; r != "10 0 0 0" {
			t.Errorf("%s: seen, lost, torn, out of order: %s, want 10 0 0 0", name, r)
		}
	}
	other, err := topic.Create[[201]int64]("other", &topic.Options{Dir: dir, Capacity: 64, Reserve: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	cmd := exec.Command(python, "-B", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import heard\n"+
		"heard.TopicBox.open(sys.argv[2])", code, filepath.Join(dir, "other"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another type") {
		t.Errorf("a topic of other messages: %v %s", err, out)
	}
}

// TestPythonFollowerAlone: a follower that waits sees when no process is attached any more.
func TestPythonFollowerAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("Python takes its time")
	}
	python := tool(t, "/usr/bin/python3", "python3")
	dir, code := sharedDir(t), t.TempDir()
	c := shmemtest.Start(t, "topicholder", dir)
	c.Expect(t, "up")
	b, err := look(t, dir, "held").Type().Generate(inspect.Python, "Topic")
	if err == nil {
		err = os.WriteFile(filepath.Join(code, "heard.py"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := program(t, python, "-B", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import heard\n"+
		"box = heard.TopicBox.open(sys.argv[2])\n"+
		"assert not box._abandoned()\n"+
		"print('up', flush=True); sys.stdin.readline()\n"+
		"try:\n    next(box.follow())\n"+
		"except FileNotFoundError:\n    print('alone')\n", code, filepath.Join(dir, "held"))
	<-p.up
	c.Kill()
	p.begin()
	if r := <-p.result; r != "alone" {
		t.Errorf("the follower of a topic that no process is attached to: %q", r)
	}
}

// topicHolder creates a topic, and keeps it until it is killed.
func topicHolder(c *shmemtest.Conn) error {
	tp, err := topic.Create[message]("held", &topic.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	defer tp.Close()
	_ = c.Send("up")
	_, err = c.Recv()
	return err
}

// lastWords dies while it writes a message.
func lastWords(c *shmemtest.Conn) error {
	tp, err := topic.Attach[message]("heard", &topic.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	return tp.PublishFunc(context.Background(), func(*message) error { os.Exit(0); return nil })
}

func refusedByAll(t *testing.T, all []language, typ *inspect.Type) {
	type Poly struct { // N is signed
		N    int64
		A    [7]uint32
		Name shmem.Text[[12]byte]
		Hits atomic.Uint64
		In   Inner
		Mu   psync.Mutex
		Tail [200]uint64
		End  uint64
	}
	drifted, err := inspect.TypeFor[Poly]()
	if err != nil {
		t.Fatal(err)
	}
	dir := sharedDir(t)
	b, err := shmem.Create[Poly]("poly", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, l := range all {
		for _, mode := range []string{"read", "write"} {
			if l.name == "numpy" && mode == "write" {
				continue
			}
			r := l.run(mode, filepath.Join(dir, "poly"), 0.1).at()
			want := []string{fmt.Sprintf("%016x in the segment", drifted.Fingerprint()),
				fmt.Sprintf("%016x in this code", typ.Fingerprint())}
			if l.name == "go" {
				want = []string{"field N: here uint64 at 0, in the segment int64 at 0"}
			}
			for _, w := range want {
				if !strings.HasPrefix(r, "error ") || !strings.Contains(r, w) {
					t.Errorf("%s, %s: %s; want an error with %q", l.name, mode, r, w)
				}
			}
		}
	}
	if info, err := shmem.Stat(dir, "poly"); err != nil || len(info.Peers) != 1 {
		t.Errorf("who was refused is attached: %+v, %v", info, err)
	}
}
