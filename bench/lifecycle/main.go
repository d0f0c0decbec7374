//go:build linux

// Command lifecycle measures opening and closing beside the bare system calls, many openings at
// once, opening beside processes that open for reading, and a writer beside readers.
//
//	cd bench && go run ./lifecycle
//
// Contenders take turns, round by round. A ratio is the median of the rounds' ratios.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

var (
	rounds = flag.Int("rounds", 11, "rounds")
	reader = flag.String("reader", "", "for the program's own use: what a reader reads")
	dir    = flag.String("dir", "", "for the program's own use: its directory")
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	flag.Parse()
	if *reader != "" {
		read(*reader)
		return
	}
	d, err := os.MkdirTemp("/dev/shm", "lifecycle-")
	must(err)
	defer os.RemoveAll(d)
	must(os.Chmod(d, 0o755)) // for readers of another user
	*dir = d
	fmt.Printf("%s, %d CPUs, %d rounds\n", runtime.Version(), runtime.NumCPU(), *rounds)
	opening()
	atOnce()
	besideOpeners()
	besideReaders()
}

// cpuTime is the processor time of this process. Other work on the machine changes it less than
// the time by the clock.
func cpuTime() time.Duration {
	var ts unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts))
	return time.Duration(ts.Nano())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// ratio returns the median of the ratios of each round.
func ratio(v, to []float64) float64 {
	r := make([]float64, len(v))
	for i := range v {
		r[i] = v[i] / to[i]
	}
	return median(r)
}
