package replay

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// A Search says how a flaw was found.
type Search struct {
	Planted
	Scenario string    // that found it first
	Runs     []int     // until it was found, for each try, sorted
	Seconds  []float64 // the same
	Missed   int       // tries that did not find it
	Err      error
}

// Find builds the library with the flaw, and looks for a failing run from tries different seeds,
// each for at most limit a scenario.
func (p Planted) Find(root string, tries int, limit time.Duration) (s Search) {
	s.Planted = p
	dir, err := os.MkdirTemp("", "replay-flaw")
	if err != nil {
		s.Err = err
		return s
	}
	defer os.RemoveAll(dir)
	prog, err := Build(root, dir, p.Edits)
	if err != nil {
		s.Err = err
		return s
	}
	for try := range tries {
		seed := strconv.Itoa(1 + try*1_000_000)
		results, err := prog.Run("-run", p.Scenarios, "-seed", seed, "-time", limit.String(),
			"-noshrink", "-first")
		if err != nil {
			s.Err = err
			return s
		}
		s.add(results)
	}
	slices.Sort(s.Runs)
	slices.Sort(s.Seconds)
	return s
}

// add counts the runs of one try up to the failing one, over all its scenarios.
func (s *Search) add(results []*Result) {
	runs, seconds := 0, 0.0
	for _, r := range results {
		runs += r.Runs
		if r.Failure != "" && r.Fault == "" {
			s.Scenario = r.Scenario + ", " + r.Class
			s.Runs, s.Seconds = append(s.Runs, runs), append(s.Seconds, seconds+r.Took)
			return
		}
		seconds += r.Seconds
	}
	s.Missed++
}

// String is the search in a line.
func (s Search) String() string {
	switch {
	case s.Err != nil:
		return fmt.Sprintf("%-26s %v", s.Name, s.Err)
	case len(s.Runs) == 0:
		return fmt.Sprintf("%-26s NOT FOUND in %d tries", s.Name, s.Missed)
	}
	m := len(s.Runs) / 2
	text := fmt.Sprintf("%-26s %-34s median %7d runs, %7.3f s", s.Name, s.Scenario, s.Runs[m],
		s.Seconds[m])
	if s.Missed > 0 {
		text += fmt.Sprintf("; %d tries of %d did not find it", s.Missed, s.Missed+len(s.Runs))
	}
	return text
}
