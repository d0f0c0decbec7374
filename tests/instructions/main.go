// Command instructions counts the instructions of the most frequent operations and compares them
// with those in a file. The counts do not depend on the load of the machine, and show what a change
// costs.
//
//	go run ./tests/instructions          # compare with amd64.txt
//	go run ./tests/instructions -write   # write amd64.txt
//
// It runs itself a second time and has the kernel stop that process after every instruction. Where
// tracing is forbidden it exits with 3. The count of an operation is the difference between 16 and
// 8 of them, divided by 8. Instructions in the kernel do not count. Another version of Go compiles
// to other instructions: compared with a file of another version, more of them may differ.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
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
	counts, err := count()
	if errors.Is(err, fs.ErrPermission) {
		fmt.Fprintln(os.Stderr, "instructions: this machine lets no process trace another:", err)
		os.Exit(3)
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

// count counts in a directory that is removed whatever becomes of the traced process.
func count() ([]int, error) {
	base, err := os.MkdirTemp("/dev/shm", "instructions-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(base)
	return trace(base)
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
