//go:build linux

// Command queues measures queues and topics between two processes, beside other ways to pass
// messages.
//
//	cd bench && go run ./queues
//	cd bench && go run ./queues -limits
//
// -limits runs the cases that have a limit, and prints a table of the ratios, in 4 minutes.
//
// Every case runs in several rounds, in turn with all others. The table shows the median and the
// least of the time a message, and the median of the CPU time a message, of both processes
// together.
package main

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"time"
)

var (
	rounds = flag.Int("rounds", 5, "rounds")
	scale  = flag.Float64("scale", 1, "how many times the usual number of messages")
	only   = flag.String("only", "", "regular expression of the cases to run")
	table  = flag.Bool("limits", false, "print a table of the cases beside their limits")
	child  = flag.String("child", "", "for the program's own use: the case")
	base   = flag.String("base", "", "for the program's own use: prefix of the names")
	count  = flag.Int("n", 0, "for the program's own use: messages")
)

// A side is one of the two processes of a case. Only run is measured. The side that creates what
// both use is opened first.
type side interface {
	open()
	run(n int)
	close()
}

// A bench is one case.
type bench struct {
	group, name string
	n           int  // messages, at -scale 1
	here        side // in this process
	there       side // in the other process; nil: there is none
	bytes       int  // of a message, for GB/s; 0: not shown
	ownCPU      bool // only the CPU time of the thread that runs here counts
}

func (b *bench) key() string { return b.group + "/" + b.name }

// A series has what was measured of one case, in picoseconds a message.
type series struct{ wall, cpu []time.Duration }

func benches() []bench {
	var all []bench
	all = append(all, items[small]("8 bytes one by one", 1, 3_000_000)...)
	all = append(all, items[line]("64 bytes one by one", 1, 2_000_000)...)
	for _, k := range []int{1, 2, 4} {
		all = append(all, crowds[small]("8 bytes", k, 1_000_000)...)
		all = append(all, crowds[line]("64 bytes", k, 1_000_000)...)
	}
	all = append(all, sizes()...)
	all = append(all, items[small]("8 bytes in batches of 32", 32, 10_000_000)...)
	all = append(all, items[line]("64 bytes in batches of 32", 32, 5_000_000)...)
	all = append(all, roundTrips()...)
	for _, n := range []int{64, 4096, 65536, 1 << 20} {
		all = append(all, lengths(n)...)
	}
	for _, n := range []int{1, 8, 64} {
		all = append(all, fanOut(n)...)
	}
	return all
}

func main() {
	flag.Parse()
	all := benches()
	if *child != "" {
		i := slices.IndexFunc(all, func(b bench) bool { return b.key() == *child })
		serve(&all[i])
		return
	}
	match := regexp.MustCompile(*only)
	all = slices.DeleteFunc(all, func(b bench) bool {
		return !match.MatchString(b.key()) || *table && !wanted(&b)
	})
	measured := make([]series, len(all))
	for range *rounds {
		for i := range all {
			n := max(int(float64(all[i].n)**scale), 1)
			wall, cpu := measure(&all[i], n)
			measured[i].wall = append(measured[i].wall, wall*1000/time.Duration(n))
			measured[i].cpu = append(measured[i].cpu, cpu*1000/time.Duration(n))
		}
	}
	if *table {
		printLimits(all, measured)
		return
	}
	group := ""
	for i, b := range all {
		if b.group != group {
			group = b.group
			fmt.Printf("\n%-40s %11s %11s %11s %9s\n", group, "ns/message", "least", "CPU ns",
				"M/s")
		}
		printRow(&b, &measured[i])
	}
}

// printRow prints the row of one case.
func printRow(b *bench, s *series) {
	wall, cpu := median(s.wall), median(s.cpu)
	least := float64(s.wall[0]) / 1000 // median has sorted them
	fmt.Printf("  %-38s %11.1f %11.1f %11.1f %9.3f", b.name, wall, least, cpu, 1000/wall)
	if b.bytes > 0 {
		fmt.Printf(" %8.2f GB/s", float64(b.bytes)/wall)
	}
	fmt.Println()
}

// median sorts times in picoseconds and returns their median in nanoseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2]) / 1000
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
