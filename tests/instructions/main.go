// Command instructions counts the instructions of the most frequent operations and compares them
// with those in a file. The counts do not depend on the load of the machine, and show what a change
// costs.
//
//	go run ./tests/instructions          # compare with amd64.txt
//	go run ./tests/instructions -write   # write amd64.txt
//
// It starts a tracer, which starts a traced process and has the kernel stop it after every
// instruction. Where tracing is forbidden it exits with 3. The count of an operation is the
// difference between 16 and 8 of them, divided by 8. Instructions in the kernel do not count.
// Another version of Go compiles to other instructions: compared with a file of another version,
// more of them may differ.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

//go:embed amd64.txt
var baseline string

const file = "tests/instructions/amd64.txt"

// A count may be higher than in the file by so many percent, and one instruction. If it is lower by
// more than that, the file should be written anew.
const (
	tolerance        = 5
	toleranceOtherGo = 25 // the file is of another version of Go
)

func main() {
	write := flag.Bool("write", false, "write "+file)
	flag.Parse()
	if base := os.Getenv(childEnv); base != "" {
		child(base)
		return
	}
	if base := os.Getenv(tracerEnv); base != "" {
		os.Exit(tracer(base))
	}
	counts, err := count()
	if errors.Is(err, fs.ErrPermission) {
		fmt.Fprintln(os.Stderr, "instructions: this machine lets no process trace another:", err)
		os.Exit(exitForbidden)
	}
	if err == nil && *write {
		err = os.WriteFile(file, []byte(text(counts)), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		os.Exit(1)
	}
	if !*write && !compare(counts) {
		os.Exit(1)
	}
}

// A tracer can hang: it stops the other threads of the traced process, one of which may hold a lock
// of Go's runtime that the first thread needs. It is ended then, and another one is started.
const (
	tracerEnv     = "SHMEM_INSTRUCTIONS_TRACER" // to a tracer: the directory for its segments
	tracerLimit   = 2 * time.Minute
	tracers       = 3
	exitForbidden = 3
)

// count counts by a tracer, and by another one if that hangs.
func count() (counts []int, err error) {
	for range tracers {
		counts, err = countOnce(tracerLimit)
		if !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return counts, err
}

// countOnce counts in a directory that is removed whatever becomes of the tracer. The kernel ends
// the traced process with it.
func countOnce(limit time.Duration) ([]int, error) {
	base, err := os.MkdirTemp("/dev/shm", "instructions-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(base)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe")
	c.Env = append(os.Environ(), tracerEnv+"="+base)
	c.Stderr = os.Stderr
	out, err := c.Output()
	switch exit := (*exec.ExitError)(nil); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the tracer hung: %w", ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() == exitForbidden:
		return nil, fs.ErrPermission
	case err != nil:
		return nil, fmt.Errorf("the tracer: %w", err)
	}
	var counts []int
	err = json.Unmarshal(out, &counts)
	return counts, err
}

// tracer prints the counts as JSON, and returns the status to exit with.
func tracer(base string) int {
	counts, err := trace(base)
	if errors.Is(err, fs.ErrPermission) {
		return exitForbidden
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(counts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		return 1
	}
	return 0
}

// text returns the file of the counts.
func text(counts []int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Instructions of an operation, by tests/instructions -write with\n%s\n",
		runtime.Version())
	for i, o := range operations {
		fmt.Fprintf(&b, "%d\t%s\n", counts[i], o.name)
	}
	return b.String()
}

// compare prints the counts beside those of the file, and reports whether none is too large.
func compare(counts []int) bool {
	version, was := parse(baseline)
	percent := tolerance
	if version != runtime.Version() {
		percent = toleranceOtherGo
		fmt.Printf("%s is of %s, this is %s: %d%% more are accepted\n",
			file, version, runtime.Version(), percent)
	}
	good := true
	for i, o := range operations {
		before, ok := was[o.name]
		note := ""
		switch {
		case !ok:
			note = "not in the file: run it with -write"
			good = false
		case counts[i]*100 > before*(100+percent)+100:
			note = "MORE: find out why, or run it with -write and give the reason in the commit"
			good = false
		case counts[i]*100 < before*(100-percent)-100 && version == runtime.Version():
			note = "less: run it with -write to keep it so"
		}
		fmt.Printf("%6d %6d  %-48s %s\n", counts[i], before, o.name, note)
		delete(was, o.name)
	}
	for name := range was {
		fmt.Printf("%s is in the file, but not counted\n", name)
		good = false
	}
	return good
}

// parse returns the version of Go and the counts of a file.
func parse(text string) (version string, counts map[string]int) {
	counts = map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		n, name, ok := strings.Cut(line, "\t")
		switch {
		case strings.HasPrefix(line, "#"):
		case !ok:
			version = line
		default:
			counts[name], _ = strconv.Atoi(n)
		}
	}
	return version, counts
}
