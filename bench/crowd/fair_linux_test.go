package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestMain runs the holder of TestFairMutexDeath in a child.
func TestMain(m *testing.M) {
	dir := os.Getenv("CROWD_HOLDER")
	if dir == "" {
		os.Exit(m.Run())
	}
	w, err := mapWords(dir, "lock")
	must(err)
	fairMutex{w: &w[0]}.Lock()
	w[16].Add(1)
	select {} // until it is killed
}

// TestFairMutexDeath: the lock that the crowd is measured beside survives what it must. Of three
// processes that want it one holds it at a time; each is killed while it holds the lock, and the
// last waiter gets it.
func TestFairMutexDeath(t *testing.T) {
	dir := t.TempDir()
	w, err := mapWords(dir, "lock")
	if err != nil {
		t.Fatal(err)
	}
	mu := fairMutex{w: &w[0]}
	mu.Lock()
	all := map[int]*exec.Cmd{}
	for range 3 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "CROWD_HOLDER="+dir)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all[c.Process.Pid] = c
		defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	}
	time.Sleep(200 * time.Millisecond) // until they wait
	mu.Unlock()
	for n := range uint32(3) {
		until(t, func() bool { return w[16].Load() > n })
		holder := all[int(w[0].Load()&^waiting)]
		if holder == nil || w[16].Load() != n+1 {
			t.Fatalf("word %#x, %d have locked", w[0].Load(), w[16].Load())
		}
		_ = holder.Process.Kill()
		_ = holder.Wait()
	}
	mu.Lock() // it is free after the last death
	defer mu.Unlock()
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within a minute")
		}
	}
}
