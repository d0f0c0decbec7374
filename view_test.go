package shmem_test

import (
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

type record struct {
	Key   uint64
	Value [3]uint32
}

func TestViews(t *testing.T) {
	dir := shmemtest.Dir(t)
	s, err := shmem.CreateSegment("s", 4096, &shmem.Options{Dir: dir, Reserve: 1 << 16})
	check(t, err)
	r, err := shmem.ValueAt[record](s, 64)
	check(t, err)
	r.Key, r.Value[2] = 7, 9
	all, err := shmem.SliceAt[record](s, 64, (4096-64)/24)
	check(t, err)
	if len(all) != 168 || cap(all) != len(all) || all[0] != *r || &all[0] != r {
		t.Errorf("%d records, the first is %+v", len(all), all[0])
	}
	b := make([]byte, 1)
	if _, err := s.ReadAt(b, 64); err != nil || b[0] != 7 {
		t.Errorf("byte %d, %v", b[0], err)
	}
	empty, err := shmem.SliceAt[record](s, 4096, 0)
	if err != nil || len(empty) != 0 {
		t.Errorf("%v, %v", empty, err)
	}
	bytes, err := shmem.SliceAt[byte](s, 1, 4095)
	if err != nil || len(bytes) != 4095 {
		t.Errorf("%d bytes, %v", len(bytes), err)
	}
	// What lies behind the payload is not reached, although it is mapped.
	for _, off := range []int64{-1, -8, 4096, 4088, 4104, math.MaxInt64, math.MinInt64} {
		_, err := shmem.ValueAt[record](s, off)
		wantErr(t, err, shmem.ErrMismatch, "value at s", strconv.FormatInt(off, 10), "4096")
	}
	_, err = shmem.ValueAt[atomic.Int64](s, 4)
	wantErr(t, err, shmem.ErrMismatch, "multiple of 8")
	for _, n := range []int{-1, 300, math.MaxInt, math.MaxInt/24 + 1, math.MinInt} {
		_, err := shmem.SliceAt[record](s, 0, n)
		wantErr(t, err, shmem.ErrMismatch, "slice at s", strconv.Itoa(n))
	}
	_, err = shmem.SliceAt[record](s, -24, 1)
	wantErr(t, err, shmem.ErrMismatch)
	_, err = shmem.ValueAt[*int](s, 0)
	wantErr(t, err, shmem.ErrBadType)
	_, err = shmem.ValueAt[string](s, 0)
	wantErr(t, err, shmem.ErrBadType)
	_, err = shmem.SliceAt[struct{}](s, 0, 1)
	wantErr(t, err, shmem.ErrBadType)
	_, err = shmem.ValueAt[any](s, 0)
	wantErr(t, err, shmem.ErrBadType)
	check(t, s.Close())
	_, err = shmem.ValueAt[record](s, 0)
	wantErr(t, err, shmem.ErrClosed, "value at s")
	_, err = shmem.SliceAt[record](s, 0, 0)
	wantErr(t, err, shmem.ErrClosed)
}

// A stale pointer of a view faults, like one of a box.
func TestViewAfterClose(t *testing.T) {
	needsFaults(t)
	dir := shmemtest.Dir(t)
	s, err := shmem.CreateSegment("s", 4096, &shmem.Options{Dir: dir})
	check(t, err)
	v, err := shmem.ValueAt[uint64](s, 8)
	check(t, err)
	check(t, s.Close())
	other, err := shmem.CreateSegment("s", 4096, &shmem.Options{Dir: dir})
	check(t, err)
	if !fault(func() { *v = 1 }) {
		t.Error("a stale pointer does not fault")
	}
	check(t, other.Close())
}

// pageTables returns how much memory the page tables of this process take, in bytes.
func pageTables(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	check(t, err)
	_, rest, ok := strings.Cut(string(b), "VmPTE:")
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		t.Fatal("no VmPTE")
	}
	n, err := strconv.Atoi(f[0])
	check(t, err)
	return n << 10
}

// What is opened and closed leaves no page tables behind, although its addresses are never used
// again.
func TestPageTables(t *testing.T) {
	if raced || math.MaxInt == math.MaxInt32 {
		// There small mappings lie over memory of the Go heap; here the address space, and page
		// tables with it, are bounded.
		return
	}
	needsFaults(t)
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	keep := open[page](t, dir, "keep")
	keep.Value().N = 1
	const openings = 12000
	before := 0
	var first *page
	for i := range openings {
		if i == openings/6 {
			before = pageTables(t) // some are those of Go's own memory
		}
		b, err := shmem.Open[page]("p", o)
		check(t, err)
		b.Value().N = uint64(i)
		if i == 0 {
			first = b.Value()
		}
		check(t, b.Close())
	}
	grown := pageTables(t) - before
	t.Logf("the page tables have grown by %d bytes", grown)
	if grown > openings*16 {
		t.Errorf("the page tables have grown by %d bytes in %d openings", grown, openings-openings/6)
	}
	if keep.Value().N != 1 {
		t.Error("another mapping has changed")
	}
	if !fault(func() { first.N = 1 }) {
		t.Error("a stale pointer does not fault")
	}
}
