package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts a process of this trial that runs a role. It is killed when the trial ends.
func (t *Trial) Start(role string, args ...string) (*exec.Cmd, error) {
	c := exec.Command("/proc/self/exe")
	sub := Trial{Case: t.Case, Who: t.Who, Role: role, Args: args, Dir: t.Dir, For: t.For,
		Size: t.Size, N: t.N, Tools: t.Tools}
	c.Env = append(os.Environ(), trialEnv+"="+string(must(json.Marshal(sub))))
	return c, t.Launch(c)
}

// Launch starts any program as a process of this trial.
func (t *Trial) Launch(c *exec.Cmd) error {
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if err := startOn(c, t.Pin, 1+len(t.peers)); err != nil {
		return err
	}
	t.peers = append(t.peers, c.Process.Pid)
	return nil
}

// startOn starts a command, on one CPU if pin is set.
func startOn(c *exec.Cmd, pin bool, cpu int) error {
	if !pin {
		return c.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &all)
	one.Set(cpu % runtime.NumCPU())
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return c.Start()
}

// cpu is the processor time of all processes of the trial that live.
func (t *Trial) cpu() (sum time.Duration) {
	for _, pid := range append([]int{os.Getpid()}, t.peers...) {
		sum += processCPU(pid)
	}
	return sum
}

// processCPU reads the process's CPU clock: see clock_getcpuclockid.
func processCPU(pid int) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// usage is the threads and the resident bytes of all processes of the trial. Shared memory counts
// in each that has touched it.
func (t *Trial) usage() (threads, rss int) {
	for _, pid := range append([]int{os.Getpid()}, t.peers...) {
		threads += status(pid, "Threads:")
		rss += status(pid, "VmRSS:") << 10
	}
	return threads, rss
}

func status(pid int, key string) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), key)
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(f[0])
	return n
}

// External runs a program that measures itself: see native/bench.h for what it prints.
func (t *Trial) External(tool string, args ...string) error {
	argv := append(strings.Fields(t.Tools[tool]), args...)
	c := exec.Command(argv[0], argv[1:]...)
	c.Env = append(os.Environ(), fmt.Sprintf("BENCH_MS=%d", t.For.Milliseconds()),
		"BENCH_DIR="+t.Dir,
		fmt.Sprintf("BENCH_SIZE=%d", t.Size), fmt.Sprintf("BENCH_N=%d", t.N))
	if t.Pin {
		c.Env = append(c.Env, "BENCH_PIN=1")
	}
	var complaint bytes.Buffer
	c.Stderr = &complaint
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := startOn(c, t.Pin, 0); err != nil {
		return err
	}
	b, err := io.ReadAll(out)
	if err := c.Wait(); err != nil {
		first, _, _ := strings.Cut(complaint.String(), "\n")
		return fmt.Errorf("%s %w", first, err)
	}
	head, rest, _ := strings.Cut(string(b), "\n")
	var ns, cpu float64
	s := &t.sample
	if _, err := fmt.Sscan(head, &s.Ops, &ns, &cpu, &s.Threads, &s.RSS); err != nil {
		return fmt.Errorf("%s %v printed %q", tool, args, head)
	}
	s.NS, s.CPU = ns/float64(s.Ops), cpu/float64(s.Ops)
	for ; len(rest) >= 8; rest = rest[8:] {
		t.Record(time.Duration(le64(rest)))
	}
	return err
}

func le64(s string) (v uint64) {
	for i := range 8 {
		v |= uint64(s[i]) << (8 * i)
	}
	return v
}

var selfPID = os.Getpid()

func must[T any](v T, err error) T {
	if err != nil {
		fail(err)
	}
	return v
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}
