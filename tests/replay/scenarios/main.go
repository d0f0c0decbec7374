//go:build linux && (amd64 || arm64)

// The command scenarios is built by the rewriter, with the library translated for the simulator,
// and run by package replay and by the command replay.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/shmembox/shmem/tests/replay"
	"github.com/shmembox/shmem/tests/replay/world"
)

var (
	list     = flag.Bool("list", false, "list the scenarios")
	only     = flag.String("run", "", "run the scenarios that match this regular expression")
	how      = flag.String("how", "mix", "random, sticky, pct, walk, or mix of the first three")
	depth    = flag.Int("depth", 3, "of pct: switches; of walk: preemptions")
	seed     = flag.Uint64("seed", 1, "the first seed")
	runs     = flag.Int("runs", 0, "how many runs of each scenario; 0: until -time is over")
	limit    = flag.Duration("time", time.Second, "how long to run each scenario at most")
	schedule = flag.String("schedule", "", "repeat this schedule, and print what happens")
	keep     = flag.Bool("noshrink", false, "do not shrink a failing schedule")
	twice    = flag.Bool("twice", false, "do each run twice: both must be the same")
	first    = flag.Bool("first", false,
		"take turns: 50 runs of each scenario, then 100, and so on; end at the first failure")
	asJSON = flag.Bool("json", false, "print one object for each scenario")
)

func main() {
	flag.Parse()
	debug.SetGCPercent(400)
	matches := regexp.MustCompile(*only)
	if *first {
		takeTurns(matches)
		return
	}
	failed := false
	for _, s := range scenarios {
		switch {
		case !matches.MatchString(s.Name):
		case *list:
			fmt.Println(s.Name)
		case *schedule != "":
			failed = repeat(s) || failed
		default:
			r := explore(s)
			show(r)
			failed = failed || r.Bad()
		}
	}
	if failed {
		os.Exit(1)
	}
}

// takeTurns runs the scenarios in turns, each twice as long as the one before, until one fails or
// the time is over.
func takeTurns(matches *regexp.Regexp) {
	start := time.Now()
	for *runs = 50; time.Since(start) < *limit; *runs *= 2 {
		for _, s := range scenarios {
			if !matches.MatchString(s.Name) || s.Fault != "" {
				continue
			}
			r := explore(s)
			show(r)
			if r.Failure != "" {
				return
			}
		}
		*seed += uint64(*runs)
	}
}

// repeat repeats one schedule.
func repeat(s *world.Scenario) (failed bool) {
	x, err := world.ParseSchedule(strings.TrimPrefix(*schedule, "none"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	res := &replay.Result{Scenario: s.Name, Schedule: *schedule}
	r, trace := s.Trace(x)
	add(res, r)
	res.Trace = trace
	if f := r.Err(); f != nil {
		res.Class, res.Failure = string(f.Class), f.Text
	} else if !*asJSON {
		fmt.Println(strings.Join(trace, "\n"))
	}
	show(res)
	return res.Failure != ""
}

// chooser is the n-th chooser, and its name.
func chooser(n int, seed uint64, length int) (world.Chooser, string) {
	name := *how
	if name == "mix" {
		name = [...]string{"sticky", "pct", "sticky", "random"}[n%4]
	}
	switch name {
	case "sticky":
		return world.Sticky(seed, length), name
	case "pct":
		return world.PCT(seed, length, 2+int(seed)%max(*depth-1, 1)), name
	case "random":
		return world.Random(seed, length), name
	}
	fmt.Fprintf(os.Stderr, "-how %s: unknown\n", name)
	os.Exit(2)
	return nil, ""
}

func explore(s *world.Scenario) *replay.Result {
	start := time.Now()
	res := &replay.Result{Scenario: s.Name, Fault: s.Fault, Wanted: string(s.Class)}
	length := s.Length()
	walk := &world.Walk{Preemptions: *depth}
	most := *runs
	if s.Fault != "" {
		most *= 50 // it is to fail
	}
	end := *limit
	if s.Fault != "" {
		end *= 50
	}
	for n := 0; (most == 0 || n < most) && time.Since(start) < end; n++ {
		sd := *seed + uint64(n)
		again := func() world.Chooser { c, _ := chooser(n, sd, length); return c }
		var r *world.Run
		if *how == "walk" {
			r = s.Do(walk)
		} else {
			r = s.Do(again())
		}
		add(res, r)
		if *twice && *how != "walk" {
			if x := s.Do(again()); x.Hash() != r.Hash() || x.Steps() != r.Steps() {
				res.Failure, res.Seed = "the same seed gives two runs", sd
				res.Class = "not deterministic"
				break
			}
		}
		if f := r.Err(); f != nil {
			res.Took = time.Since(start).Seconds()
			res.Failure, res.Class = f.Text, string(f.Class)
			_, res.How = chooser(n, sd, length)
			res.Seed = sd
			var x world.Schedule
			if *how == "walk" {
				x = walk.Schedule()
			} else {
				_, x = s.Record(again())
			}
			shrink(res, s, x, f.Class)
			break
		}
		if *how == "walk" && !walk.Next() {
			break
		}
	}
	res.Seconds = time.Since(start).Seconds()
	return res
}

func add(res *replay.Result, r *world.Run) {
	res.Runs++
	res.Steps += r.Steps()
	res.Faults += r.Faults()
	res.Hash = res.Hash*31 + r.Hash()
}

func shrink(res *replay.Result, s *world.Scenario, x world.Schedule, class world.Class) {
	if !*keep {
		x, _ = s.Shrink(x, class, 20*time.Second)
	}
	r, trace := s.Trace(x)
	if f := r.Err(); f != nil {
		res.Failure, res.Class = f.Text, string(f.Class)
	} else {
		res.Failure += " (the recorded schedule does not repeat it)"
	}
	res.Schedule, res.Trace = x.String(), trace
}

func show(r *replay.Result) {
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r)
		return
	}
	fmt.Println(r)
}
