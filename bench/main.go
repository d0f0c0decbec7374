// Command bench measures ShmemBox beside what a user would pick instead, and beside what the machine
// itself takes, on this machine:
//
//	go run -C bench .                 # everything, about half an hour
//	go run -C bench . --quick         # less of everything, under two minutes
//	go run -C bench . -run roundtrip  # some of it; -list names all
//	go run -C bench . compare OLD.json NEW.json
//	go run -C bench . show FILE.json  # the tables of a run
//
// The tables are Markdown on standard output; -svg DIR draws them, -json FILE keeps every figure.
// All contenders of a case take turns, in processes started anew each time, so that what disturbs the
// machine disturbs all of them, and a ratio is the median of the ratios of the rounds. What is not
// installed is named in the table: Debian's gcc, g++, libboost-dev, python3 and redis-server. So is what
// the module proxy does not serve.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

func main() {
	if spec := os.Getenv(trialEnv); spec != "" {
		child(spec)
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "compare" {
		if err := compare(os.Stdout, os.Args[2], os.Args[3]); err != nil {
			fail(err)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "show" {
		results, err := load(os.Args[2])
		if err != nil {
			fail(err)
		}
		results.report(os.Stdout)
		return
	}
	var (
		quick = flag.Bool("quick", false, "fewer and shorter rounds, fewer sizes: under two minutes")
		run   = flag.String("run", "", "only the cases whose name matches this `regexp`")
		who   = flag.String("who", "", "only the contenders whose name matches this `regexp`")
		round = flag.Int("rounds", 0, "how often each contender is measured (default 11, quick 3)")
		dur   = flag.Duration("for", 0, "how long one turn takes (default 300ms, quick 50ms)")
		pin   = flag.Bool("pin", false, "bind the processes of a trial to one CPU each, in turn")
		dir   = flag.String("dir", "/dev/shm", "where shared memory is")
		out   = flag.String("json", "", "write every figure to this `file`")
		svg   = flag.String("svg", "", "draw a plot for each case in this `directory`")
		list  = flag.Bool("list", false, "name the cases and who takes part, and what is missing")
		one   = flag.Bool("v", false, "print the samples as they come")
	)
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [flags]\n       bench compare OLD.json NEW.json\n       bench show FILE.json")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	r := runner{rounds: 11, dur: 300 * time.Millisecond, quick: *quick, pin: *pin, dir: *dir, verbose: *one}
	if *quick {
		r.rounds, r.dur = 3, 50*time.Millisecond
	}
	if *round > 0 {
		r.rounds = *round
	}
	if *dur > 0 {
		r.dur = *dur
	}
	r.cases, r.who = must(regexp.Compile(*run)), must(regexp.Compile(*who))
	if len(r.selected()) == 0 {
		fail(fmt.Errorf("no case matches -run %q; -list names them", *run))
	}
	r.tools, r.missing = prepareTools()
	if *list {
		r.list()
		return
	}
	if !*quick && *run == "" {
		fmt.Fprintln(os.Stderr, "this takes about half an hour, on a machine that does nothing else; -quick: under two minutes")
	}
	results := r.run()
	if *out != "" {
		if err := results.save(*out); err != nil {
			fail(err)
		}
	}
	results.report(os.Stdout)
	if *svg != "" {
		if err := results.plot(*svg); err != nil {
			fail(err)
		}
	}
	if failed := results.failed(); len(failed) > 0 {
		fail(fmt.Errorf("without a figure: %s", strings.Join(failed, ", ")))
	}
}
