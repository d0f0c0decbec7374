package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// TestTopOrder: top sorts by what it is told to, the most first, and names the holder of a lock of
// psync that is waited for.
func TestTopOrder(t *testing.T) {
	row1 := row{Info: shmem.Info{Name: "a", Path: "a", InUse: 1}}
	row2 := row{Info: shmem.Info{Name: "b", Path: "b", InUse: 2}}
	all := tracking{
		"a": {rate: 5, st: &inspect.Status{Stats: &inspect.Stats{Capacity: 10, Depth: 1, Skipped: 3}}},
		"b": {rate: 1, st: &inspect.Status{Stats: &inspect.Stats{Capacity: 2, Depth: 1},
			Slots: []inspect.Slot{{Waits: []string{"room"}}}}},
	}
	for by, want := range map[string]string{"rate": "a", "name": "a", "mem": "b", "depth": "b",
		"lost": "a", "wait": "b"} {
		rows := []row{row2, row1}
		all.sort(rows, by)
		frame := topFrame(&env{width: columns}, rows, all, by, "", "")
		if got := frameLines(frame)[fixedLines+0][:1]; got != want {
			t.Errorf("by %s the first is %q, want %q:\n%s", by, got, want, frame)
		}
		if !slices.Contains(topOrders, by) {
			t.Errorf("the key s never comes to %s", by)
		}
	}
	held := func(path string, waited bool) inspect.FieldLock {
		l := inspect.FieldLock{Path: path}
		l.Holders, l.Waiters = []inspect.Holder{{Slot: 7, Alive: true}}, waited
		return l
	}
	if got := lockText([]inspect.FieldLock{{}, held("A", false), held("B", true)}); got != "B: slot 7 0" {
		t.Errorf("%q", got)
	}
}

// TestTopTally: top shows what services and caches do, and fits into 40 columns.
func TestTopTally(t *testing.T) {
	rows := []row{
		{Info: shmem.Info{Name: "calls", Path: "calls"}},
		{Info: shmem.Info{Name: "pages", Path: "pages"}},
		{Info: shmem.Info{Name: "users", Path: "users"}},
		{Info: shmem.Info{Name: "images", Path: "images"}},
	}
	all := tracking{}
	for path, counters := range map[string]tally{
		"calls": {calls: &inspect.CallStats{Capacity: 64, Waiting: 1, Running: 2, Clients: 3,
			Oldest: 1234 * time.Millisecond, Handled: 900, Freed: 7}},
		"pages": {cached: &inspect.CacheStats{Size: 1 << 20, Bytes: 1 << 19, Hits: 95, Misses: 5,
			Evicted: 11}},
		"users": {entries: &inspect.MapStats{Capacity: 10, Len: 9, Changes: 17, Evicted: 13}},
		"images": {buffers: &inspect.PoolStats{Classes: []inspect.PoolClass{
			{Count: 4, Used: 3, Taken: 21}}}},
	} {
		all[path] = &tracked{}
		all[path].note(&inspect.Status{}, counters)
	}
	wide := topFrame(&env{width: 200}, rows, all, "rate", "", "")
	for _, want := range []string{"900", "3/64", "1.2s, 2 busy, 3 clients", "100", "95% hits", "11",
		"17", "9/10", "13", "21", "3/4"} {
		if !strings.Contains(wide, want) {
			t.Errorf("there is no %q in\n%s", want, wide)
		}
	}
	for _, l := range frameLines(topFrame(&env{width: 40, tty: true}, rows, all, "depth", "", "")) {
		if width(l) > 40 {
			t.Errorf("%d columns: %s", width(l), l)
		}
	}
	all.sort(rows, "lost")
	if rows[0].Name != "users" {
		t.Errorf("%s has lost the most", rows[0].Name)
	}
	all.sort(rows, "depth")
	if rows[0].Name != "users" {
		t.Errorf("%s is the fullest", rows[0].Name)
	}
}
