package lifecycle_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/shmemtest"
)

func foreignFile(t testing.TB, size int) (dir, path string) {
	t.Helper()
	dir = shmemtest.Dir(t)
	path = filepath.Join(dir, "foreign")
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i)
	}
	check(t, os.WriteFile(path, b, 0o600))
	t.Cleanup(func() { _ = os.Remove(path) })
	return dir, path
}

func TestForeign(t *testing.T) {
	dir, path := foreignFile(t, 100)
	_, err := shmem.Open[point]("foreign", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrForeign, "Options.Foreign")
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	for _, name := range []string{"foreign", path, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())} {
		b, err := shmem.Attach[[4]byte](name, &shmem.Options{Dir: dir, Foreign: true, Offset: 8})
		b = opened(t, b, err)
		if *b.Value() != [4]byte{8, 9, 10, 11} || !b.Segment().Foreign() || b.Owned() || !b.Segment().Linked() || b.Segment().Size() != 4 {
			t.Errorf("%s: %v, foreign %v, owned %v, linked %v", name, *b.Value(), b.Segment().Foreign(), b.Owned(), b.Segment().Linked())
		}
		b.Value()[0] = 99
		if got, _ := os.ReadFile(path); len(got) != 100 || got[8] != 99 || got[7] != 7 || got[12] != 12 {
			t.Errorf("%s: the file holds %v", name, got)
		}
		b.Value()[0] = 8
		wantErr(t, b.Own(), shmem.ErrForeign)
		check(t, b.Close())
		if b.Segment().Linked() || b.Value() != nil {
			t.Error("linked after Close")
		}
	}
	reclaim(t, dir)
	wantNames(t, dir, "foreign") // Close does not unlink it
}

// The offset need not be a multiple of the page size.
func TestForeignOffsets(t *testing.T) {
	_, path := foreignFile(t, 20000)
	for _, off := range []int64{0, 1, 4095, 4096, 9001, 19999} {
		s, err := shmem.AttachSegment(path, &shmem.Options{Foreign: true, Offset: off})
		s = segment(t, s, err)
		var b [1]byte
		if _, err := s.ReadAt(b[:], 0); err != nil || b[0] != byte(off) || s.Size() != 20000-int(off) {
			t.Errorf("offset %d: byte %d, size %d (%v)", off, b[0], s.Size(), err)
		}
	}
}

func TestForeignMisfit(t *testing.T) {
	dir, path := foreignFile(t, 100)
	for _, off := range []int64{96, 100, 1 << 40} {
		_, err := shmem.Attach[uint64](path, &shmem.Options{Foreign: true, Offset: off})
		wantErr(t, err, shmem.ErrMismatch, "100 bytes", "8 at offset")
	}
	_, err := shmem.Attach[uint64](path, &shmem.Options{Foreign: true, Offset: 4})
	wantErr(t, err, shmem.ErrMismatch, "alignment")
	wantMapped(t, dir, false)
	_, err = shmem.OpenSegment(path, 101, &shmem.Options{Foreign: true})
	wantErr(t, err, shmem.ErrMismatch, "101")
	s, err := shmem.OpenSegment(path, 0, &shmem.Options{Foreign: true})
	s = segment(t, s, err)
	_, err = shmem.BoxOf[[101]byte](s)
	wantErr(t, err, shmem.ErrMismatch, "101", "100")
	b, err := shmem.BoxOf[[100]byte](s)
	check(t, err)
	if b.Value()[99] != 99 {
		t.Errorf("the box sees %v", *b.Value())
	}
	check(t, os.WriteFile(path, nil, 0o600))
	_, err = shmem.AttachSegment(path, &shmem.Options{Foreign: true})
	wantErr(t, err, shmem.ErrMismatch, "0 bytes")
}

func TestForeignReadOnly(t *testing.T) {
	_, path := foreignFile(t, 100)
	b, err := shmem.Attach[point](path, &shmem.Options{Foreign: true, ReadOnly: true})
	b = opened(t, b, err)
	if !fault(func() { b.Value().X = 1 }) {
		t.Error("a write to a read-only foreign box does not fault")
	}
}

func TestForeignIsNotOurs(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[point](t, dir, "p")
	_, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir, Foreign: true})
	if err == nil || !strings.Contains(err.Error(), "without Options.Foreign") {
		t.Errorf("error %v", err)
	}
	if _, err = shmem.Create[point]("q", &shmem.Options{Dir: dir, Foreign: true}); err == nil {
		t.Error("a foreign segment was created")
	}
	_, err = shmem.Attach[point]("q", &shmem.Options{Dir: dir, Foreign: true})
	wantErr(t, err, fs.ErrNotExist, filepath.Join(dir, "q"))
}

func TestRemoveForeign(t *testing.T) {
	dir, _ := foreignFile(t, 10)
	check(t, shmem.Remove(dir, "foreign"))
	wantNames(t, dir)
}

func TestReadAtWriteAt(t *testing.T) {
	dir := shmemtest.Dir(t)
	s, err := shmem.CreateSegment("s", 5000, &shmem.Options{Dir: dir})
	s = segment(t, s, err)
	want := bytes.Repeat([]byte("0123456789"), 500)
	n, err := s.WriteAt(want, 0)
	if n != 5000 || err != nil {
		t.Fatalf("wrote %d bytes, %v", n, err)
	}
	if err := iotest.TestReader(io.NewSectionReader(s, 0, int64(s.Size())), want); err != nil {
		t.Error(err)
	}
	b := make([]byte, 10)
	for _, c := range []struct {
		off  int64
		n    int
		read error
	}{{4990, 10, nil}, {4995, 5, io.EOF}, {5000, 0, io.EOF}, {1 << 40, 0, io.EOF}} {
		if n, err := s.ReadAt(b, c.off); n != c.n || err != c.read {
			t.Errorf("ReadAt %d: %d, %v", c.off, n, err)
		}
		if n, err := s.WriteAt(b, c.off); n != c.n || (err == nil) != (c.read == nil) || err != nil && !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("WriteAt %d: %d, %v", c.off, n, err)
		}
	}
	if n, err := s.ReadAt(b, -1); n != 0 || err == nil {
		t.Errorf("ReadAt -1: %d, %v", n, err)
	}
	if n, err := s.WriteAt(b, -1); n != 0 || err == nil {
		t.Errorf("WriteAt -1: %d, %v", n, err)
	}
	if n, err := s.ReadAt(nil, 5000); n != 0 || err != nil {
		t.Errorf("ReadAt nothing at the end: %d, %v", n, err)
	}
	if info, err := shmem.Stat(dir, "s"); err != nil || info.State != shmem.Live {
		t.Errorf("a write beyond the end has reached the control block: %v (%v)", info.State, err)
	}
}

func TestPopulate(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, populate := range []int{0, -1} {
		s, err := shmem.CreateSegment("s", 4<<20, &shmem.Options{Dir: dir, Populate: populate, Undo: shmem.UndoNever})
		s = segment(t, s, err)
		if populate == 0 == (residentIn(t, dir) < 4<<20) {
			t.Errorf("Populate %d: %d bytes are present", populate, residentIn(t, dir))
		}
		check(t, s.Populate())
		if residentIn(t, dir) < 4<<20 {
			t.Errorf("after Populate: %d bytes are present", residentIn(t, dir))
		}
		check(t, s.Close())
	}
}

// residentIn returns how many bytes of the files in dir this process has present.
func residentIn(t testing.TB, dir string) (n int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	check(t, err)
	in := false
	for line := range strings.Lines(string(smaps)) {
		if strings.Contains(line, "-") && strings.Contains(line, ":") && !strings.HasSuffix(line, "kB\n") && len(strings.Fields(line)) > 4 {
			in = strings.Contains(line, dir)
		}
		var kb int
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kb); err == nil && in {
			n += kb << 10
		}
	}
	return n
}

func init() { roles = append(roles, shmemtest.Role{Name: "heir", Run: heirRole}) }

// heirRole attaches to the segment that it has inherited as descriptor 3, and adds one.
func heirRole(c *shmemtest.Conn) error {
	if len(c.Args()) > 0 { // the parent of an heir: it creates the segment
		s, err := shmem.CreateAnonymous(16, nil)
		if err != nil {
			return err
		}
		defer s.Close()
		b, err := shmem.BoxOf[point](s)
		if err != nil {
			return err
		}
		b.Value().X = 41
		f, err := s.File()
		if err != nil {
			return err
		}
		cmd := exec.Command("/proc/self/exe", "shmemtest:heir")
		cmd.ExtraFiles = []*os.File{f}
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
		f.Close()
		c.Send("X %d", b.Value().X)
		return nil
	}
	s, err := shmem.FromFile(os.NewFile(3, "three"), nil)
	if err != nil {
		return err
	}
	b, err := shmem.BoxOf[point](s)
	if err != nil {
		return err
	}
	b.Value().X++
	if b.Owned() || s.Linked() || s.Name() != "" {
		return errors.New("the heir owns it, or it has a name")
	}
	return b.Close()
}

func TestAnonymousIsInherited(t *testing.T) {
	c := shmemtest.Start(t, "heir", "parent")
	c.Expect(t, "X 42")
	check(t, c.Wait())
}

func TestAnonymous(t *testing.T) {
	s, err := shmem.CreateAnonymous(100, nil)
	s = segment(t, s, err)
	f, err := s.File()
	check(t, err)
	defer f.Close()
	if s.Name() != "" || s.Size() != 100 || s.Linked() || !s.Owned() {
		t.Errorf("%q, %d bytes, linked %v, owned %v", s.Name(), s.Size(), s.Linked(), s.Owned())
	}
	if f.Truncate(0) == nil || f.Truncate(1<<20) == nil {
		t.Error("its size is not sealed")
	}
	peer, err := shmem.FromFile(f, nil)
	peer = segment(t, peer, err)
	_, err = peer.WriteAt([]byte("hi"), 0)
	check(t, err)
	b := make([]byte, 2)
	if _, err := s.ReadAt(b, 0); err != nil || string(b) != "hi" {
		t.Errorf("the creator reads %q (%v)", b, err)
	}
	ro, err := shmem.FromFile(f, &shmem.Options{ReadOnly: true})
	ro = segment(t, ro, err)
	if _, err := ro.WriteAt(b, 0); !errors.Is(err, shmem.ErrReadOnly) {
		t.Errorf("writing read-only: %v", err)
	}
	check(t, errors.Join(ro.Close(), s.Close()))
	_, err = shmem.FromFile(f, nil) // the owner has dropped the value
	wantErr(t, err, fs.ErrNotExist, "owner")
	check(t, peer.Close())
}

func TestFromFileOfNamed(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	f, err := b.Segment().File()
	check(t, err)
	defer f.Close()
	check(t, shmem.Remove(dir, "p"))
	_, err = shmem.FromFile(f, nil)
	wantErr(t, err, shmem.ErrUnsealed)
	o := &shmem.Options{AnyUser: true}
	s, err := shmem.FromFile(f, o) // it works without a name
	s = segment(t, s, err)
	box, err := shmem.BoxOf[point](s)
	check(t, err)
	box.Value().Y = 6
	if b.Value().Y != 6 {
		t.Error("it is another segment")
	}
	// The descriptor of File carries no lock: it does not keep the segment alive.
	check(t, box.Close())
	abandon(b.Segment())
	_, err = shmem.FromFile(f, o)
	wantErr(t, err, fs.ErrNotExist, "died")
}

func TestFromFileErrors(t *testing.T) {
	_, path := foreignFile(t, 10)
	f, err := os.Open(path)
	check(t, err)
	_, err = shmem.FromFile(f, nil)
	wantErr(t, err, shmem.ErrForeign)
	check(t, f.Close())
	if _, err = shmem.FromFile(f, nil); err == nil {
		t.Error("attached to a closed file")
	}
}

// TestFromFileOfANamedSegment checks that an attachment by descriptor does the last one's cleanup.
func TestFromFileOfANamedSegment(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[uint64](t, dir, "box")
	f, err := b.Segment().File()
	check(t, err)
	defer f.Close()
	s, err := shmem.FromFile(f, nil)
	segment(t, s, err)
	if s.Name() != "box" || !s.Linked() {
		t.Errorf("name %q, linked %v", s.Name(), s.Linked())
	}
	abandon(b.Segment())
	wantNames(t, dir, "box")
	check(t, s.Close())
	wantNames(t, dir)
}

// TestFromFileOfARemovedSegment attaches by descriptor to a segment that has lost its name, before
// or during the attach.
func TestFromFileOfARemovedSegment(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[uint64](t, dir, "box")
	f, err := b.Segment().File()
	check(t, err)
	defer f.Close()
	step.Hook(func(p step.Point) {
		if p == step.AttachRead {
			_ = os.Remove(filepath.Join(dir, "box"))
		}
	})
	s, err := shmem.FromFile(f, &shmem.Options{AnyUser: true})
	step.Hook(nil)
	segment(t, s, err)
	if s.Linked() {
		t.Error("the removed name leads to it")
	}
}
