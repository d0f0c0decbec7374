// The command replay builds the simulator and runs scenarios in it. Its flags are those of
// tests/replay/scenarios.
package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/shmembox/shmem/tests/replay"
)

func main() {
	dir, err := os.MkdirTemp("", "replay")
	if err == nil {
		defer os.RemoveAll(dir)
		err = run(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	p, err := replay.Build(".", dir, nil)
	if err != nil {
		return err
	}
	c := exec.Command(p.Path, os.Args[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}
