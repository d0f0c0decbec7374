//go:build linux

package inspect_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// TestPythonTakesTheName: Python's resource tracker unlinks at exit what its process only attached
// to. The segment loses its name and nothing else: processes that are attached go on, see that the
// name is gone, and can be found.
func TestPythonTakesTheName(t *testing.T) {
	python := tool(t, "/usr/bin/python3", "python3")
	name := "shmem-tracker-" + strconv.Itoa(os.Getpid())
	b, err := shmem.Create[huge](name, nil)
	if err != nil {
		t.Skip(err)
	}
	defer b.Close()
	_ = b.Update(context.Background(), func(v *huge) error { v.W[0] = 7; return nil })
	a, err := shmem.Attach[huge](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	script := fmt.Sprintf(`
from multiprocessing import shared_memory
s = shared_memory.SharedMemory(name=%q)
assert s.buf[0] == 7
s.close()
`, name)
	out, err := exec.Command(python, "-W", "ignore", "-c", script).CombinedOutput()
	// The tracker is a process of its own, and becomes a child of this one.
	for range 500 {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil {
			break
		} else if pid == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err != nil {
		t.Skipf("python3 has no shared_memory: %v %s", err, out)
	}
	if _, err := shmem.Stat("", name); err == nil {
		t.Skip("this python3 leaves the name alone")
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if b.Segment().Linked() || a.Segment().Linked() {
		t.Error("Linked does not see that the name is gone")
	}
	if err := b.Update(context.Background(),
		func(v *huge) error { v.W[1] = 8; return nil }); err != nil {
		t.Error(err)
	}
	if v, err := a.Load(context.Background()); err != nil || v.W[0] != 7 || v.W[1] != 8 {
		t.Errorf("the others see %d, %d, %v", v.W[0], v.W[1], err)
	}
	lost, err := inspect.Unlinked("")
	found := false
	for _, i := range lost {
		found = found || i.Name == name && i.State == shmem.Live && len(i.Peers) == 2
	}
	if err != nil || !found {
		t.Errorf("unlinked: %+v, %v", lost, err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("the owner's Close: %v", err)
	}
}

// xwd is the head of an XWD file, big-endian whatever the machine is.
type xwd struct {
	HeaderSize, FileVersion, Format, Depth, Width, Height, XOffset, ByteOrder [4]byte
	BitmapUnit, BitOrder, Pad, BitsPerPixel, BytesPerLine, VisualClass        [4]byte
	Red, Green, Blue, BitsPerRGB, ColormapEntries, NColors                    [4]byte
	WindowWidth, WindowHeight, WindowX, WindowY, BorderWidth                  [4]byte
}

func be(b [4]byte) int { return int(binary.BigEndian.Uint32(b[:])) }

// TestXvfb: a program that does not know this library, in both directions. Xvfb keeps its screen in
// a file (-fbdir), which is attached to as a foreign segment. What an X client draws is seen in the
// memory, and what is written to the memory the client reads.
func TestXvfb(t *testing.T) {
	bin := tool(t, "Xvfb")
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-displayfd", "3", "-screen", "0", "64x48x24", "-fbdir", dir, "-ac",
		"-nolisten", "tcp", "-noreset")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	_ = w.Close()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = r.Close() }()
	_ = r.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Skipf("Xvfb does not come up: %v", err)
	}
	display := line[:len(line)-1]

	file := filepath.Join(dir, "Xvfb_screen0")
	s, err := shmem.AttachSegment(file, &shmem.Options{Foreign: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := shmem.BoxOf[xwd](s)
	if err != nil {
		t.Fatal(err)
	}
	h := *b.Value()
	if be(h.FileVersion) != 7 || be(h.Width) != 64 || be(h.Height) != 48 ||
		be(h.BitsPerPixel) != 32 {
		t.Fatalf("the screen's head: version %d, %d x %d, %d bits", be(h.FileVersion), be(h.Width),
			be(h.Height), be(h.BitsPerPixel))
	}
	pixels := int64(be(h.HeaderSize) + 12*be(h.NColors))
	at := func(x, y int) int64 { return pixels + int64(y*be(h.BytesPerLine)+4*x) }

	x, err := dialX(display)
	if err != nil {
		t.Fatal(err)
	}
	defer x.c.Close()
	if err := x.fill(0x123456); err != nil {
		t.Fatal(err)
	}
	var p [4]byte
	if _, err := s.ReadAt(p[:], at(10, 20)); err != nil ||
		binary.NativeEndian.Uint32(p[:])&0xffffff != 0x123456 {
		t.Errorf("what X drew is %x here, %v", p, err)
	}
	binary.NativeEndian.PutUint32(p[:], 0xabcdef)
	if _, err := s.WriteAt(p[:], at(11, 21)); err != nil {
		t.Fatal(err)
	}
	if got, err := x.pixel(11, 21); err != nil || got != 0xabcdef {
		t.Errorf("what we drew is %x in X, %v", got, err)
	}
	if got, err := x.pixel(10, 21); err != nil || got != 0x123456 {
		t.Errorf("beside it is %x in X, %v", got, err)
	}
	// An Observer shows a file of another program.
	i, err := inspect.Open("", file)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if i.Info().State != shmem.Foreign {
		t.Errorf("state %v", i.Info().State)
	}
}

// An xClient speaks as much of the X protocol as the test needs.
type xClient struct {
	c    net.Conn
	root uint32
}

func dialX(display string) (*xClient, error) {
	c, err := net.Dial("unix", "/tmp/.X11-unix/X"+display)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	hello := make([]byte, 12)
	hello[0] = 'l'
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		hello[0] = 'B'
	}
	binary.NativeEndian.PutUint16(hello[2:], 11)
	if _, err := c.Write(hello); err != nil {
		return nil, err
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	rest := make([]byte, 4*int(binary.NativeEndian.Uint16(head[6:])))
	if _, err := io.ReadFull(c, rest); err != nil {
		return nil, err
	}
	if head[0] != 1 {
		return nil, fmt.Errorf("refused: %q", rest)
	}
	vendor := int(binary.NativeEndian.Uint16(rest[16:]))
	screen := 32 + (vendor+3)&^3 + 8*int(rest[21])
	return &xClient{c, binary.NativeEndian.Uint32(rest[screen:])}, nil
}

func (x *xClient) request(op, arg byte, words ...uint32) error {
	b := make([]byte, 4+4*len(words))
	b[0], b[1] = op, arg
	binary.NativeEndian.PutUint16(b[2:], uint16(len(b)/4))
	for i, w := range words {
		binary.NativeEndian.PutUint32(b[4+4*i:], w)
	}
	_, err := x.c.Write(b)
	return err
}

func (x *xClient) reply() ([]byte, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(x.c, b); err != nil {
		return nil, err
	}
	if b[0] != 1 {
		return nil, fmt.Errorf("X error %d", b[1])
	}
	more := make([]byte, 4*int(binary.NativeEndian.Uint32(b[4:])))
	_, err := io.ReadFull(x.c, more)
	return append(b, more...), err
}

// fill paints the whole screen in one colour, and waits until that is done.
func (x *xClient) fill(pixel uint32) error {
	err := x.request(2, 0, x.root, 1<<1, pixel) // ChangeWindowAttributes: background
	if err == nil {
		err = x.request(61, 0, x.root, 0, 0) // ClearArea
	}
	if err == nil {
		err = x.request(43, 0) // GetInputFocus, for its reply
	}
	if err == nil {
		_, err = x.reply()
	}
	return err
}

func (x *xClient) pixel(px, py uint32) (uint32, error) {
	if err := x.request(73, 2, x.root, px|py<<16, 1|1<<16, ^uint32(0)); err != nil { // GetImage
		return 0, err
	}
	b, err := x.reply()
	if err != nil || len(b) < 36 {
		return 0, fmt.Errorf("%d bytes: %w", len(b), err)
	}
	return binary.NativeEndian.Uint32(b[32:]) & 0xffffff, nil
}
