//go:build linux

// Command queuebench measures queues and topics between two processes, beside what else there is.
//
//	go run ./queues
//
// Every case runs in several rounds, in turn with all others; shown are the median and the least of the time
// a message, and the median of the CPU time a message, of both processes together.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	rounds = flag.Int("rounds", 5, "rounds")
	scale  = flag.Float64("scale", 1, "how many times the usual number of messages")
	only   = flag.String("only", "", "regular expression of the cases to run")
	child  = flag.String("child", "", "")
	base   = flag.String("base", "", "")
	count  = flag.Int("n", 0, "")
)

// A bench is one case. Both sides are made, then run at the same time.
type bench struct {
	group, name string
	n           int
	alone       bool // one process
	here        func(n int) (run func(), done func(), err error)
	there       func(n int) (run func(), done func(), err error)
	bytes       int  // a message, for GB/s
	ownCPU      bool // only the CPU time of the parent counts
}

func cpu() time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	flag.Parse()
	all := benches()
	if *child != "" {
		for _, b := range all {
			if b.group+"/"+b.name == *child {
				serve(b)
			}
		}
		return
	}
	match := regexp.MustCompile(*only)
	all = slices.DeleteFunc(all, func(b bench) bool { return !match.MatchString(b.group + "/" + b.name) })
	times := map[string][]time.Duration{}
	cpus := map[string][]time.Duration{}
	for range *rounds {
		for _, b := range all {
			n := max(int(float64(b.n)**scale), 1)
			wall, used := measure(b, n)
			k := b.group + "/" + b.name
			times[k] = append(times[k], wall*1000/time.Duration(n))
			cpus[k] = append(cpus[k], used*1000/time.Duration(n))
		}
	}
	group := ""
	for _, b := range all {
		if b.group != group {
			group = b.group
			fmt.Printf("\n%-40s %11s %11s %11s %9s\n", group, "ns/message", "least", "CPU ns", "M/s")
		}
		k := b.group + "/" + b.name
		t, c := median(times[k]), median(cpus[k])
		fmt.Printf("  %-38s %11.1f %11.1f %11.1f %9.3f", b.name, t, float64(times[k][0])/1000, c, 1000/t)
		if b.bytes > 0 {
			fmt.Printf(" %8.2f GB/s", float64(b.bytes)/t)
		}
		fmt.Println()
	}
}

// median of times in picoseconds, in nanoseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2]) / 1000
}

func measure(b bench, n int) (wall, used time.Duration) {
	*base = fmt.Sprintf("queuebench-%d", os.Getpid())
	run, done, err := b.here(n)
	must(err)
	defer done()
	var in io.WriteCloser
	var out *bufio.Reader
	var c *exec.Cmd
	if !b.alone {
		c = exec.Command("/proc/self/exe", "-child", b.group+"/"+b.name, "-base", *base, "-n", strconv.Itoa(n))
		c.Stderr = os.Stderr
		c.ExtraFiles = extra
		in, err = c.StdinPipe()
		must(err)
		o, err := c.StdoutPipe()
		must(err)
		out = bufio.NewReader(o)
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(c.Start())
		for _, f := range extra {
			f.Close()
		}
		extra = nil
		_, err = out.ReadString('\n') // ready
		must(err)
	}
	before := cpu()
	start := time.Now()
	if !b.alone {
		fmt.Fprintln(in, "go")
	}
	run()
	if b.ownCPU {
		wall = time.Since(start)
		used = cpu() - before
	}
	if !b.alone {
		line, err := out.ReadString('\n')
		must(err)
		theirs, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		must(err)
		if !b.ownCPU {
			used = time.Duration(theirs)
		}
	}
	if !b.ownCPU {
		wall = time.Since(start)
		used += cpu() - before
	}
	if !b.alone {
		in.Close()
		must(c.Wait())
	}
	return wall, used
}

// extra are files that the child inherits.
var extra []*os.File

func serve(b bench) {
	run, done, err := b.there(*count)
	must(err)
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	_, err = in.ReadString('\n')
	must(err)
	before := cpu()
	run()
	fmt.Println(int64(cpu() - before))
	_, _ = in.ReadString('\n')
	done()
}
