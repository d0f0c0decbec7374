package main

import (
	"slices"
	"testing"

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
