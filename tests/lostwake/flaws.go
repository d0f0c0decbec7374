//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shmembox/shmem/tests/flaws"
	"github.com/shmembox/shmem/tests/replay"
)

// planted are the flaws of tests/replay that this program must find, each within seconds. It does
// not find baton-lost-by-failing, baton-lost-behind-the-last and baton-counts-blindly: a wait must
// end within the moment in which it is chosen. Those are for the simulator.
var planted = []string{"unlock-wakes-none", "chosen-arms-for-none", "disarmed-though-left"}

// catchFlaws builds this program with each flaw of -flaw, and runs it until it reports a violation.
func catchFlaws() error {
	names := strings.Split(*flaw, ",")
	if *flaw == "all" {
		names = planted
	}
	dir, err := os.MkdirTemp("", "lostwake-flaw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := flaws.Root()
	if err != nil {
		return err
	}
	missed := 0
	for _, name := range names {
		caught, err := catch(name, root, dir)
		if err != nil {
			return err
		}
		if !caught {
			missed++
		}
	}
	fmt.Printf("%d of %d flaws caught\n", len(names)-missed, len(names))
	if missed > 0 {
		return fmt.Errorf("%d flaws were missed", missed)
	}
	return nil
}

// catch reports whether this program with a flaw finds a violation.
func catch(name, root, dir string) (bool, error) {
	all := replay.Flaws()
	i := slices.IndexFunc(all, func(p replay.Planted) bool { return p.Name == name })
	if i < 0 {
		return false, fmt.Errorf("no flaw %q in tests/replay", name)
	}
	exe := filepath.Join(dir, "lostwake")
	if err := all[i].Build(root, "./tests/lostwake", exe); err != nil {
		return false, err
	}
	out, err := exec.Command(exe, "-for", length.String(), "-cancels", fmt.Sprint(*cancels),
		"-procs", fmt.Sprint(*procs), "-load", fmt.Sprint(*load), "-naps", fmt.Sprint(*naps),
		"-patient", patient.String()).CombinedOutput()
	verdict := "MISSED"
	e, ended := err.(*exec.ExitError)
	if ended && e.ExitCode() == 1 {
		verdict = "caught"
	} else if err != nil {
		return false, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	fmt.Printf("%s: %s\n%s", name, verdict, out)
	return verdict == "caught", nil
}
