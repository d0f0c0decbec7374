// Command bench measures ShmemBox beside what a user would pick instead, and beside what the
// machine itself takes, on this machine:
//
//	go run -C bench .                 # everything, about half an hour
//	go run -C bench . --quick         # less of everything, under two minutes
//	go run -C bench . -run roundtrip  # some of it; -list names all
//	go run -C bench . compare OLD.json NEW.json
//	go run -C bench . show FILE.json  # the tables of a run
//
// The tables are Markdown on standard output; -svg DIR draws them, -json FILE keeps every figure.
// All contenders of a case take turns, in processes started anew each time, so that what disturbs
// the machine disturbs all of them, and a ratio is the median of the ratios of the rounds. What is
// not installed is named in the table: Debian's gcc, g++, libboost-dev, python3 and redis-server.
// So is what the module proxy does not serve.
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
	if err := command(); err != nil {
		fail(err)
	}
}

// command does what the command line says.
func command() error {
	if len(os.Args) == 4 && os.Args[1] == "compare" {
		return compare(os.Stdout, os.Args[2], os.Args[3])
	}
	if len(os.Args) == 3 && os.Args[1] == "show" {
		results, err := load(os.Args[2])
		if err == nil {
			results.report(os.Stdout)
		}
		return err
	}
	r, list, o := flags()
	if len(r.selected()) == 0 {
		return fmt.Errorf("no case matches -run %q; -list names them", r.cases)
	}
	r.tools, r.missing = prepareTools()
	if list {
		r.list()
		return nil
	}
	if !r.quick && r.cases.String() == "" {
		fmt.Fprintln(os.Stderr, "this takes about half an hour, on a machine that does nothing "+
			"else; -quick: under two minutes")
	}
	return o.write(r.run())
}

// An output says where the figures go, besides the tables on standard output.
type output struct {
	json string // file of every figure; "": none
	svg  string // directory of the plots; "": none
}

// flags reads the command line.
func flags() (r runner, list bool, o output) {
	r = runner{rounds: 11, dur: 300 * time.Millisecond}
	flag.BoolVar(&r.quick, "quick", false,
		"fewer and shorter rounds, fewer sizes: under two minutes")
	flag.BoolVar(&r.pin, "pin", false, "bind the processes of a trial to one CPU each, in turn")
	flag.StringVar(&r.dir, "dir", "/dev/shm", "where shared memory is")
	flag.BoolVar(&r.verbose, "v", false, "print the samples as they come")
	flag.BoolVar(&list, "list", false, "name the cases and who takes part, and what is missing")
	flag.StringVar(&o.json, "json", "", "write every figure to this `file`")
	flag.StringVar(&o.svg, "svg", "", "draw a plot for each case in this `directory`")
	run := flag.String("run", "", "only the cases whose name matches this `regexp`")
	who := flag.String("who", "", "only the contenders whose name matches this `regexp`")
	rounds := flag.Int("rounds", 0, "how often each contender is measured (default 11, quick 3)")
	dur := flag.Duration("for", 0, "how long one turn takes (default 300ms, quick 50ms)")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [flags]\n"+
			"       bench compare OLD.json NEW.json\n       bench show FILE.json")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if r.quick {
		r.rounds, r.dur = 3, 50*time.Millisecond
	}
	if *rounds > 0 {
		r.rounds = *rounds
	}
	if *dur > 0 {
		r.dur = *dur
	}
	r.cases, r.who = must(regexp.Compile(*run)), must(regexp.Compile(*who))
	return r, list, o
}

// write writes the results. It returns an error for cases without a figure.
func (o output) write(results *Results) error {
	if o.json != "" {
		if err := results.save(o.json); err != nil {
			return err
		}
	}
	results.report(os.Stdout)
	if o.svg != "" {
		if err := results.plot(o.svg); err != nil {
			return err
		}
	}
	if failed := results.failed(); len(failed) > 0 {
		return fmt.Errorf("without a figure: %s", strings.Join(failed, ", "))
	}
	return nil
}
