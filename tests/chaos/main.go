//go:build linux

// Chaos runs many processes on a few names, kills them at random, and counts what the library must
// never let happen.
//
//	go run ./tests/chaos -for 30s                  every variant, 30 s in all
//	go run ./tests/chaos -variant mixed -kills 20000
//	go run ./tests/chaos -flaw all -for 15s
//
// The workers open, create, attach, turn segments into boxes, own, leak, remove, reclaim, link and
// close. The parent kills a worker every few milliseconds and stops some for a while. A worker also
// kills itself, with a small chance, at every step of the library and in Init and Drop. Each worker
// writes into an audit page, which is not part of the library, what it is attached to and what it
// is about to do. Each worker checks what it sees against that page. After the kill loop all
// workers leave normally, Reclaim runs, and only kept segments may be left.
//
// The third command shows that the checker works. For each flaw in tests/flaws it builds itself
// with the flaw in the library, and the checker must report a violation; the command fails if one
// is missed. It needs the go command and must run in a checkout.
//
// CI runs every variant for about 20 s and at least 500 kills, then the flaws that are found
// soonest:
//
//	go run ./tests/chaos -for 20s -kills 500
//	go run ./tests/chaos -flaw ci
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shmembox/shmem/tests/flaws"
)

const workerArg = "worker"

func main() {
	if len(os.Args) > 3 && os.Args[1] == workerArg {
		runWorker(os.Args[2:])
		return
	}
	os.Exit(command())
}

var (
	forFlag = flag.Duration("for", 30*time.Second,
		"how long it runs, all variants together; with -flaw how long each flaw may take "+
			"(15 s, those of ci 5 s)")
	kills = flag.Int64("kills", 0,
		"end after so many kills, all variants together, and not before -for if that is given as "+
			"well")
	workers = flag.Int("workers", 16, "processes at a time, at most 63")
	names   = flag.Int64("names", 4,
		"names, at most 16; those with odd numbers may be removed, the last third is untyped")
	seed = flag.Int64("seed", 0,
		"of the random choices (the order of the processes is not repeatable); 0: by the clock")
	chance   = flag.Int64("chance", 150, "one step in so many is a worker's last")
	killMs   = flag.Int("kill", 4, "milliseconds between kills by the parent, on average")
	which    = flag.String("variant", "all", "variants, separated by commas")
	flawFlag = flag.String("flaw", "",
		"show that the checker finds these flaws: names separated by commas, or all, "+
			"or ci for five that are found soon")
	asJSON   = flag.Bool("json", false, "print the results as JSON")
	enough   = flag.Uint64("enough", 0, "end a variant after so many violations")
	inner    = flag.Bool("inner", false, "for the program's own use: one variant")
	forkFlag = flag.Bool("fork", true, "fork the workers instead of starting each as a program")
	listFlag = flag.Bool("list", false, "list variants and flaws")
)

func command() int {
	flag.Parse()
	if *listFlag {
		list()
		return 0
	}
	if flag.NArg() > 0 || *workers < 1 || *workers >= maxWorkers || *names < 1 ||
		*names > maxNames ||
		*chance < 2 || *killMs < 1 {
		flag.Usage()
		return 2
	}
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	if *flawFlag != "" && !*inner {
		return catchFlaws()
	}
	chosen := chooseVariants()
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "no variant %q\n", *which)
		return 2
	}
	share := len(chosen)
	polite := func(v variant) bool { return v.name == "polite" }
	if share > 1 && slices.ContainsFunc(chosen, polite) {
		share-- // it kills none
	}
	var results []*result
	for _, v := range chosen {
		r := runVariant(v, share)
		results = append(results, r)
		if !*asJSON {
			report(r)
		}
	}
	return summarise(results)
}

func list() {
	for _, v := range variants {
		fmt.Printf("%-8s %s\n", v.name, v.about)
	}
	fmt.Println("flaws:", strings.Join(flaws.Names(flaws.Lifecycle), " "))
}

// given reports whether a flag was set on the command line.
func given(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// chooseVariants returns the variants of -variant, without those that need root and do not have it.
func chooseVariants() (chosen []variant) {
	for _, v := range variants {
		if *which != "all" && !slices.Contains(strings.Split(*which, ","), v.name) {
			continue
		}
		if v.root && os.Geteuid() != 0 {
			fmt.Fprintf(os.Stderr, "%s is left out: it needs root\n", v.name)
			continue
		}
		chosen = append(chosen, v)
	}
	return chosen
}

// planOf returns what one of count variants does: its share of the time and of the kills.
func planOf(v variant, count int) plan {
	p := plan{
		workers: *workers, killMs: *killMs, stopMax: time.Second, enough: *enough, fork: *forkFlag,
		duration: *forFlag / time.Duration(count),
		kills:    (*kills + int64(count) - 1) / int64(count),
		config: config{
			names: *names, raw: *names / 3, chance: *chance, remove: 4, links: 1,
			timeout: int64(8 * time.Second), seed: *seed,
		},
	}
	if *kills > 0 && !given("for") {
		p.duration = 0
	}
	v.set(&p)
	if os.Geteuid() != 0 {
		p.pidns = 0
	}
	return p
}

// runVariant runs one of count variants. A variant with a tmpfs of its own runs in another process,
// which has a mount namespace of its own.
func runVariant(v variant, count int) *result {
	p := planOf(v, count)
	if p.tmpfs == 0 {
		return run(v, p, progress())
	}
	if !*inner {
		args := []string{"-variant", v.name, "-for", p.duration.String(), "-kills",
			fmt.Sprint(p.kills)}
		return runApart("", args, syscall.CLONE_NEWNS)
	}
	_ = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	return run(v, p, progress())
}

// runApart runs a program, this one if exe is "", with the flags of this process and args, and
// returns its only result.
func runApart(exe string, args []string, clone uintptr) *result {
	fail := func(err error) *result {
		return &result{Variant: strings.Join(args, " "), Error: err.Error()}
	}
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return fail(err)
		}
	}
	var all []string
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "json", "variant", "flaw", "enough", "for", "kills": // args have them
		default:
			all = append(all, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd := exec.Command(exe, append(append(all, "-inner", "-json"), args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: clone, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is sent when the thread that started cmd ends
	out, err := cmd.Output()
	var results []*result
	if e := json.Unmarshal(out, &results); e != nil || len(results) != 1 {
		return fail(fmt.Errorf("%v: %v: %s", err, e, out))
	}
	return results[0]
}
