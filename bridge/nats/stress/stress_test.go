package main

import (
	"fmt"
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
	r, err := run(t.Context(), plan{bridges: 8, servers: 2, owners: 2, cuts: 2, holds: 1, replicas: 1,
		pause: 250 * time.Millisecond, cut: 500 * time.Millisecond, rate: 2 * time.Millisecond,
		seed: uint64(time.Now().UnixNano())})
	if r != nil {
		t.Log(r)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSteps is the short form of -steps all: bridges die at the steps around which a message could
// be lost or come twice.
func TestSteps(t *testing.T) {
	r, err := run(t.Context(), plan{
		steps: "topicin.marking,topicin.marked,topicin.published,queuein.intent,queuein.sent," +
			"queuein.applied,queueout.accepted,topicout.sent,boxin.stored,mapin.compared,mapout.ended",
		each: 1, replicas: 1, rate: 2 * time.Millisecond, seed: uint64(time.Now().UnixNano())})
	if r != nil {
		t.Log(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.stepKills != 11 {
		t.Errorf("%d deaths at 11 steps", r.stepKills)
	}
}

// TestChanges checks that of four changes of the map which follow each other two store a value that
// stays. The time after a cut ends with such a value: 200 removals in a row were counted as time.
func TestChanges(t *testing.T) {
	kinds := map[uint64]map[string]bool{}
	for n := range uint64(40 * mapKeys) {
		stay := 0
		for i := range uint64(4) {
			if ttl, removed := changeOf(n + i); !removed && ttl == 0 {
				stay++
			}
		}
		if stay < 1 || n%mapKeys < mapKeys-3 && stay != 2 {
			t.Fatalf("%d of the changes from %d on store a value that stays", stay, n)
		}
		ttl, removed := changeOf(n)
		k := n % mapKeys
		if kinds[k] == nil {
			kinds[k] = map[string]bool{}
		}
		kinds[k][fmt.Sprint(removed, ttl > 0)] = true
	}
	for k, all := range kinds {
		if len(all) != 3 {
			t.Errorf("key %d: %v; want removals, values that expire and values that stay", k, all)
		}
	}
}
