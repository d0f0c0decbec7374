//go:build linux

// Chaos runs many processes on a few names, kills them at random, and counts what the library must
// never let happen.
//
//	go run ./tests/chaos -for 30s                  every variant, 30 s in all
//	go run ./tests/chaos -variant mixed -kills 20000
//	go run -tags shmemflaws ./tests/chaos -flaw all -for 15s
//
// The workers open, create, attach, see segments as boxes, own, leak, remove, reclaim, link and close.
// The parent kills one every few milliseconds and stops some for a while; at every step of the library,
// and in Init and Drop, they kill themselves by a small chance. In an audit page, apart from the
// library, each says what it is attached to and what it is about to do; every worker checks by it what
// it sees. After the storm all leave in peace, Reclaim runs, and nothing may be left that was not kept.
//
// In CI, about 20 s and at least 500 kills, and then the flaws that are found soonest:
//
//	go run ./tests/chaos -for 20s -kills 500
//	go run -tags shmemflaws ./tests/chaos -flaw ci
//
// The third command above shows that the checker sees: the library is built with one fault at a time turned
// on (internal/step/flaw.go), and each must be reported; the command fails if one is not.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shmembox/shmem/internal/step"
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
	forFlag  = flag.Duration("for", 30*time.Second, "how long it runs, all variants together; with -flaw how long each flaw may take (15 s, those of ci 5 s)")
	kills    = flag.Int64("kills", 0, "end once there were so many kills, all variants together, and not before -for if that is given as well")
	workers  = flag.Int("workers", 16, "processes at a time, at most 63")
	names    = flag.Int64("names", 4, "names, at most 16; those with odd numbers may be removed, the last third is untyped")
	seed     = flag.Int64("seed", 0, "of the random choices (the order of the processes is not repeatable); 0: by the clock")
	chance   = flag.Int64("chance", 150, "one step in so many is a worker's last")
	killMs   = flag.Int("kill", 4, "milliseconds between kills by the parent, on average")
	which    = flag.String("variant", "all", "variants, separated by commas")
	flaws    = flag.String("flaw", "", "faults, separated by commas, or all, or ci for five that are found soon: shows that the checker finds them; needs -tags shmemflaws")
	asJSON   = flag.Bool("json", false, "print the results as JSON")
	enough   = flag.Uint64("enough", 0, "end a variant after so many violations")
	inner    = flag.Bool("inner", false, "this is a run of its own for another")
	forkFlag = flag.Bool("fork", true, "fork the workers, instead of starting the program anew for each")
	listFlag = flag.Bool("list", false, "list variants and flaws")
)

// quickFlaws are found soonest.
var quickFlaws = []step.Flaw{step.LateInit, step.Replace, step.LateSlot, step.TwoDuties, step.NoDropped}

func command() int {
	flag.Parse()
	if *listFlag {
		for _, v := range variants {
			fmt.Printf("%-8s %s\n", v.name, v.about)
		}
		fmt.Println("flaws:", step.Flaws)
		return 0
	}
	if flag.NArg() > 0 || *workers < 1 || *workers >= maxWorkers || *names < 1 || *names > maxNames || *chance < 2 || *killMs < 1 {
		flag.Usage()
		return 2
	}
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	if *flaws != "" && !*inner {
		return flawed()
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "for" })
	var chosen []variant
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
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "no variant %q\n", *which)
		return 2
	}
	share := *forFlag / time.Duration(len(chosen))
	killShare := (*kills + int64(len(chosen)) - 1) / int64(len(chosen))
	if *kills > 0 && !given {
		share = 0
	}
	var results []*result
	bad := 0
	for _, v := range chosen {
		p := plan{workers: *workers, killMs: *killMs, stopMax: time.Second, duration: share, kills: killShare, enough: *enough, fork: *forkFlag}
		p.config = config{
			names: *names, raw: *names / 3, chance: *chance, remove: 4, links: 1,
			timeout: int64(8 * time.Second), seed: *seed,
		}
		v.set(&p)
		if os.Geteuid() != 0 {
			p.pidns = 0
		}
		var r *result
		if p.tmpfs != 0 && !*inner {
			r = again([]string{"-variant", v.name, "-for", share.String(), "-kills", fmt.Sprint(killShare)}, syscall.CLONE_NEWNS)
		} else {
			if p.tmpfs != 0 {
				// Mounts of ours are nobody else's.
				_ = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
			}
			r = run(v, p, show())
		}
		results = append(results, r)
		if r.Total > 0 || r.Error != "" {
			bad++
		}
		if !*asJSON {
			report(r)
		}
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(results)
	} else {
		total, violations := int64(0), uint64(0)
		for _, r := range results {
			total += r.Kills
			violations += r.Total
		}
		fmt.Printf("%d kills, %d violations\n", total, violations)
	}
	if bad > 0 {
		return 1
	}
	return 0
}

// again runs this program anew with the flags it has and some more, and returns its result.
func again(args []string, clone uintptr) *result {
	fail := func(err error) *result { return &result{Variant: strings.Join(args, " "), Error: err.Error()} }
	exe, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	var all []string
	flag.Visit(func(f *flag.Flag) {
		if f.Name != "json" && f.Name != "variant" && f.Name != "flaw" && f.Name != "enough" && f.Name != "for" && f.Name != "kills" {
			all = append(all, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd := exec.Command(exe, append(append(all, "-inner", "-json"), args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: clone, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig goes by the thread
	out, err := cmd.Output()
	var rs []*result
	if e := json.Unmarshal(out, &rs); e != nil || len(rs) != 1 {
		return fail(fmt.Errorf("%v: %v: %s", err, e, out))
	}
	return rs[0]
}

// flawed shows that the checker finds the faults.
func flawed() int {
	if !step.WithFlaws {
		fmt.Fprintln(os.Stderr, "chaos: -flaw needs a faulty library: go run -tags shmemflaws ./tests/chaos -flaw all")
		return 2
	}
	var list []step.Flaw
	limit := 15 * time.Second
	switch *flaws {
	case "all":
		list = step.Flaws
	case "ci":
		list, limit = quickFlaws, 5*time.Second
	default:
		for _, f := range strings.Split(*flaws, ",") {
			if !slices.Contains(step.Flaws, step.Flaw(f)) {
				fmt.Fprintf(os.Stderr, "chaos: no flaw %q; there are %v\n", f, step.Flaws)
				return 2
			}
			list = append(list, step.Flaw(f))
		}
	}
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "for" {
			limit = *forFlag
		}
	})
	missed := 0
	for _, f := range list {
		_ = os.Setenv("SHMEM_FLAW", string(f))
		if f == step.ByPID && os.Geteuid() != 0 {
			fmt.Printf("%-13s is left out: it needs PID namespaces, and those need root\n", f)
			continue
		}
		v := "mixed"
		if f == step.SameGen || f == step.NoGate {
			v = "duel" // where slots and gates are fought for
		}
		if *which != "all" {
			v = *which
		}
		r := again([]string{"-variant", v, "-flaw", string(f), "-for", limit.String(), "-enough", fmt.Sprint(cmp.Or(*enough, 20))}, 0)
		if r.Error != "" || r.Total == 0 {
			missed++
			fmt.Printf("%-13s MISSED in %.1f s, %d kills %s\n", f, r.Seconds, r.Kills, r.Error)
			continue
		}
		fmt.Printf("%-13s caught: %d violations in %.1f s, the first after %.1f s, %d kills: %s\n", f, r.Total, r.Seconds, r.First, r.Kills, sorted(r.Violations))
	}
	fmt.Printf("%d of %d flaws caught\n", len(list)-missed, len(list))
	if missed > 0 {
		return 1
	}
	return 0
}

func sorted(m map[string]uint64) string {
	var s []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(s, ", ")
}

func report(r *result) {
	fmt.Printf("%-8s %.1f s: %d kills (%d by the parent), %d stops, %d processes, %d violations\n         %s\n",
		r.Variant, r.Seconds, r.Kills, r.ByParent, r.Stops, r.Workers, r.Total, sorted(r.Counts))
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

// show is the progress on a terminal.
func show() func(*parent) {
	st, err := os.Stderr.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 || *inner {
		return nil
	}
	begun := time.Now()
	return func(q *parent) {
		fmt.Fprintf(os.Stderr, "\r%-8s %5.1f s  %d kills  %d cycles  %d violations ", q.res.Variant, time.Since(begun).Seconds(), q.res.Kills, q.a.counts[cycles].Load(), q.violated())
	}
}
