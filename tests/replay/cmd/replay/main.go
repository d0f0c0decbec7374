// The command replay builds the simulator and runs scenarios in it.
//
//	replay [flags]                      runs scenarios once; flags: see tests/replay/scenarios
//	replay long [-for 1h] [-j 2]        runs all scenarios with new seeds, and counts
//	replay flaws [-run REGEXP] [-j 2]   plants each flaw and says how soon it is found
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/shmembox/shmem/tests/replay"
)

func main() {
	run := runOnce
	args := os.Args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "long":
			run, args = runLong, args[1:]
		case "flaws":
			run, args = runFlaws, args[1:]
		}
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

// build builds the simulator; the caller calls done at the end.
func build() (p *replay.Program, done func(), err error) {
	dir, err := os.MkdirTemp("", "replay")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.RemoveAll(dir) }
	if p, err = replay.Build(".", dir, nil); err != nil {
		done()
	}
	return p, done, err
}

func runOnce(args []string) error {
	p, done, err := build()
	if err != nil {
		return err
	}
	defer done()
	c := exec.Command(p.Path, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

// A tally adds up the results of all workers.
type tally struct {
	mu     sync.Mutex
	by     map[string]*replay.Result
	failed int
}

func runLong(args []string) error {
	flags := flag.NewFlagSet("long", flag.ExitOnError)
	length := flags.Duration("for", time.Hour, "how long")
	workers := flags.Int("j", 2, "processes at a time")
	only := flags.String("run", "", "scenarios that match this regular expression")
	_ = flags.Parse(args)
	p, done, err := build()
	if err != nil {
		return err
	}
	defer done()
	t := &tally{by: map[string]*replay.Result{}}
	end := time.Now().Add(*length)
	var wg sync.WaitGroup
	for range *workers {
		wg.Go(func() {
			for time.Now().Before(end) {
				seed := strconv.FormatInt(time.Now().UnixNano()>>8, 10)
				results, err := p.Run("-run", *only, "-seed", seed, "-time", "3s")
				t.add(results, err)
			}
		})
	}
	wg.Wait()
	return t.print()
}

func (t *tally) add(results []*replay.Result, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		fmt.Println(err)
		t.failed++
	}
	for _, r := range results {
		if r.Failure != "" && r.Fault == "" {
			fmt.Println(r)
			t.failed++
		}
		sum := t.by[r.Scenario]
		if sum == nil {
			sum = &replay.Result{Scenario: r.Scenario}
			t.by[r.Scenario] = sum
		}
		sum.Runs += r.Runs
		sum.Steps += r.Steps
		sum.Faults += r.Faults
		sum.Seconds += r.Seconds
	}
}

func (t *tally) print() error {
	var names []string
	total := &replay.Result{Scenario: "all"}
	for name, r := range t.by {
		names = append(names, name)
		total.Runs += r.Runs
		total.Steps += r.Steps
		total.Faults += r.Faults
		total.Seconds += r.Seconds
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(t.by[name])
	}
	fmt.Println(total)
	if t.failed > 0 {
		return fmt.Errorf("%d failures", t.failed)
	}
	return nil
}

func runFlaws(args []string) error {
	flags := flag.NewFlagSet("flaws", flag.ExitOnError)
	only := flags.String("run", "", "flaws that match this regular expression")
	workers := flags.Int("j", 2, "processes at a time")
	tries := flags.Int("tries", 5, "from so many seeds")
	limit := flags.Duration("time", 10*time.Second, "look so long from each")
	_ = flags.Parse(args)
	matches := regexp.MustCompile(*only)
	jobs := make(chan replay.Planted)
	var wg sync.WaitGroup
	var mu sync.Mutex
	missed := 0
	for range *workers {
		wg.Go(func() {
			for f := range jobs {
				s := f.Find(".", *tries, *limit)
				mu.Lock()
				fmt.Println(s)
				if s.Err != nil || s.Missed > 0 {
					missed++
				}
				mu.Unlock()
			}
		})
	}
	for _, f := range replay.Flaws() {
		if matches.MatchString(f.Name) {
			jobs <- f
		}
	}
	close(jobs)
	wg.Wait()
	if missed > 0 {
		return fmt.Errorf("%d flaws were not found each time", missed)
	}
	return nil
}
