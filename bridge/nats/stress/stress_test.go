package main

import (
	"os"
	"testing"
	"time"
)

// TestMain runs the roles of child processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := child(os.Args[1], os.Args[2:]); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// TestKills is the short form of the command: nothing is lost, twice, or goes back under kills and
// cuts.
func TestKills(t *testing.T) {
	r, err := run(t.Context(), plan{bridges: 8, servers: 2, owners: 2, cuts: 2,
		pause: 250 * time.Millisecond, cut: 500 * time.Millisecond, rate: 2 * time.Millisecond,
		seed: uint64(time.Now().UnixNano())})
	if r != nil {
		t.Log(r)
	}
	if err != nil {
		t.Fatal(err)
	}
}
