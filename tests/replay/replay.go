// Package replay runs the real code of the library as several simulated processes in one process. A
// seed decides at every access to shared memory, and at every system call, which process goes on,
// dies, is stopped, is cancelled, or meets an error of the kernel. A run can be repeated from its
// seed, and its schedule be printed. See README.md.
package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/shmembox/shmem/tests/replay/rewrite"
)

// A Result is what came out of the runs of one scenario.
type Result struct {
	Scenario string
	Runs     int
	Steps    int
	Faults   int
	Seconds  float64
	Hash     uint64 // of all runs

	Fault  string `json:",omitempty"` // of the library, which the scenario shows
	Wanted string `json:",omitempty"` // the class of the failure that shows it

	// Of the run that failed.
	Class, Failure string   `json:",omitempty"`
	How            string   `json:",omitempty"`
	Seed           uint64   `json:",omitempty"`
	Took           float64  `json:",omitempty"` // seconds until then
	Schedule       string   `json:",omitempty"`
	Trace          []string `json:",omitempty"`
}

// Bad reports whether the result is not the one that is wanted: a run failed, or none failed where
// a fault is to show.
func (r *Result) Bad() bool { return r.Class != r.Wanted }

// String is the result as a line, and, if a run failed, what happened in it.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %8d runs %10d steps %8d faults %8.0f runs/s", r.Scenario, r.Runs,
		r.Steps, r.Faults, float64(r.Runs)/max(r.Seconds, 1e-9))
	switch {
	case r.Failure == "" && r.Fault != "":
		fmt.Fprintf(&b, "\nno run failed; is this mended? %s", r.Fault)
		return b.String()
	case !r.Bad() && r.Fault != "":
		fmt.Fprintf(&b, "\n    known: %s: %s", r.Fault, r.Schedule)
		return b.String()
	case r.Failure == "":
		return b.String()
	}
	fmt.Fprintf(&b, "\n%s\n", r.Class)
	for i, l := range r.Trace {
		switch {
		case i < 20 || i >= len(r.Trace)-150:
			fmt.Fprintf(&b, "    %s\n", l)
		case i == 20:
			fmt.Fprintf(&b, "    ...\n")
		}
	}
	fmt.Fprintf(&b, "%s: after %d runs, %.2f s (%s, seed %d): %s\n", r.Class, r.Runs, r.Took, r.How,
		r.Seed, r.Failure)
	fmt.Fprintf(&b, "repeat it: replay.Again(t, %q, %q)", r.Scenario, r.Schedule)
	return b.String()
}

// A Program is the scenarios, built with the translated library.
type Program struct{ Path string }

// target is the package that is built.
const target = "./tests/replay/scenarios"

// Build translates and builds the library with edits, which may plant faults. root is the module's
// directory, dir one for what is built.
func Build(root, dir string, edits []rewrite.Edit) (*Program, error) {
	overlay := filepath.Join(dir, "overlay")
	if err := os.MkdirAll(overlay, 0o755); err != nil {
		return nil, err
	}
	bin := filepath.Join(dir, "scenarios")
	if err := rewrite.Build(root, overlay, target, bin, edits); err != nil {
		return nil, err
	}
	return &Program{bin}, nil
}

// Run runs the program with flags, which scenarios/main.go lists, and returns what came out of each
// scenario.
func (p *Program) Run(flags ...string) ([]*Result, error) {
	c := exec.Command(p.Path, append([]string{"-json"}, flags...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var results []*Result
	for d := json.NewDecoder(&stdout); ; {
		r := new(Result)
		if e := d.Decode(r); e == io.EOF {
			break
		} else if e != nil {
			return nil, fmt.Errorf("%v: %w: %s", e, err, stderr.String())
		}
		results = append(results, r)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 &&
		stderr.Len() == 0 {
		err = nil // a run failed, which its result says
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return results, err
}
