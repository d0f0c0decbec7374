package lifecycle_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// record has the layout of the struct in the C and Python programs below.
type record struct {
	N    uint32
	_    [4]byte // of a foreign segment all padding is declared
	Wide uint64
	Text shmem.Text[[16]byte]
}

// peer runs a program in another language. The program reads "7 70000000000 from go" at the path,
// writes "8 80000000000 from it" and prints what it has read.
func peer(t *testing.T, dir string, run func(path string) *exec.Cmd) {
	t.Helper()
	const want = "7 70000000000 from go"
	wants := func(b *shmem.Box[record]) {
		t.Helper()
		if v := b.Value(); v.N != 8 || v.Wide != 80000000000 || v.Text.String() != "from it" {
			t.Errorf("the box holds %+v", *v)
		}
	}
	ours := func(v *record) {
		v.N, v.Wide = 7, 70000000000
		check(t, v.Text.Set("from go"))
	}
	start := func(path string) {
		t.Helper()
		out, err := run(path).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Fatalf("the program prints %q (%v), want %q", out, err, want)
		}
	}
	// A segment: the payload is at byte 0.
	b := open[record](t, dir, "record")
	ours(b.Value())
	start(filepath.Join(dir, "record"))
	wants(b)
	if info, err := shmem.Stat(dir, "record"); err != nil || info.State != shmem.Live {
		t.Errorf("it is %v now (%v)", info.State, err)
	}
	check(t, b.Close())
	// A file that the program has created.
	start(filepath.Join(dir, "theirs"))
	f, err := shmem.Attach[record]("theirs", &shmem.Options{Dir: dir, Foreign: true})
	f = opened(t, f, err)
	wants(f)
	ours(f.Value())
	start(filepath.Join(dir, "theirs"))
	wants(f)
	check(t, f.Close())
	check(t, os.Remove(filepath.Join(dir, "theirs")))
}

func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is missing (install %s)", name, pkg)
	}
	return path
}

const python = `
import mmap, os, struct, sys
path, form = sys.argv[1], "=I4xQ16s"
if not os.path.exists(path):
    with open(path, "wb") as f:
        f.write(struct.pack(form, 7, 70000000000, b"from go"))
fd = os.open(path, os.O_RDWR)
m = mmap.mmap(fd, struct.calcsize(form))
n, wide, text = struct.unpack_from(form, m)
print(n, wide, text.rstrip(b"\0").decode())
struct.pack_into(form, m, 0, 8, 80000000000, b"from it")
m.close()
os.close(fd)
`

func TestPython(t *testing.T) {
	program := tool(t, "python3", "python3")
	peer(t, shmemtest.Dir(t), func(path string) *exec.Cmd { return exec.Command(program, "-c", python, path) })
}

// TestPythonSharedMemory runs Python's multiprocessing.shared_memory, which attaches by name in
// /dev/shm.
func TestPythonSharedMemory(t *testing.T) {
	program := tool(t, "python3", "python3")
	name := fmt.Sprintf("shmem-test-python-%d", os.Getpid())
	b, err := shmem.Create[record](name, nil)
	b = opened(t, b, err)
	b.Value().N = 7
	out, err := exec.Command(program, "-c", `
import sys
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *a: None # or its end unlinks a segment that is in use (cpython 82300)
m = shared_memory.SharedMemory(name=sys.argv[1])
print(int.from_bytes(m.buf[0:4], sys.byteorder))
m.buf[0:4] = (8).to_bytes(4, sys.byteorder)
m.close()
`, name).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "7" || b.Value().N != 8 {
		t.Errorf("the program prints %q (%v), the box holds %d", out, err, b.Value().N)
	}
	if !b.Segment().Linked() {
		t.Error("the program has unlinked the segment")
	}
}

const c = `
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct record { uint32_t n; _Alignas(8) uint64_t wide; char text[16]; };

int main(int argc, char **argv) {
	int fd = open(argv[1], O_RDWR);
	if (fd < 0) {
		struct record r = { 7, 70000000000, "from go" };
		fd = open(argv[1], O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd < 0 || write(fd, &r, sizeof r) != sizeof r)
			return 1;
	}
	struct record *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (r == MAP_FAILED)
		return 2;
	printf("%u %llu %s\n", r->n, (unsigned long long)r->wide, r->text);
	r->n = 8;
	r->wide = 80000000000;
	strcpy(r->text, "from it");
	return 0;
}
`

func TestC(t *testing.T) {
	gcc := tool(t, "gcc", "gcc")
	bin := filepath.Join(t.TempDir(), "record")
	cmd := exec.Command(gcc, "-O2", "-Wall", "-o", bin, "-x", "c", "-")
	cmd.Stdin = strings.NewReader(c)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("gcc cannot compile here (install libc6-dev): %v\n%s", err, out)
	}
	peer(t, shmemtest.Dir(t), func(path string) *exec.Cmd { return exec.Command(bin, path) })
}
