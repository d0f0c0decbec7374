//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// A part is what one mode does of the messages of all.
type part struct {
	mode    string
	batch   int
	percent uint64
}

var parts = []part{
	{"many", 64, 35},
	{"single", 64, 35},
	{"many", 0, 5},
	{"single", 0, 5},
	{"bytes", 16, 8},
	{"bytes-single", 16, 8},
	{"topic", 0, 3},
	{"topic-bytes", 0, 1},
}

// allModes runs this program once for each part.
func allModes() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	for i, p := range parts {
		n := *messages / 100 * p.percent
		fmt.Printf("%s, batches of %d: %d messages\n", p.mode, p.batch, n)
		c := exec.Command(self, "-mode", p.mode, "-batch", strconv.Itoa(p.batch),
			"-messages", strconv.FormatUint(n, 10), "-for", duration.String(),
			"-kills", strconv.Itoa(*kills), "-capacity", strconv.Itoa(*capacity), "-dir", *dir,
			fmt.Sprint("-stamped=", *stamped), "-seed", strconv.FormatUint(*seed+uint64(i), 10))
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s, batches of %d: %w", p.mode, p.batch, err)
		}
	}
	fmt.Printf("all modes: %v\nok\n", time.Since(began).Round(time.Second))
	return nil
}
