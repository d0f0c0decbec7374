// Command counts counts the instructions of what programs do most, and compares them with those in a file: they
// show on any machine, however busy, what a change has made dearer.
//
//	go run ./tests/instructions          # compare with amd64.txt
//	go run ./tests/instructions -write   # set amd64.txt
//
// It runs itself a second time and has the kernel stop that one after every instruction; where that is forbidden it
// exits with 3. The count of one operation is the difference between 16 and 8 of them, by 8, the lesser of two.
// Instructions in the kernel do not count. Another version of Go makes other instructions: against a file of another
// one more may differ.
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

// How much more than in the file is an error, and how much less is a reason to set it anew, in percent.
const (
	tolerance        = 5
	toleranceOtherGo = 25
)

func main() {
	write := flag.Bool("write", false, "set "+file)
	flag.Parse()
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	counts, err := trace()
	if errors.Is(err, fs.ErrPermission) {
		fmt.Fprintln(os.Stderr, "counts: this machine lets no process trace another, so there are no counts:", err)
		os.Exit(3)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "counts:", err)
		os.Exit(1)
	}
	if *write {
		var b strings.Builder
		fmt.Fprintf(&b, "# Instructions of an operation, by tests/instructions -write with\n%s\n", runtime.Version())
		for i, o := range operations {
			fmt.Fprintf(&b, "%d\t%s\n", counts[i], o.name)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "counts:", err)
			os.Exit(1)
		}
		return
	}
	if !compare(counts) {
		os.Exit(1)
	}
}

// compare prints the counts beside those of the file, and reports whether none is too large.
func compare(counts []int) bool {
	version, was := parse(baseline)
	percent := tolerance
	if version != runtime.Version() {
		percent = toleranceOtherGo
		fmt.Printf("%s is of %s, this is %s: %d%% more are let pass\n", file, version, runtime.Version(), percent)
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
			note = "MORE: mend it, or run it with -write and say why in the commit"
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
