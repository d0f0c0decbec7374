//go:build linux

// Storm restarts many processes in random order, and counts what a restart must never lose.
//
//	go run ./tests/storm -for 10m
//	go run ./tests/storm -flaw close-unread -for 30s
//
// The processes open, use and close shared and owned boxes, queues and topics. Each ends soon: it
// returns from main after it has closed everything or without closing, kills itself at a random
// step of the library, or is killed by the parent at a random time. Another one takes its place at
// once. Each process has several goroutines, which hold attachments of their own.
//
// Books are kept in memory that is no segment of the library. A process writes down what it is
// about to do before it does it, and withdraws what it holds before it ends it, so that a death in
// between never looks like a fault. It is checked that
//
//   - every message is received whose Send returned nil;
//   - what was added to a box is there for as long as a process is attached;
//   - a name leads all of its processes to one segment: none opens another one while a process is
//     attached, and no two are attached to different ones, unless the owner closes it;
//   - messages of a publisher arrive in order;
//   - nothing is left at the end.
//
// With -flaw it builds itself with a flaw of tests/flaws, which it must report.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/tests/flaws"
)

var (
	forFlag   = flag.Duration("for", 30*time.Second, "how long it runs")
	processes = flag.Int("processes", 20, "processes at a time, at most 64")
	killMs    = flag.Int("kill", 20, "milliseconds between kills by the parent, on average")
	flawFlag  = flag.String("flaw", "", "show that it reports this flaw of tests/flaws")
	first     = flag.Bool("first", false, "end with the first violation")
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		runChild(os.Args[2:])
		return
	}
	flag.Parse()
	if *processes < 1 || *processes > maxProcesses || *killMs < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if *flawFlag != "" {
		os.Exit(catch(*flawFlag, *forFlag))
	}
	r, err := run(plan{*processes, *forFlag, time.Duration(*killMs) * time.Millisecond, *first})
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(2)
	}
	fmt.Print(r)
	if r.violations > 0 {
		os.Exit(1)
	}
}

// catch builds this program with a flaw and runs it until it reports a violation. It returns the
// exit status: 0 if it does.
func catch(name string, limit time.Duration) int {
	out, caught, err := runFlawed(name, limit)
	fmt.Print(out)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "storm:", err)
		return 2
	case !caught:
		fmt.Printf("%s was MISSED\n", name)
		return 1
	}
	fmt.Printf("%s was caught\n", name)
	return 0
}

// runFlawed is catch, and returns what the program printed.
func runFlawed(name string, limit time.Duration) (out string, caught bool, err error) {
	f, err := flaws.Find(flaws.Lifecycle, name)
	if err != nil {
		return "", false, err
	}
	root, err := flaws.Root()
	if err != nil {
		return "", false, err
	}
	dir, err := os.MkdirTemp("", "storm-flaw-")
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "storm")
	if err := f.Build(root, "./tests/storm", exe); err != nil {
		return "", false, err
	}
	b, err := exec.Command(exe, "-first", "-for", limit.String()).CombinedOutput()
	if e, ok := err.(*exec.ExitError); ok && e.ExitCode() == 1 {
		return string(b), true, nil
	}
	return string(b), false, err
}
