// Command doorbells compares the round trip of two processes with the doorbell of Linux, a futex,
// and with the one of the build tag portable, a datagram socket, as on macOS.
//
//	cd bench && go run ./doorbells
//
// It builds the benchmark PingPong of package psync without the tag and with it, and runs both by
// turns, with a bare round trip of datagrams, which no doorbell of sockets can beat. The table has
// the medians of all rounds.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

var (
	rounds = flag.Int("rounds", 7, "rounds")
	trips  = flag.Int("n", 20000, "round trips in a round")
	echo   = flag.String("echo", "", "for the program's own use: a directory")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *echo != "" {
		log.Fatal(answer(*echo))
	}
	dir, err := os.MkdirTemp("", "doorbells-")
	if err == nil {
		err = errors.Join(compare(dir), os.RemoveAll(dir))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// results has the times of round trips by what was measured.
type results map[string][]time.Duration

func (r results) median(what string) time.Duration {
	all := slices.Sorted(slices.Values(r[what]))
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

// ratio returns the median of the ratios of two times of one round.
func (r results) ratio(a, b string) float64 {
	var all []float64
	for i := range min(len(r[a]), len(r[b])) {
		all = append(all, float64(r[a][i])/float64(r[b][i]))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

func compare(dir string) error {
	futex, socket := filepath.Join(dir, "futex.test"), filepath.Join(dir, "socket.test")
	if err := build(futex); err != nil {
		return err
	}
	if err := build(socket, "-tags", "portable"); err != nil {
		return err
	}
	r := results{}
	for range *rounds {
		if err := r.bench("futex", futex, "park|spin|raw"); err != nil {
			return err
		}
		if err := r.bench("socket", socket, "park|spin"); err != nil {
			return err
		}
		d, err := datagrams(dir)
		if err != nil {
			return err
		}
		r["bare datagrams"] = append(r["bare datagrams"], d)
	}
	r.print()
	return nil
}

// build builds the tests of package psync, of the directory above.
func build(to string, flags ...string) error {
	args := append([]string{"-C", "..", "test", "-vet=off", "-c", "-o", to}, flags...)
	out, err := exec.Command("go", append(args, "./psync")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building psync %v: %w\n%s", flags, err, out)
	}
	return nil
}

var line = regexp.MustCompile(`BenchmarkPingPong/(\w+)\S*\s+\d+\s+([\d.]+) ns/op`)

// bench runs the benchmark once, for some of its kinds.
func (r results) bench(doorbell, program, kinds string) error {
	cmd := exec.Command(program, "-test.run=^$", "-test.bench=^BenchmarkPingPong$/^("+kinds+")$",
		fmt.Sprintf("-test.benchtime=%dx", *trips))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", doorbell, err, out)
	}
	for _, m := range line.FindAllSubmatch(bytes.TrimSpace(out), -1) {
		ns, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return err
		}
		what := doorbell + " " + string(m[1])
		r[what] = append(r[what], time.Duration(ns))
	}
	return nil
}

func (r results) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "round trip\tfutex\tsocket\tratio")
	for _, kind := range []string{"park", "spin"} {
		f, s := "futex "+kind, "socket "+kind
		fmt.Fprintf(w, "%s\t%v\t%v\t%.2f\n", kind, r.median(f), r.median(s), r.ratio(s, f))
	}
	bare, futex := "bare datagrams", "futex raw"
	fmt.Fprintf(w, "bare\t%v\t%v\t%.2f\n", r.median(futex), r.median(bare), r.ratio(bare, futex))
	fmt.Fprintf(w, "park over bare\t%.2f\t%.2f\t\n", r.ratio("futex park", futex),
		r.ratio("socket park", bare))
}

// listen makes a socket in a directory.
func listen(dir, name string) (*net.UnixConn, error) {
	return net.ListenUnixgram("unixgram", address(dir, name))
}

func address(dir, name string) *net.UnixAddr {
	return &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unixgram"}
}

// answer answers each datagram until an error.
func answer(dir string) error {
	c, err := listen(dir, "b")
	if err != nil {
		return err
	}
	to, b := address(dir, "a"), make([]byte, 1)
	for {
		if _, err := c.WriteTo(b, to); err != nil {
			return err
		}
		if _, err := c.Read(b); err != nil {
			return err
		}
	}
}

// datagrams returns the time of a round trip of datagrams between two processes.
func datagrams(dir string) (trip time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	c, err := listen(dir, "a")
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = c.Close()
		_ = errors.Join(os.Remove(filepath.Join(dir, "a")), os.Remove(filepath.Join(dir, "b")))
	}()
	peer := exec.Command(self, "-echo", dir)
	peer.Stderr = os.Stderr
	if err := peer.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = errors.Join(peer.Process.Kill(), peer.Wait()) }()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	to, b := address(dir, "b"), make([]byte, 1)
	if _, err := c.Read(b); err != nil { // it is there
		return 0, err
	}
	start := time.Now()
	for range *trips {
		if _, err := c.WriteTo(b, to); err != nil {
			return 0, err
		}
		if _, err := c.Read(b); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / time.Duration(*trips), nil
}
