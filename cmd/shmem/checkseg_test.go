package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
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

// TestCheckMachine: limits of memory, inodes, files and mappings that are near are found, once, and
// those that are far are not.
func TestCheckMachine(t *testing.T) {
	near := func(look func(*checkup)) (kinds []string) {
		k := &checkup{env: &env{dir: sys.DefaultDir}, cmd: &checkCmd{Full: 90}, full: map[string]bool{}}
		look(k)
		look(k)
		for _, t := range k.all {
			kinds = append(kinds, t.Level+" "+t.Kind)
		}
		return kinds
	}
	p := &proc{pid: os.Getpid(), name: "server"}
	for name, c := range map[string]struct {
		look func(*checkup)
		want []string
	}{
		"group full": {func(k *checkup) { k.room(sys.Memory{Group: "/a", Limit: 100, Free: 9}, 1, p) },
			[]string{"critical memory-limit"}},
		"group of this process": {
			func(k *checkup) { k.room(sys.Memory{Group: "/a", Limit: 100, Free: -1}, 1, nil) },
			[]string{"critical memory-limit"}},
		"group roomy": {func(k *checkup) { k.room(sys.Memory{Group: "/a", Limit: 100, Free: 11}, 1, p) }, nil},
		"no group":    {func(k *checkup) { k.room(sys.Memory{Limit: 100, Free: 1}, 1, p) }, nil},
		"mount": {func(k *checkup) {
			k.mount(sys.Mount{Type: sys.TmpfsMagic, Size: 100, Avail: 10, Files: 100, Inodes: 11})
		}, []string{"critical memory-full", "critical memory-full"}},
		"inodes": {func(k *checkup) {
			k.mount(sys.Mount{Type: sys.TmpfsMagic, Size: 100, Avail: 11, Files: 100, Inodes: 0})
		}, []string{"critical inodes-full", "critical inodes-full"}},
		"no limits": {func(k *checkup) { k.mount(sys.Mount{Type: sys.TmpfsMagic}) }, nil},
		"disk":      {func(k *checkup) { k.mount(sys.Mount{Size: 100, Avail: 1}) }, nil},
		"mappings":  {func(k *checkup) { k.limits(p, 4) }, []string{"warning few-mappings", "warning few-mappings"}},
		"roomy":     {func(k *checkup) { k.limits(p, 1<<40) }, nil},
	} {
		if got := near(c.look); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
