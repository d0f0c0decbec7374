//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// result is what came of one run.
type result struct {
	Variant    string
	Flaw       string `json:",omitempty"`
	Seconds    float64
	Kills      int64 // processes that a SIGKILL ended
	ByParent   int64
	Stops      int64
	Workers    int64             // processes that were started
	Stillborn  int64             `json:",omitempty"` // forked, stuck before they began; no kills
	First      float64           `json:",omitempty"` // seconds to the first violation
	Total      uint64            // violations
	Violations map[string]uint64 `json:",omitempty"`
	Counts     map[string]uint64
	Log        []string `json:",omitempty"`
	Error      string   `json:",omitempty"`
}

// sorted is the text of counts, sorted by their names.
func sorted(m map[string]uint64) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(s, ", ")
}

func report(r *result) {
	fmt.Printf("%-8s %.1f s: %d kills (%d by the parent), %d stops, %d processes, %d violations\n",
		r.Variant, r.Seconds, r.Kills, r.ByParent, r.Stops, r.Workers, r.Total)
	fmt.Println("        ", sorted(r.Counts))
	if r.Error != "" {
		fmt.Println("         ERROR:", r.Error)
	}
	if r.Total > 0 {
		fmt.Println("         VIOLATIONS:", sorted(r.Violations))
		for _, l := range r.Log {
			fmt.Println("        ", l)
		}
	}
}

// summarise prints the sum of the results, or all of them as JSON, and returns the exit status.
func summarise(results []*result) (status int) {
	kills, violations := int64(0), uint64(0)
	for _, r := range results {
		kills += r.Kills
		violations += r.Total
		if r.Total > 0 || r.Error != "" {
			status = 1
		}
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(results)
	} else {
		fmt.Printf("%d kills, %d violations\n", kills, violations)
	}
	return status
}

// progress returns a function that shows the progress on a terminal; nil if there is none.
func progress() func(*parent) {
	st, err := os.Stderr.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 || *inner {
		return nil
	}
	began := time.Now()
	return func(q *parent) {
		fmt.Fprintf(os.Stderr, "\r%-8s %5.1f s  %d kills  %d cycles  %d violations ", q.res.Variant,
			time.Since(began).Seconds(), q.res.Kills, q.a.counts[cycles].Load(), q.violated())
	}
}
