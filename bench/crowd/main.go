//go:build linux

// Command crowd measures what locks and waits cost when many wait, beside a robust mutex of C, a
// raw futex and package sync, by turns in one run.
//
//	cd bench && go run ./crowd            all tables, less than four minutes on a quiet machine
//	cd bench && go run ./crowd -quick     one short round, to see that it runs
//
// A figure is the median of the rounds. Ratios are medians of the ratios within a round. The mutex
// of C needs gcc; without it its rows are left out.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

var (
	rounds = flag.Int("rounds", 3, "rounds of each table")
	length = flag.Duration("for", time.Second, "length of each measurement")
	quick  = flag.Bool("quick", false, "one round of 50 ms")
	only   = flag.String("only", "", "regular expression of the tables to print")
	role   = flag.String("role", "", "for the program's own use: what a child does")
	param  = flag.String("param", "", "for the program's own use: the child's parameters")
)

// A table is one of those that are printed.
type table struct {
	name string
	run  func()
}

var tables = []table{
	{"alone", alone},
	{"roundtrip", roundTrips},
	{"mappings", manyMappings},
	{"messages", messages},
	{"unlock", unlocks},
	{"shares", shares},
	{"hog", hogs},
	{"large", large},
}

func main() {
	flag.Parse()
	if *role != "" {
		must(child(*role))
		return
	}
	if *quick {
		*rounds, *length = 1, 50*time.Millisecond
	}
	base, err := os.MkdirTemp("/dev/shm", "crowd")
	must(err)
	dir = base
	defer os.RemoveAll(base)
	buildC()
	fmt.Printf("%s, %s, %d CPUs, %d rounds of %v\n", time.Now().Format("2006-01-02 15:04"),
		runtime.Version(), runtime.NumCPU(), *rounds, *length)
	fmt.Printf("load before: %s", load())
	match := regexp.MustCompile(*only)
	for _, t := range tables {
		if match.MatchString(t.name) {
			t.run()
		}
	}
	fmt.Printf("\nload after: %s", load())
}

// dir has the segments of the run.
var dir string

func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return string(b)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		if dir != "" {
			os.RemoveAll(dir)
		}
		os.Exit(1)
	}
}

// child is the main function of a child process.
func child(role string) error {
	for _, r := range roles {
		if r.name == role {
			return r.run(*param)
		}
	}
	return fmt.Errorf("no role %q", role)
}

var roles = []struct {
	name string
	run  func(param string) error
}{
	{"receive", receive},
	{"lock", lockRole},
	{"ping", ping},
	{"pong", pong},
	{"mapped", mappedRole},
	{"permit", permit},
}

// cprogram is the path of the program of C; "" if there is none.
var cprogram string

// buildC builds the program of C.
func buildC() {
	src, out := filepath.Join(dir, "crowd.c"), filepath.Join(dir, "crowd")
	must(os.WriteFile(src, []byte(cSource), 0o600))
	b, err := exec.Command("gcc", "-O2", "-pthread", "-o", out, src).CombinedOutput()
	if err != nil {
		fmt.Printf("no mutex of C: %v %s\n", err, b)
		return
	}
	cprogram = out
}

// title begins a table.
func title(text string, columns ...string) {
	fmt.Printf("\n%s\n\n| %s |\n|%s\n", text, strings.Join(columns, " | "),
		strings.Repeat("--|", len(columns)))
}

func row(cells ...string) { fmt.Printf("| %s |\n", strings.Join(cells, " | ")) }

// median returns the median of what was measured; 0 of nothing.
func median[T cmp.Ordered](all []T) (m T) {
	if len(all) == 0 {
		return m
	}
	return percentile(all, 50)
}

// percentile returns the n-th percentile of what was measured.
func percentile[T cmp.Ordered](all []T, n int) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)*n/100]
}

// micro is a time in microseconds.
func micro(d time.Duration) string {
	us := float64(d) / 1000
	switch {
	case us < 10:
		return fmt.Sprintf("%.2f µs", us)
	case us < 10_000:
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.0f ms", us/1000)
}

func times(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }

// asJSON is for parameters and results of children.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	must(err)
	return string(b)
}
