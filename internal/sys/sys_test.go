//go:build linux || darwin || windows

package sys_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
)

func TestMain(m *testing.M) {
	shmemtest.Main(m, shmemtest.Role{Name: "idle", Run: func(c *shmemtest.Conn) error {
		_, err := c.Recv()
		return err
	}})
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// anonymous returns a file of n bytes.
func anonymous(t *testing.T, n int64) sys.FD {
	t.Helper()
	fd, err := sys.CreateAnonymous("sys-test")
	if err == nil {
		err = fd.Allocate(0, n)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fd.Close() })
	return fd
}

// named returns a file of n bytes that has a name until the test ends.
func named(t *testing.T, n int64) sys.FD {
	t.Helper()
	path := filepath.Join(shmemtest.Dir(t), "f")
	fd, err := sys.CreateExclusive(path, 0o600)
	if err == nil {
		err = fd.Allocate(0, n)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fd.Close(); sys.Unlink(path) })
	return fd
}

func reopen(t *testing.T, fd sys.FD) sys.FD {
	t.Helper()
	other, err := fd.Reopen(true)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// TestLockBytes: locks belong to the open file, also within one process, and end with it.
func TestLockBytes(t *testing.T) {
	a := named(t, 1)
	b := reopen(t, a)
	held := func(fd sys.FD, want bool) {
		t.Helper()
		if got, err := fd.Held(sys.GateByte, 2000); got != want || err != nil {
			t.Errorf("Held: %v, %v, want %v", got, err, want)
		}
	}
	held(a, false)
	wantErr(t, "Lock", a.Lock(sys.SlotByte, false), nil)
	wantErr(t, "Lock of the same open file", a.Lock(sys.SlotByte, false), nil)
	wantErr(t, "Lock of another open file", b.Lock(sys.SlotByte, false), sys.ErrHeld)
	wantErr(t, "shared Lock of another open file", b.Lock(sys.SlotByte, true), sys.ErrHeld)
	wantErr(t, "Lock of another byte", b.Lock(sys.SlotByte+1, false), nil)
	held(a, true)
	held(b, true)
	wantErr(t, "Unlock", b.Unlock(sys.SlotByte, 2), nil) // frees only what b has
	held(a, false)
	held(b, true)
	wantErr(t, "Close", b.Close(), nil)
	b = reopen(t, a)
	held(b, true)

	wantErr(t, "shared Lock", a.Lock(sys.PresenceByte, true), nil)
	wantErr(t, "second shared Lock", b.Lock(sys.PresenceByte, true), nil)
	wantErr(t, "Lock of what is shared", b.Lock(sys.PresenceByte, false), sys.ErrHeld)
	wantErr(t, "Unlock", a.Unlock(sys.GateByte, 2000), nil)
	wantErr(t, "Lock of what only this file shares", b.Lock(sys.PresenceByte, false), nil)
	held(b, false)
	held(a, true)
	wantErr(t, "Close", b.Close(), nil)
	held(a, false)
}

func TestNames(t *testing.T) {
	dir := shmemtest.Dir(t)
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	fd, err := sys.CreateNameless(dir, 0o640)
	if err != nil {
		if !sys.NoNameless(err) {
			t.Fatal(err)
		}
		t.Logf("no nameless files: %v", err)
		if fd, err = sys.CreateExclusive(x, 0o640); err != nil {
			t.Fatal(err)
		}
	} else {
		wantErr(t, "Link", fd.Link(x), nil)
		wantErr(t, "Link to what exists", fd.Link(x), fs.ErrExist)
	}
	defer fd.Close()
	wantErr(t, "Chmod", fd.Chmod(0o666), nil)
	st, err := fd.Stat()
	if err != nil || st.UID != uint32(os.Geteuid()) {
		t.Errorf("Stat: %+v, %v", st, err)
	}
	if runtime.GOOS != "windows" && (st.Mode != 0o666 || st.Nlink != 1) {
		t.Errorf("mode and links: %+v", st)
	}
	if there, err := sys.Lstat(x); err != nil || !there.Same(st) {
		t.Errorf("Lstat: %+v, %v", there, err)
	}
	_, err = sys.CreateExclusive(x, 0o600)
	wantErr(t, "CreateExclusive of what exists", err, fs.ErrExist)
	second, err := sys.CreateExclusive(y, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	wantErr(t, "RenameExclusive to what exists", sys.RenameExclusive(y, x), fs.ErrExist)
	wantErr(t, "Unlink", sys.Unlink(x), nil)
	wantErr(t, "Unlink of nothing", sys.Unlink(x), fs.ErrNotExist)
	wantErr(t, "RenameExclusive", sys.RenameExclusive(y, x), nil)
	_, err = sys.Lstat(y)
	wantErr(t, "Lstat of nothing", err, fs.ErrNotExist)
	wantErr(t, "Unlink", sys.Unlink(x), nil)
}

func TestSymbolicLink(t *testing.T) {
	dir := shmemtest.Dir(t)
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	wantErr(t, "WriteFile", os.WriteFile(x, nil, 0o600), nil)
	wantErr(t, "Symlink", os.Symlink("x", y), nil)
	_, err := sys.Open(y, true)
	wantErr(t, "Open of a symbolic link", err, sys.ErrLoop)
	if st, err := sys.Lstat(y); err != nil || st.Mode&fs.ModeSymlink == 0 {
		t.Errorf("Lstat of a symbolic link: %+v, %v", st, err)
	}
	if linked, err := sys.OpenAny(y, false); err != nil {
		t.Errorf("OpenAny of a symbolic link: %v", err)
	} else {
		linked.Close()
	}
	wantErr(t, "Unlink", errors.Join(sys.Unlink(x), sys.Unlink(y)), nil)
}

func TestReadWrite(t *testing.T) {
	fd := named(t, 10)
	wantErr(t, "WriteAt", fd.WriteAt([]byte("hello"), 5), nil)
	b := make([]byte, 8)
	if n, err := fd.ReadAt(b, 4); n != 6 || err != nil || !bytes.Equal(b[:n], []byte("\x00hello")) {
		t.Errorf("ReadAt beyond the end: %d, %v, %q", n, err, b)
	}
	if n, err := fd.ReadAt(b, 100); n != 0 || err != nil {
		t.Errorf("ReadAt behind the end: %d, %v", n, err)
	}
	only, err := fd.Reopen(false)
	if err != nil {
		t.Fatal(err)
	}
	defer only.Close()
	if err := only.WriteAt(b, 0); err == nil {
		t.Error("WriteAt to a file that is open for reading succeeds")
	}
}

func TestAllocate(t *testing.T) {
	const size = sys.Piece + 4096 // two calls
	fd := anonymous(t, size)
	st, err := fd.Stat()
	if err != nil || st.Size != size || st.Blocks*512 < size {
		t.Errorf("after Allocate: %+v, %v", st, err)
	}
	wantErr(t, "Truncate", fd.Truncate(0), nil)
	if st, err = fd.Stat(); err != nil || st.Size != 0 || st.Blocks != 0 {
		t.Errorf("after Truncate: %+v, %v", st, err)
	}
}

// faults reports whether f faults.
func faults(f func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	f()
	return false
}

func TestMap(t *testing.T) {
	page := uintptr(os.Getpagesize())
	if runtime.GOOS == "windows" {
		page = 64 << 10 // views begin at its multiples
	}
	fd := anonymous(t, int64(2*page))
	wantErr(t, "WriteAt", fd.WriteAt([]byte{7}, int64(page)), nil)
	space, err := sys.Reserve(nil, 4*page, false)
	if err != nil {
		t.Fatal(err)
	}
	if !faults(func() { *(*byte)(space) = 1 }) {
		t.Error("reserved address space does not fault")
	}
	at := unsafe.Add(space, page)
	p, err := sys.Map(at, page, fd, int64(page), true)
	if err != nil || p != at {
		t.Fatalf("mapped at %v, want %v: %v", p, at, err)
	}
	if _, err := sys.Reserve(at, page, true); err == nil {
		t.Error("what is mapped is reserved once more")
	}
	sys.Populate(p, page, true)
	sys.HugePages(p, page)
	b := (*byte)(p)
	if *b != 7 {
		t.Errorf("the mapping holds %d", *b)
	}
	*b = 8
	var got [1]byte
	if _, err := fd.ReadAt(got[:], int64(page)); err != nil || got[0] != 8 {
		t.Errorf("the file holds %d, %v", got[0], err)
	}
	wantErr(t, "ProtectRead", sys.ProtectRead(p, page), nil)
	if *b != 8 || !faults(func() { *b = 9 }) {
		t.Error("a read-only mapping can be written")
	}
	wantErr(t, "Retire", sys.Retire(p, page, false), nil)
	if !faults(func() { got[0] = *b }) {
		t.Error("a retired mapping does not fault")
	}
}

// TestProcessEnds: the end of a process is seen, and closing the file ends
// the wait.
func TestProcessEnds(t *testing.T) {
	self, err := sys.OpenProcess(os.Getpid())
	if err != nil {
		t.Logf("no process descriptors: %v", err) // an emulator, or a kernel before 5.3
		return
	}
	self.Close()
	child := func() (*shmemtest.Child, *sys.Process) {
		c := shmemtest.Start(t, "idle")
		f, err := sys.OpenProcess(c.Pid())
		if err != nil {
			t.Fatal(err)
		}
		return c, f
	}
	c, f := child()
	ended := make(chan error, 1)
	go func() { ended <- f.Wait() }()
	select {
	case err := <-ended:
		t.Errorf("Wait returns before the end: %v", err)
	default:
	}
	wantErr(t, "Close", c.Close(), nil)
	wantErr(t, "Wait", <-ended, nil)
	f.Close()

	c, f = child()
	go func() { ended <- f.Wait() }()
	f.Close()
	if err := <-ended; err == nil {
		t.Error("Wait of a closed one returns no error")
	}
	wantErr(t, "Close", c.Close(), nil)
}

func TestMachine(t *testing.T) {
	dir := shmemtest.Dir(t)
	m, err := sys.MountOf(dir)
	if err != nil || m.Size <= 0 || m.Avail < 0 || m.Avail > m.Size {
		t.Errorf("MountOf: %+v, %v", m, err)
	}
	if r, ok := sys.Room(); !ok || r.Limit < 16<<20 || r.Free <= 0 || r.Free > r.Limit {
		t.Errorf("the room for memory: %+v, %v", r, ok)
	}
	own := anonymous(t, 1)
	if !own.Owned() {
		t.Error("an own file is not owned")
	}
	wantErr(t, "MayUnlink of an own file", sys.MayUnlink(dir, own), nil)
	wantErr(t, "MayUnlink in no directory", sys.MayUnlink(filepath.Join(dir, "none"), own), fs.ErrNotExist)
	if sys.Supported && sys.PIDNamespace() == 0 {
		t.Error("the PID namespace is unknown")
	}
	if sys.RegisterBarrier() == nil {
		wantErr(t, "Barrier", sys.Barrier(), nil)
	}
}
