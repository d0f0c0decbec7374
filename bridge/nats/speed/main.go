// Command speed measures the bridge beside bare nats.go. Both hosts and both ways are in this
// process, the server in another. Each round measures all, one after the other, and the bare
// publishing that the others are compared with before and after each of them: what else the machine
// does falls on both. The medians of the ratios are printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/shmembox/shmem/bridge/nats/embedded"
)

// A message has 64 bytes.
type message struct {
	N   uint64
	Pad [56]byte
}

// A bench is a server, and the directories of two hosts.
type bench struct {
	url, a, b string
	server    int // process
	serial    int // makes names
}

// A way is something that moves n messages.
type way struct {
	name string
	aim  float64 // of the ratio to bare publishing; 0: none
	more int     // times n
	do   func(ctx context.Context, x *bench, n int) (figure, error)
}

var ways = []way{
	{"topic, packed", 3, 4, topicPacked},
	{"topic, each alone", 0.3, 1, topicAlone},
	{"  bare nats.go, as much done", 0, 1, bareOrdered},
	{"queue, 256 leases", 0.3, 4, queuePacked},
	{"queue, each alone", 0, 1, queueAlone},
	{"  bare nats.go, as much done", 0, 1, bareWork},
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "server" {
		if err := serve(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	n := flag.Int("n", 10_000, "messages a round; four times as many where packed")
	rounds := flag.Int("rounds", 9, "rounds")
	only := flag.String("only", "", "measure only what begins so, and box")
	profile := flag.String("cpuprofile", "", "write a profile to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	if err := run(context.Background(), *n, *rounds, *only); err != nil {
		log.Print(err)
	}
}

func run(ctx context.Context, n, rounds int, only string) error {
	// As the command does: both hosts, and the program that waits for the mirror, are here.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 4)
	x := &bench{}
	store, err := os.MkdirTemp("", "bridge-speed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(store)
	for _, dir := range []*string{&x.a, &x.b} {
		if *dir, err = os.MkdirTemp("/dev/shm", "bridge-speed-"); err != nil {
			return err
		}
		defer os.RemoveAll(*dir)
	}
	end, err := x.start(store)
	if err != nil {
		return err
	}
	defer end()
	if only == "" || only == "box" {
		if err := x.box(ctx, 200*rounds); err != nil {
			return err
		}
	}
	base, all := series{}, make([]series, len(ways))
	for range rounds {
		before, err := bare(ctx, x, n)
		if err != nil {
			return err
		}
		base.figures = append(base.figures, before)
		for i, w := range ways {
			if !strings.HasPrefix(w.name, only) {
				continue
			}
			f, err := w.do(ctx, x, n*w.more)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			after, err := bare(ctx, x, n)
			if err != nil {
				return err
			}
			base.figures = append(base.figures, after)
			all[i].figures = append(all[i].figures, f)
			all[i].ratios = append(all[i].ratios, 2*f.rate/(before.rate+after.rate))
			before = after
		}
	}
	fmt.Printf("%-30s %10s %8s %16s %6s %12s %12s\n", "64 B, medians", "a second", "ratio",
		"least to most", "aim", "CPU here", "CPU server")
	base.print("bare asynchronous publish", 0)
	for i, w := range ways {
		all[i].print(w.name, w.aim)
	}
	return nil
}

// A figure is messages a second, and the CPU of this process and of the server a message.
type figure struct {
	rate         float64
	here, server time.Duration
}

// A series is what some rounds have measured.
type series struct {
	figures []figure
	ratios  []float64
}

func (s *series) print(name string, aim float64) {
	if len(s.figures) == 0 {
		return
	}
	fmt.Printf("%-30s %10.0f", name, median(s.figures, func(f figure) float64 { return f.rate }))
	if len(s.ratios) > 0 {
		fmt.Printf(" %8.2f %16s", median(s.ratios, func(r float64) float64 { return r }),
			fmt.Sprintf("%.2f to %.2f", slices.Min(s.ratios), slices.Max(s.ratios)))
	} else {
		fmt.Printf(" %8s %16s", "1", "")
	}
	want := ""
	if aim > 0 {
		want = fmt.Sprint(aim)
	}
	cpu := func(of func(figure) time.Duration) time.Duration {
		return time.Duration(median(s.figures, func(f figure) float64 { return float64(of(f)) }))
	}
	fmt.Printf(" %6s %12v %12v\n", want, cpu(func(f figure) time.Duration { return f.here }),
		cpu(func(f figure) time.Duration { return f.server }))
}

func median[T any](all []T, of func(T) float64) float64 {
	var v []float64
	for _, x := range all {
		v = append(v, of(x))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// serve is the child process with the server. It ends with its parent.
func serve(store string) error {
	s, err := embedded.Start(store, -1)
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// start starts a server in a process of its own.
func (x *bench) start(store string) (end func(), err error) {
	cmd := exec.Command("/proc/self/exe", "server", store)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if _, err := fmt.Fscanln(out, &x.url); err != nil {
		end()
		return nil, err
	}
	x.server = cmd.Process.Pid
	return end, nil
}

// timed measures f, which moves n messages.
func (x *bench) timed(n int, f func() error) (figure, error) {
	here, there, begun := used(os.Getpid()), used(x.server), time.Now()
	err := f()
	d := time.Since(begun)
	return figure{float64(n) / d.Seconds(), (used(os.Getpid()) - here) / time.Duration(n),
		(used(x.server) - there) / time.Duration(n)}, err
}

// used returns the CPU time of a process, in steps of 10 ms.
func used(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	fields := strings.Fields(rest) // from the third on; see proc(5)
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// name returns a new name.
func (x *bench) name(kind string) string {
	x.serial++
	return fmt.Sprintf("%s%d", kind, x.serial)
}
