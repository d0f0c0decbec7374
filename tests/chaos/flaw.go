//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/shmembox/shmem/tests/flaws"
)

// soonFlaws are found soonest. CI runs only these.
var soonFlaws = []string{"late-init", "replace", "late-slot", "two-duties", "no-dropped"}

// flawVariants are the variants in which flaws show that the variant mixed hardly shows.
var flawVariants = map[string]string{
	"same-gen": "duel", "no-gate": "duel",
	"look-before": "polite", "no-reread": "polite", "garbage-drops": "polite",
	"close-unread": "queue", "open-unread": "queue",
}

// chooseFlaws returns the flaws of -flaw, and how long each may take.
func chooseFlaws() (chosen []flaws.Flaw, limit time.Duration, err error) {
	limit = 15 * time.Second
	names := strings.Split(*flawFlag, ",")
	switch *flawFlag {
	case "all":
		names = flaws.Names(flaws.Lifecycle)
	case "ci":
		// One violation ends a run: the limit is for machines with a load.
		names, limit, *enough = soonFlaws, time.Minute, max(*enough, 1)
	}
	if given("for") {
		limit = *forFlag
	}
	for _, name := range names {
		f, e := flaws.Find(flaws.Lifecycle, name)
		chosen, err = append(chosen, f), errors.Join(err, e)
	}
	return chosen, limit, err
}

// catchFlaws shows that the checker finds the flaws of -flaw.
func catchFlaws() int {
	chosen, limit, err := chooseFlaws()
	var root, dir string
	if err == nil {
		root, err = flaws.Root()
	}
	if err == nil {
		dir, err = os.MkdirTemp("", "chaos-flaws-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	defer os.RemoveAll(dir)
	missed := 0
	for _, f := range chosen {
		if f.Name == "by-pid" && os.Geteuid() != 0 {
			fmt.Printf("%-13s is left out: it needs PID namespaces, and those need root\n", f.Name)
			continue
		}
		if !catch(f, root, dir, limit) {
			missed++
		}
	}
	fmt.Printf("%d of %d flaws caught\n", len(chosen)-missed, len(chosen))
	if missed > 0 {
		return 1
	}
	return 0
}

// catch builds this program with a flaw and reports whether its checker finds the flaw in time.
func catch(f flaws.Flaw, root, dir string, limit time.Duration) bool {
	v := cmp.Or(flawVariants[f.Name], "mixed")
	if *which != "all" {
		v = *which
	}
	clone := uintptr(0)
	if v == "tmpfs" {
		clone = syscall.CLONE_NEWNS
	}
	exe := filepath.Join(dir, f.Name)
	if err := f.Build(root, "./tests/chaos", exe); err != nil {
		fmt.Printf("%-13s NOT BUILT: %v\n", f.Name, err)
		return false
	}
	defer os.Remove(exe)
	r := runApart(exe, []string{
		"-variant", v, "-flaw", f.Name, "-for", limit.String(),
		"-enough", fmt.Sprint(cmp.Or(*enough, 20)),
	}, clone)
	if r.Error != "" || r.Total == 0 {
		fmt.Printf("%-13s MISSED in %.1f s, %d kills %s\n", f.Name, r.Seconds, r.Kills, r.Error)
		return false
	}
	fmt.Printf("%-13s caught: %d violations in %.1f s, the first after %.1f s, %d kills: %s\n",
		f.Name, r.Total, r.Seconds, r.First, r.Kills, sorted(r.Violations))
	return true
}
