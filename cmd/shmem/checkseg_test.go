package main

import (
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// TestCheckDeadLocks: a lock that a process died with is found as what it is: a value that cannot be
// undone needs a program, and a Once needs nothing.
func TestCheckDeadLocks(t *testing.T) {
	r := row{Info: shmem.Info{Name: "box", State: shmem.Live}}
	checked := func(st *inspect.Status) []trouble {
		k := &checkup{env: &env{}, cmd: &checkCmd{}}
		k.boxLock(r, nil, st)
		for _, l := range st.Locks {
			k.fieldLock(r, nil, st, l)
		}
		return k.all
	}
	dead := inspect.LockState{Dead: true}
	all := checked(&inspect.Status{Lock: dead, ImageOff: 4096})
	if len(all) != 1 || all[0].Level != warning || !strings.Contains(all[0].Command, "recover") {
		t.Errorf("with an undo image: %+v", all)
	}
	all = checked(&inspect.Status{Lock: dead})
	if len(all) != 1 || all[0].Level != critical || strings.Contains(all[0].Command, "recover") ||
		!strings.Contains(all[0].Cause, "Box.Recover") {
		t.Errorf("without an undo image: %+v", all)
	}
	for kind, want := range map[string]int{"psync.Once": 0, "psync.Mutex": 1} {
		l := inspect.FieldLock{Path: "L", LockState: dead}
		l.Type = kind
		if all := checked(&inspect.Status{Locks: []inspect.FieldLock{l}}); len(all) != want {
			t.Errorf("%s: %+v", kind, all)
		}
	}
}
