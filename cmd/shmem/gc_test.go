package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
)

// TestJudge: gc removes garbage of this user, and nothing else.
func TestJudge(t *testing.T) {
	owner := &shmem.Peer{PID: os.Getpid()}
	for _, c := range []struct {
		row   row
		taken bool
		why   string
	}{
		{row{Info: shmem.Info{State: shmem.Garbage, UID: os.Geteuid(), Program: "server"}}, true,
			"owner dead, no process attached; made by server"},
		{row{Info: shmem.Info{State: shmem.Garbage, UID: os.Geteuid() + 1}}, false,
			"run gc as that user"},
		{row{Info: shmem.Info{State: shmem.Live, Owner: owner}}, false, "its owner lives"},
		{row{Info: shmem.Info{State: shmem.Orphaned, UID: os.Geteuid(),
			Peers: []shmem.Peer{{}, {}}}}, false, "its owner has died, but 2 still attached"},
		{row{Info: shmem.Info{State: shmem.Idle, UID: os.Geteuid()}}, false, "kept on purpose"},
		{row{Info: shmem.Info{State: shmem.Foreign, UID: os.Geteuid()}}, false,
			"another program's file"},
		{row{Info: shmem.Info{State: shmem.Damaged, UID: os.Geteuid(),
			Err: errors.New("checksum")}}, false, "damaged: checksum"},
		{row{Info: shmem.Info{State: shmem.Garbage, UID: os.Geteuid()}, unlinked: true}, false,
			"has no name"},
		{row{Info: shmem.Info{State: shmem.Garbage, UID: os.Geteuid()}, err: fs.ErrPermission},
			false, "cannot be read: permission denied"},
	} {
		v := judge(c.row)
		if v.Taken != c.taken || !strings.Contains(v.Why, c.why) {
			t.Errorf("%v: %+v, want %v %q", c.row.state(), v, c.taken, c.why)
		}
	}
}
