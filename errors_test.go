package shmem_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
)

// reference returns the bytes of a kept box without attachments.
func reference(t *testing.T, dir string) []byte {
	t.Helper()
	b := open[point](t, dir, "reference")
	*b.Value() = point{3, 4}
	check(t, b.Leak())
	data, err := os.ReadFile(filepath.Join(dir, "reference"))
	check(t, err)
	check(t, shmem.Remove(dir, "reference"))
	return data
}

// copyTo writes the bytes of a segment to a file, as if they had been written for it.
func copyTo(t testing.TB, path string, data []byte) {
	t.Helper()
	check(t, os.WriteFile(path, data, 0o600))
	st, err := sys.Lstat(path)
	check(t, err)
	format.Adopt(data[len(data)-format.HeaderSize:], st.Ino, st.Dev)
	check(t, os.WriteFile(path, data, 0o600))
}

// documented reports whether err is one that attaching to a damaged file may return.
func documented(err error) bool {
	for _, e := range []error{shmem.ErrCorrupt, shmem.ErrVersion, shmem.ErrForeign, shmem.ErrMismatch, shmem.ErrNoSlot, fs.ErrNotExist} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// TestCorrupt changes every byte of the header and of the first slots, one by one.
func TestCorrupt(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir, Append: true}
	data := reference(t, dir)
	header := len(data) - format.HeaderSize
	slots := header - 4*format.SlotSize
	path := filepath.Join(dir, "c")
	copyTo(t, path, data)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	errs := 0
	for off := header - 4*format.SlotSize; off < len(data); off++ {
		if off == header-format.SlotSize {
			off = header
		}
		at := off - header
		counts := at < format.OffSlotHigh+4 || at >= format.OffRecord && at < format.OffInline
		flips := []byte{0xff}
		if counts {
			flips = []byte{0x01, 0x80, 0xff}
		} else if raced && at%16 != 0 {
			continue
		}
		for _, flip := range flips {
			_, err := f.WriteAt([]byte{data[off] ^ flip}, int64(off))
			check(t, err)
			switch b, err := shmem.Attach[point]("c", o); {
			case err == nil:
				if *b.Value() != (point{3, 4}) && b.Segment().Size() != 16 {
					t.Errorf("byte %d: value %+v", off-header, *b.Value())
				}
				shmem.Abandon(b.Segment())
			case !documented(err):
				t.Errorf("byte %d of the header: %v", off-header, err)
			default:
				errs++
			}
			if !counts {
				// Stat reads no more of the file than Attach does.
			} else if _, err := shmem.Stat(o.Dir, "c"); err != nil {
				t.Errorf("byte %d: stat: %v", off-header, err)
			}
			for _, part := range [][2]int{{slots, slots + 4*format.SlotSize}, {header, len(data)}} { // an attach has written there
				_, err = f.WriteAt(data[part[0]:part[1]], int64(part[0]))
				check(t, err)
			}
		}
	}
	// All bytes count except spare ones: fields, their checksum, and the owner word.
	if errs < 3*(format.FixedSize-4) {
		t.Errorf("only %d errors", errs)
	}
	check(t, os.Remove(path))
}

// A live segment whose header is overwritten returns errors, and can be removed.
func TestCorruptedWhileAttached(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	b := open[point](t, dir, "p")
	path := filepath.Join(dir, "p")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	st, err := f.Stat()
	check(t, err)
	noise := make([]byte, format.HeaderSize)
	for i := range noise {
		noise[i] = 0xa5
	}
	_, err = f.WriteAt(noise, st.Size()-format.HeaderSize)
	check(t, err)
	b.Value().X = 1
	wantErr(t, b.Own(), shmem.ErrCorrupt)
	if b.Owned() {
		t.Error("owned, says noise")
	}
	_, err = shmem.Attach[point]("p", o)
	wantErr(t, err, shmem.ErrForeign, "Options.Foreign", "Remove")
	wantErr(t, b.Close(), shmem.ErrCorrupt)
	wantMapped(t, dir, false)
	reclaim(t, dir)
	wantNames(t, dir, "p")
	check(t, shmem.Remove(o.Dir, "p"))
}

func TestTruncated(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	data := reference(t, dir)
	path := filepath.Join(dir, "c")
	for size := 0; size < len(data); size += 1000 {
		check(t, os.WriteFile(path, data[:size], 0o600))
		_, err := shmem.Open[point]("c", o)
		if !errors.Is(err, shmem.ErrForeign) && !errors.Is(err, shmem.ErrCorrupt) || !strings.Contains(err.Error(), "Remove") {
			t.Errorf("%d bytes: %v", size, err)
		}
		_, err = shmem.Create[point]("c", o)
		wantErr(t, err, fs.ErrExist)
		check(t, shmem.Remove(o.Dir, "c"))
	}
	copyTo(t, path, append(make([]byte, 4096), data...)) // longer than its header says
	_, err := shmem.Open[point]("c", o)
	wantErr(t, err, shmem.ErrCorrupt, "Remove")
	check(t, shmem.Remove(o.Dir, "c"))
}

// TestOtherVersion: a segment of format version 1 is neither attached to nor garbage.
func TestOtherVersion(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	data := reference(t, dir)
	page := data[len(data)-format.HeaderSize:]
	binary.NativeEndian.PutUint32(page[format.OffVersion:], 1)
	check(t, os.WriteFile(filepath.Join(dir, "c"), data, 0o600))
	_, err := shmem.Open[point]("c", o)
	wantErr(t, err, shmem.ErrVersion, "format version 1", "stop its processes")
	_, err = shmem.Attach[point]("c", o)
	wantErr(t, err, shmem.ErrVersion)
	reclaim(t, dir)
	if info, err := shmem.Stat(dir, "c"); err != nil || info.State != shmem.OtherVersion {
		t.Errorf("state %v, %v", info.State, err)
	}
	check(t, shmem.Remove(dir, "c"))
}

// TestCopyIsLeft: a copy of a segment's file is not a segment, and Reclaim leaves it. A rename and
// a second link are the segment itself.
func TestCopyIsLeft(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	b := open[point](t, dir, "p")
	data, err := os.ReadFile(filepath.Join(dir, "p"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "copy"), data, 0o600))
	for _, f := range []func(string, *shmem.Options) (*shmem.Box[point], error){shmem.Open[point], shmem.Attach[point]} {
		_, err = f("copy", o)
		wantErr(t, err, shmem.ErrCopied, "Remove")
	}
	reclaim(t, dir)
	if info, err := shmem.Stat(dir, "copy"); err != nil || info.State != shmem.Copied {
		t.Errorf("state %v, %v", info.State, err)
	}
	check(t, os.Link(filepath.Join(dir, "p"), filepath.Join(dir, "second")))
	second, err := shmem.Attach[point]("second", o)
	check(t, err)
	check(t, second.Close())
	check(t, shmem.Remove(dir, "second"))
	check(t, shmem.Remove(dir, "copy"))
	check(t, b.Close())
}

func TestNewerVersion(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	data := reference(t, dir)
	binary.NativeEndian.PutUint32(data[len(data)-format.HeaderSize+format.OffVersion:], 99)
	check(t, os.WriteFile(filepath.Join(dir, "c"), data, 0o600))
	_, err := shmem.Open[point]("c", o)
	wantErr(t, err, shmem.ErrVersion, "99", "Remove")
	reclaim(t, dir)
	if info, err := shmem.Stat(o.Dir, "c"); err != nil || info.State != shmem.OtherVersion || !errors.Is(info.Err, shmem.ErrVersion) {
		t.Errorf("state %v, %v (%v)", info.State, info.Err, err)
	}
	check(t, shmem.Remove(o.Dir, "c"))
}

// A symbolic link of a name is not followed by Options.Foreign either.
func TestForeignNameIsNoLink(t *testing.T) {
	dir := shmemtest.Dir(t)
	target := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(target, make([]byte, 100), 0o600))
	check(t, os.Symlink(target, filepath.Join(dir, "x")))
	_, err := shmem.AttachSegment("x", &shmem.Options{Dir: dir, Foreign: true})
	wantErr(t, err, shmem.ErrNotRegular, "symbolic link")
	check(t, os.Remove(filepath.Join(dir, "x")))
}

func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(shmemtest.Dir(t), "missing")
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Open[point]("p", o)
	wantErr(t, err, fs.ErrNotExist, "directory "+dir, "tmpfs", "Options.Dir")
	_, err = shmem.Attach[point]("p", o)
	wantErr(t, err, fs.ErrNotExist, "directory "+dir)
	check(t, os.WriteFile(dir, nil, 0o600))
	_, err = shmem.Open[point]("p", o)
	wantErr(t, err, sys.ErrNotDir, "directory "+dir, "tmpfs")
	check(t, os.Remove(dir))
	for _, err := range shmem.List(o.Dir) {
		wantErr(t, err, fs.ErrNotExist, "list "+dir)
	}
	for _, err := range shmem.Reclaim(o.Dir) {
		wantErr(t, err, fs.ErrNotExist, "reclaim")
	}
}

func TestBadNames(t *testing.T) {
	dir := shmemtest.Dir(t)
	for name, word := range map[string]string{
		"": "empty", ".": "dot", "..": "dot", ".hidden": "dot", "a/b": "slash", "/a": "slash", "a b": "' '", "a\x00b": `\x00`,
		"ä": "'ä' at byte 0", strings.Repeat("x", 201): "200",
	} {
		o := &shmem.Options{Dir: dir}
		_, err := shmem.Open[point](name, o)
		wantErr(t, err, shmem.ErrBadName, word)
		wantErr(t, shmem.Remove(o.Dir, name), shmem.ErrBadName, word)
		_, err = shmem.Stat(o.Dir, name)
		wantErr(t, err, shmem.ErrBadName, word)
	}
	open[point](t, dir, strings.Repeat("x", 200))
	open[point](t, dir, "A-z_0.9")
}

// TestBadNameText: the text of an error has no character of a name that acts on a terminal or a log.
func TestBadNameText(t *testing.T) {
	for name, shown := range map[string]string{
		"a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, "\u202egnp": `"\u202egnp"`, "a\xff": `"a\xff"`,
		"a\x00": `"a\x00"`, "ä": "ä", `a\b "c"`: `a\b "c"`, "a b": "a b",
	} {
		_, err := shmem.Stat(shmemtest.Dir(t), name)
		wantErr(t, err, shmem.ErrBadName, "shmem: stat "+shown+": bad name: ")
	}
}

func TestBadNameRemedies(t *testing.T) {
	dir := shmemtest.Dir(t)
	for name, word := range map[string]string{"/v": `is "v" here`, "a/b": "slash at byte 1", "äb": "'ä' at byte 0", "a\xff": "UTF-8"} {
		_, err := shmem.Open[point](name, &shmem.Options{Dir: dir})
		wantErr(t, err, shmem.ErrBadName, word)
		_, err = shmem.Stat(dir, name)
		for _, err := range []error{err, shmem.Remove(dir, name)} {
			wantErr(t, err, shmem.ErrBadName, word)
			if strings.Contains(err.Error(), "Options") {
				t.Errorf("there are no options here: %v", err)
			}
		}
	}
}

// TestAttachToGarbage: where dead processes have left a file, the error says so. It does not say
// that there is no file.
func TestAttachToGarbage(t *testing.T) {
	o := &shmem.Options{Dir: shmemtest.Dir(t)}
	shmem.Abandon(open[point](t, o.Dir, "left").Segment())
	_, err := shmem.Attach[point]("left", o)
	wantErr(t, err, fs.ErrNotExist, "the file left is what dead processes left; Open creates it")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = shmem.AttachWait[point](ctx, "left", o)
	wantErr(t, err, context.DeadlineExceeded, filepath.Join(o.Dir, "left")+" is what dead processes left")
	check(t, shmem.Remove(o.Dir, "left"))
}

func TestBadOptions(t *testing.T) {
	dir := shmemtest.Dir(t)
	for word, o := range map[string]*shmem.Options{
		"Options.Timeout": {Timeout: -1}, "Options.Slots": {Slots: 1025}, "Options.Mode": {Mode: 0o444},
		"Options.Reserve": {Reserve: -1}, "Options.Offset": {Offset: 8}, "Options.Undo": {Undo: 9},
		"Options.Foreign": {Foreign: true},
	} {
		o.Dir = dir
		_, err := shmem.Create[point]("b", o)
		wantErr(t, err, shmem.ErrBadOption, "create b: bad option: ", word)
	}
}

// TestNamesTheDirectory: errors about what exists name the directory and what to do.
func TestNamesTheDirectory(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[point](t, dir, "b")
	_, err := shmem.Create[point]("b", &shmem.Options{Dir: dir})
	wantErr(t, err, fs.ErrExist, "in "+dir+"; ", "another name")
	_, err = shmem.Stat(dir, "none")
	wantErr(t, err, fs.ErrNotExist, "in "+dir+"; ", "List")
	wantErr(t, shmem.Remove(dir, "none"), fs.ErrNotExist, "in "+dir+"; ", "List")
}

func TestBadSizes(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	for _, size := range []int{-1, 0} {
		if _, err := shmem.CreateSegment("s", size, o); err == nil {
			t.Errorf("a segment of %d bytes", size)
		}
		if _, err := shmem.CreateAnonymous(size, o); err == nil {
			t.Errorf("an anonymous segment of %d bytes", size)
		}
	}
	wantNames(t, dir)
}

// Every method that can fail returns an *Error with operation and name, also after Close.
func TestErrorsAfterClose(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	s, ctx := b.Segment(), context.Background()
	check(t, b.Close())
	nothing := func(*point) error { return nil }
	for op, f := range map[string]func() error{
		"do":       func() error { return b.Do(nothing) },
		"view":     func() error { return b.View(ctx, nothing) },
		"update":   func() error { return b.Update(ctx, nothing) },
		"recover":  func() error { return b.Recover(ctx, nothing) },
		"load":     func() error { return b.LoadTo(ctx, new(point)) },
		"store":    func() error { return b.Store(ctx, point{}) },
		"wait":     func() error { return b.Wait(ctx, 0) },
		"own":      b.Own,
		"read":     func() error { _, err := s.ReadAt(make([]byte, 1), 0); return err },
		"write":    func() error { _, err := s.WriteAt(make([]byte, 1), 0); return err },
		"file":     func() error { _, err := s.File(); return err },
		"populate": s.Populate,
		"box of":   func() error { _, err := shmem.BoxOf[point](s); return err },
	} {
		err := f()
		e, ok := errors.AsType[*shmem.Error](err)
		if !ok || e.Op != op || e.Name != "p" || !errors.Is(err, shmem.ErrClosed) {
			t.Errorf("%s: %v (%T)", op, err, err)
		}
		if want := "shmem: " + op + " p: "; !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %q", op, err, want)
		}
	}
	for _, err := range b.Watch(ctx) {
		wantErr(t, err, shmem.ErrClosed, "load p")
	}
}

// The error of a function that the caller passes is returned as it is.
func TestErrorsOfFunctions(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	own, ctx := errors.New("own"), context.Background()
	fails := func(*point) error { return own }
	for op, err := range map[string]error{"do": b.Do(fails), "view": b.View(ctx, fails), "update": b.Update(ctx, fails)} {
		if err != own {
			t.Errorf("%s: %v, want the error of the function as it is", op, err)
		}
	}
}

// Errors of a context, and of values, name their operation too.
func TestErrorsWithOperation(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	done, cancel := context.WithCancel(context.Background())
	cancel()
	wantErr(t, b.Wait(done, 0), context.Canceled, "wait p")
	for _, err := range b.Watch(done) {
		wantErr(t, err, context.Canceled, "watch p")
	}
	var text shmem.Text[[4]byte]
	var vec shmem.Vec[int32, [2]int32]
	for op, err := range map[string]error{
		"text set":      text.Set("too long"),
		"vec append":    vec.Append(1, 2, 3),
		"vec unmarshal": vec.UnmarshalJSON([]byte("x")),
	} {
		if e, ok := errors.AsType[*shmem.Error](err); !ok || e.Op != op {
			t.Errorf("%s: %v (%T)", op, err, err)
		}
	}
}

// TestErrorsNameWhatIsClosed closes a box.
func TestErrorsNameWhatIsClosed(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	check(t, b.Close())
	wantErr(t, b.Do(func(*point) error { return nil }), shmem.ErrClosed, "shmem: do p: the box is closed")
	_, err := b.Load(t.Context())
	wantErr(t, err, shmem.ErrClosed, "shmem: load p: the box is closed")
	_, err = b.Segment().ReadAt(make([]byte, 1), 0)
	wantErr(t, err, shmem.ErrClosed, "p: the segment is closed")
}
