//go:build linux

package lifecycle_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/shmemtest"
)

// manyBoxes is the number of boxes that TestManyBoxes has open at once.
const manyBoxes = 10_000

func TestManyBoxes(t *testing.T) {
	var limit syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < manyBoxes+100 {
		t.Skipf("%d boxes need as many open files, the limit is %d (ulimit -n, LimitNOFILE=)", manyBoxes, limit.Cur)
	}
	n := manyBoxes
	if raced {
		n /= 10 // in race builds the memory of each is heap
	}
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir, Slots: 1, Undo: shmem.UndoNever}
	boxes := make([]*shmem.Box[point], n)
	for i := range boxes {
		b, err := shmem.Create[point](fmt.Sprint("b", i), o)
		if err != nil {
			t.Fatalf("box %d: %v", i, err)
		}
		boxes[i] = b
		b.Value().X = int64(i)
	}
	for i, b := range boxes {
		if b.Value().X != int64(i) {
			t.Fatalf("box %d holds %d", i, b.Value().X)
		}
	}
	count := 0
	for info, err := range shmem.List(o.Dir) {
		if err != nil || info.State != shmem.Live {
			t.Fatalf("%s: %v (%v)", info.Name, info.State, err)
		}
		count++
	}
	if count != n {
		t.Errorf("List gives %d segments, want %d", count, n)
	}
	if taken := reclaim(t, dir); len(taken) > 0 {
		t.Errorf("reclaimed %d", len(taken))
	}
	// Half of the owners die: Reclaim removes their segments and no other.
	for i, b := range boxes {
		if i%2 == 0 {
			abandon(b.Segment())
		}
	}
	if taken := reclaim(t, dir); len(taken) != n/2 {
		t.Errorf("reclaimed %d, want %d", len(taken), n/2)
	}
	for _, b := range boxes {
		check(t, b.Close())
	}
	wantNames(t, dir)
}

func TestManyHandles(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir, Slots: 1024}
	first, err := shmem.Create[point]("p", o)
	handles := []*shmem.Box[point]{opened(t, first, err)}
	for len(handles) < 1024 {
		b, err := shmem.Attach[point]("p", o)
		if err != nil {
			t.Fatalf("handle %d: %v", len(handles), err)
		}
		handles = append(handles, b)
	}
	_, err = shmem.Attach[point]("p", o)
	wantErr(t, err, shmem.ErrNoSlot, "1024", "Options.Slots")
	info, err := shmem.Stat(o.Dir, "p")
	if err != nil || len(info.Peers) != 1024 {
		t.Errorf("%d peers (%v)", len(info.Peers), err)
	}
	handles[1023].Value().X = 9
	check(t, handles[500].Close())
	handles[500] = attach[point](t, dir, "p") // the slot that was freed can be taken again
	if handles[500].Value().X != 9 {
		t.Error("another value")
	}
	check(t, handles[700].Own())
	abandon(handles[700].Segment())
	for i, b := range handles {
		if i == 1023 {
			wantNames(t, dir, "p")
		}
		check(t, b.Close())
	}
	wantNames(t, dir)
}

func TestFewSlots(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[point]("p", &shmem.Options{Dir: dir, Slots: 2})
	opened(t, b, err)
	second := attach[point](t, dir, "p")
	_, err = shmem.Open[point]("p", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrNoSlot, "2 attachments", "Options.Slots")
	// The slot of a dead process is free.
	abandon(second.Segment())
	attach[point](t, dir, "p")
}

// A default box of 4 KiB takes at most 32 KiB. Creating it writes its header and one slot, no
// other byte.
func TestSizeOfDefaultBox(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[page](t, dir, "p")
	info, err := shmem.Stat(dir, "p")
	check(t, err)
	if info.InUse > 32<<10 || info.File > 32<<10 || info.InUse < info.File {
		t.Errorf("%d bytes, %d in use; all of it is reserved, and at most 32 KiB", info.File, info.InUse)
	}
	data, err := os.ReadFile(filepath.Join(dir, "p"))
	check(t, err)
	header := len(data) - format.HeaderSize
	slot := header - format.SlotSize
	for i, c := range data[:header] {
		if c != 0 && i < slot {
			t.Fatalf("byte %d is %#x; slot 0 is at %d, the header at %d", i, c, slot, header)
		}
	}
}

// Creating and dropping one name many times must not leak.
func TestNoGrowth(t *testing.T) {
	dir := shmemtest.Dir(t)
	rounds := 2000
	if raced {
		rounds = 200
	}
	fds := len(names(t, "/proc/self/fd"))
	maps := mappings(t)
	for range rounds {
		a := open[point](&quiet{TB: t}, dir, "p")
		b := attach[point](&quiet{TB: t}, dir, "p")
		check(t, errors.Join(a.Close(), b.Close()))
	}
	if n := len(names(t, "/proc/self/fd")); n > fds+2 {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
	if n := mappings(t); n > maps+20 && !raced { // in race builds the garbage collector frees them
		t.Errorf("%d mappings, %d before", n, maps)
	}
}

// quiet is a testing.TB without cleanups.
type quiet struct{ testing.TB }

func (*quiet) Cleanup(func()) {}

func mappings(t testing.TB) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	check(t, err)
	for _, c := range maps {
		if c == '\n' {
			n++
		}
	}
	return n
}
