//go:build linux

package inspect_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "tally", Run: tallyRole, Optional: true},
		shmemtest.Role{Name: "longtally", Run: longTallyRole, Optional: true})
}

// tally is a value that processes in all languages count in. N, M and In.Sum are equal.
type tally struct {
	N    uint64
	Hits atomic.Uint64
	In   inner
	M    uint64
}

type inner struct {
	Sum uint64
	Pad [40]uint32
}

// longTally is a later version of tally.
type longTally struct {
	N     uint64
	Hits  atomic.Uint64
	In    inner
	M     uint64
	Extra uint64
	Flags atomic.Uint32
	Last  uint16
	More  [3]struct {
		A atomic.Uint32
		B uint32
	}
	End uint64
}

// add is the change that each language makes.
func (v *tally) add() error { v.N, v.M, v.In.Sum = v.N+1, v.M+1, v.In.Sum+1; return nil }

// A runner starts the program of testdata in one language. The modes are those of testdata/tally.py.
type runner struct {
	name string
	run  func(t *testing.T, mode, path string, n int) worker
}

// A worker is a process that sends "up", waits for a line, may send "held", and sends its result.
type worker interface {
	Send(form string, args ...any) error
	Recv() (string, error)
	Kill()
}

// A script is a worker that is a program of testdata.
type script struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startScript(t *testing.T, args ...string) worker {
	t.Helper()
	s := &script{cmd: exec.Command(args[0], args[1:]...)}
	out, err1 := s.cmd.StdoutPipe()
	in, err2 := s.cmd.StdinPipe()
	s.cmd.Stderr = os.Stderr
	if err := errors.Join(err1, err2, s.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	t.Cleanup(s.end)
	return s
}

func (s *script) Send(form string, args ...any) error {
	_, err := fmt.Fprintf(s.in, form+"\n", args...)
	return err
}

func (s *script) Recv() (string, error) {
	line, err := s.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (s *script) end() {
	_ = s.in.Close()
	s.Kill()
	_ = s.cmd.Wait()
}

// reap ends a script and waits for what it has left behind, which are children of this process then.
// No other child runs.
func reap(w worker) {
	w.(*script).end()
	for range 3000 {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil {
			return
		} else if pid == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (s *script) Kill() { _ = s.cmd.Process.Kill() }

// expect fails unless the worker sends a line.
func expect(t *testing.T, name string, w worker, want string) {
	t.Helper()
	if got, err := w.Recv(); got != want {
		t.Fatalf("%s: %q, want %q (%v)", name, got, want, err)
	}
}

// start starts a worker, and returns when it is up.
func (r runner) start(t *testing.T, mode, path string, n int) worker {
	t.Helper()
	w := r.run(t, mode, path, n)
	expect(t, r.name, w, "up")
	return w
}

// begin lets a worker begin.
func begin(t *testing.T, w worker) {
	t.Helper()
	if err := w.Send("begin"); err != nil {
		t.Fatal(err)
	}
}

// buildRunners generates and compiles the programs.
func buildRunners(dir string) ([]runner, error) {
	one, err1 := inspect.TypeFor[tally]()
	other, err2 := inspect.TypeFor[Poly]()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	for lang, ext := range map[inspect.Language]string{inspect.C: ".h", inspect.Python: ".py", inspect.Rust: ".rs"} {
		for _, typ := range []struct {
			*inspect.Type
			file, ident string
		}{{one, "tally", "Tally"}, {other, "poly", ""}} {
			code, err := typ.Generate(lang, typ.ident)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, typ.file+ext), code, 0o600)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for as, file := range map[string]string{"tally.c": "tally.c", "second.c": "second.c", "tally.cc": "tally.c",
		"second.cc": "second.c", "main.rs": "tally.rs", "main.py": "tally.py"} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, as), b, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	// Debian's own programs before newer ones in PATH: the generated code must work with these.
	rustc, python := "/usr/bin/rustc", "/usr/bin/python3"
	for _, p := range []*string{&rustc, &python} {
		if _, err := os.Stat(*p); err != nil {
			*p = filepath.Base(*p)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i, args := range [][]string{
		strings.Fields("gcc -std=gnu11 -O1 -Wall -Wextra -pedantic -Werror -o c tally.c second.c"),
		strings.Fields("g++ -std=c++17 -O1 -Wall -Wextra -pedantic -Werror -o c++ tally.cc second.cc"),
		{rustc, "--edition=2021", "-C", "opt-level=1", "-D", "warnings", "-o", "rust", "main.rs"},
	} {
		wg.Go(func() {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("%v: %w\n%.1500s", args, err, out)
			}
		})
	}
	wg.Wait()
	program := func(name string, args ...string) runner {
		return runner{name, func(t *testing.T, mode, path string, n int) worker {
			return startScript(t, append(args[:len(args):len(args)], mode, path, fmt.Sprint(n))...)
		}}
	}
	return []runner{
		program("c", filepath.Join(dir, "c")), program("rust", filepath.Join(dir, "rust")),
		program("c++", filepath.Join(dir, "c++")),
		program("python", python, "-B", filepath.Join(dir, "main.py")),
		{"go", goRunner},
	}, errors.Join(errs...)
}

// TestGenerated runs programs in all languages with generated code. They are built once: compilers
// take their time.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("compilers take their time")
	}
	for _, name := range []string{"gcc", "g++", "python3", "rustc"} {
		tool(t, name)
	}
	all, err := buildRunners(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("update", func(t *testing.T) { updateInAll(t, all) })
	t.Run("appended", func(t *testing.T) { appendedInAll(t, all) })
	for _, r := range all {
		t.Run("restore/"+r.name, func(t *testing.T) { restoreAppended(t, r) })
		if r.name != "go" {
			t.Run("fork/"+r.name, func(t *testing.T) { forkedIn(t, r) })
		}
		if r.name == "python" {
			t.Run("processes", func(t *testing.T) { pythonProcesses(t, r) })
			t.Run("outlived", func(t *testing.T) { pythonOutlived(t, r) })
		}
	}
}

// goRunner is a runner for this library.
func goRunner(t *testing.T, mode, path string, n int) worker {
	return shmemtest.Start(t, "tally", mode, path, fmt.Sprint(n))
}

// tallyRole is a Go process that counts, holds the lock or reads.
func tallyRole(c *shmemtest.Conn) error {
	mode, path := c.Args()[0], c.Args()[1]
	var n int
	if _, err := fmt.Sscan(c.Args()[2], &n); err != nil {
		return err
	}
	b, err := shmem.Attach[tally](filepath.Base(path),
		&shmem.Options{Dir: filepath.Dir(path), Append: true, ReadOnly: mode == "read"})
	if err != nil {
		return err
	}
	defer b.Close()
	_ = c.Send("up")
	if _, err := c.Recv(); err != nil {
		return err
	}
	ctx := context.Background()
	switch mode {
	case "hold":
		return b.Update(ctx, func(v *tally) error {
			v.N = 12345
			_ = c.Send("held")
			_, err := c.Recv()
			return err
		})
	case "read":
		var v tally
		if err := b.LoadTo(ctx, &v); err != nil {
			return err
		}
		n = int(v.N)
	default:
		for range n {
			if err := b.Update(ctx, (*tally).add); err != nil {
				return err
			}
		}
	}
	return c.Send("done %d", n)
}

func tallyBox(t *testing.T) (b *shmem.Box[tally], path string) {
	t.Helper()
	dir := sharedDir(t)
	b, err := shmem.Create[tally]("tally", &shmem.Options{Dir: dir, Reserve: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, filepath.Join(dir, "tally")
}

// counted fails unless the value has been counted to n.
func counted(t *testing.T, b *shmem.Box[tally], n int) {
	t.Helper()
	var v tally
	if err := b.LoadTo(t.Context(), &v); err != nil || v.N != uint64(n) || v.M != v.N || v.In.Sum != v.N {
		t.Errorf("counted to %d, %d, %d (%v), want %d", v.N, v.M, v.In.Sum, err, n)
	}
}

// done fails unless the worker ends with n.
func done(t *testing.T, name string, w worker, n int) {
	t.Helper()
	expect(t, name, w, fmt.Sprint("done ", n))
}

// updateInAll: processes in all languages add to one value under the lock, and nothing
// is lost. A process that is killed while it holds the lock leaves the value as it was, and the next
// one goes on, whatever its language.
func updateInAll(t *testing.T, all []runner) {
	b, path := tallyBox(t)
	count := map[string]int{"python": 8000} // of 80,000
	var peers []worker
	for _, l := range all {
		if count[l.name] == 0 {
			count[l.name] = 18000
		}
		peers = append(peers, l.start(t, "count", path, count[l.name]))
	}
	for _, p := range peers {
		begin(t, p)
	}
	want := 0
	for i, p := range peers {
		done(t, all[i].name, p, count[all[i].name])
		want += count[all[i].name]
	}
	counted(t, b, want)
	for i, l := range all {
		next := all[(i+1)%len(all)]
		p := l.start(t, "hold", path, 0)
		begin(t, p)
		expect(t, l.name, p, "held")
		other := next.start(t, "count", path, 1) // it waits for the lock when the holder is killed
		begin(t, other)
		time.Sleep(20 * time.Millisecond)
		p.Kill()
		done(t, next.name+" after "+l.name, other, 1)
		want++
		counted(t, b, want)
	}
	if info, err := shmem.Stat(filepath.Dir(path), "tally"); err != nil || len(info.Peers) != 1 {
		t.Errorf("afterwards: %+v, %v", info, err)
	}
}

// appendedInAll: when a process appends fields to the type, others that run go on, and
// so do new ones, both reading and writing. What they write keeps the appended fields, in the undo
// image as well.
func appendedInAll(t *testing.T, all []runner) {
	b, path := tallyBox(t)
	run := func(mode string) (peers []worker) {
		for _, l := range all {
			peers = append(peers, l.start(t, mode, path, 6))
		}
		return peers
	}
	readers, writers := run("read"), run("count")
	long, err := shmem.Attach[longTally]("tally", &shmem.Options{Dir: filepath.Dir(path), Append: true})
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	newReaders, newWriters := run("read"), run("count")
	want := 0
	for n, peers := range [][]worker{writers, newWriters} {
		for i, p := range peers {
			// written without the lock, so the image does not have it yet
			v := long.Value()
			v.Extra, v.Last, v.More[1].B, v.End = uint64(i)+1, uint16(i)+2, uint32(i)+3, uint64(i)+4
			v.Flags.Store(7)
			begin(t, p)
			done(t, all[i].name, p, 6)
			want += 6
			counted(t, b, want)
			image := imageOf(t, path)
			last := v.Extra == uint64(i)+1 && v.Last == uint16(i)+2 && v.More[1].B == uint32(i)+3 &&
				v.End == uint64(i)+4 && v.Flags.Load() == 7
			u64 := func(off int) uint64 { return binary.NativeEndian.Uint64(image[off:]) }
			if !last || u64(192) != v.Extra || u64(232) != v.End || uint32(u64(216)>>32) != v.More[1].B {
				t.Errorf("%d, %s: the appended fields are %+v, in the image %d, %d", n, all[i].name, v, u64(192), u64(232))
			}
		}
	}
	for _, peers := range [][]worker{readers, newReaders} {
		for i, p := range peers {
			begin(t, p)
			done(t, all[i].name+" reads", p, want)
		}
	}
}

// imageOf returns the undo image of a segment.
func imageOf(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := format.DecodeHeader(b[len(b)-format.HeaderSize:], int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return b[h.ImageOff:][:h.PayloadCap]
}

// restoreAppended: a process in another language undoes the change of a dead one whose type has
// more fields.
func restoreAppended(t *testing.T, l runner) {
	b, path := tallyBox(t)
	long, err := shmem.Attach[longTally]("tally", &shmem.Options{Dir: filepath.Dir(path), Append: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := long.Update(t.Context(), func(v *longTally) error { v.Extra, v.End = 5, 6; return nil }); err != nil {
		t.Fatal(err)
	}
	c := shmemtest.Start(t, "longtally", path)
	c.Expect(t, "held")
	c.Kill()
	if v := long.Value(); v.Extra != 55 || v.End != 66 {
		t.Fatalf("nothing is half changed: %+v", v)
	}
	p := l.start(t, "count", path, 1)
	begin(t, p)
	done(t, l.name, p, 1)
	if v := long.Value(); v.Extra != 5 || v.End != 6 || v.N != 1 {
		t.Errorf("%s did not undo the change: %+v", l.name, v)
	}
	counted(t, b, 1)
	_ = long.Close()
}

// longTallyRole holds the lock with everything changed.
func longTallyRole(c *shmemtest.Conn) error {
	path := c.Args()[0]
	b, err := shmem.Attach[longTally](filepath.Base(path), &shmem.Options{Dir: filepath.Dir(path), Append: true})
	if err != nil {
		return err
	}
	return b.Update(context.Background(), func(v *longTally) error {
		v.N, v.Extra, v.End = 9, 55, 66
		_ = c.Send("held")
		_, err := c.Recv()
		return err
	})
}

// forkedIn: after a fork the child's copy of a box does nothing, and to close it leaves the parent's
// attachment alone.
func forkedIn(t *testing.T, l runner) {
	b, path := tallyBox(t)
	p := l.start(t, "fork", path, 0)
	begin(t, p)
	done(t, l.name, p, 1)
	counted(t, b, 1)
	if info, err := shmem.Stat(filepath.Dir(path), "tally"); err != nil || len(info.Peers) != 1 {
		t.Errorf("%s: afterwards: %+v, %v", l.name, info, err)
	}
}

// pythonProcesses: a box can be passed to processes of multiprocessing, however they start.
func pythonProcesses(t *testing.T, l runner) {
	b, path := tallyBox(t)
	p := l.start(t, "processes", path, 0)
	defer reap(p)
	begin(t, p)
	done(t, l.name, p, 6)
	counted(t, b, 6)
}

// pythonOutlived: a forked child that lives on does not keep its parent's attachment, nor the
// lock that the parent held when it was killed.
func pythonOutlived(t *testing.T, l runner) {
	b, path := tallyBox(t)
	p := l.start(t, "outlived", path, 0)
	defer reap(p)
	begin(t, p)
	expect(t, l.name, p, "held")
	p.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := b.Update(ctx, (*tally).add); err != nil {
		t.Errorf("the lock of the dead parent: %v", err)
	}
	counted(t, b, 1)
	if info, err := shmem.Stat(filepath.Dir(path), "tally"); err != nil || len(info.Peers) != 1 {
		t.Errorf("the dead parent is attached: %+v, %v", info, err)
	}
}
