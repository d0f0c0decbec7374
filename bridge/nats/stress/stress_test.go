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
