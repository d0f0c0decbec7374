package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Case is one piece of work, done by every contender that can do it.
type Case struct {
	Item  string // of the issue, a to j
	Name  string
	About string // for the table's heading
	Bytes int    // payload of one operation, 0 if that says nothing
	N     int    // readers or waiters
	Unit  string // what one operation is, "" for "op"
	Full  bool   // left out of --quick
	Who   []Contender
}

// A Contender does the work of a case.
type Contender struct {
	Name  string
	Kind  Kind
	Needs string // the tool without which it is missing
	Run   func(*Trial) error
}

// Kind says whose figure it is.
type Kind string

// Kinds of contenders.
const (
	Ours  Kind = "ours"
	Peer  Kind = "peer"
	Limit Kind = "limit" // what the machine takes for the bare operation
	Note  Kind = "one process"
)

// A Trial is one run of one contender: this process, which measures, and those it starts.
type Trial struct {
	Case, Who string
	Role      string   `json:",omitempty"` // "" for the one who measures
	Args      []string `json:",omitempty"`
	Dir       string   // on a tmpfs, of this trial alone
	For       time.Duration
	Size, N   int
	Pin       bool
	Tools     map[string]string

	sample Sample
	hist   *hdrhistogram.Histogram
	began  time.Time
	cpu0   time.Duration
	peers  []int
}

// A Sample is what a trial found.
type Sample struct {
	NS      float64            // by the clock, of one operation
	CPU     float64            // ns of processor time of all processes, of one operation
	Ops     int                //
	Hist    []byte             `json:",omitempty"` // HdrHistogram, V2 compressed
	Threads int                // of all processes
	RSS     int                // bytes, of all processes
	Extra   map[string]float64 `json:",omitempty"`
	Err     string             `json:",omitempty"`
}

const trialEnv = "SHMEM_BENCH_TRIAL"

// roles are what other processes of a trial do, by name.
var roles = map[string]func(*Trial) error{}

// role gives a function a name under which [Trial.Start] runs it in a process of its own.
func role(name string, f func(*Trial) error) string {
	roles[name] = f
	return name
}

// child is main of the processes of a trial.
func child(spec string) {
	// what is written there is never read
	defer runtime.KeepAlive([]any{&sink, &leaked, &localCount})
	var t Trial
	if err := json.Unmarshal([]byte(spec), &t); err != nil {
		fail(err)
	}
	if t.Role != "" {
		if err := roles[t.Role](&t); err != nil {
			fail(fmt.Errorf("%s: %w", t.Role, err))
		}
		return
	}
	go func() { // the parent is gone: end as well
		io.Copy(io.Discard, os.Stdin)
		syscall.Kill(0, syscall.SIGKILL)
	}()
	t.hist = hdrhistogram.New(1, int64(time.Minute), 2)
	if err := t.contender().Run(&t); err != nil {
		t.sample.Err = err.Error()
	}
	if t.hist.TotalCount() > 0 {
		t.sample.Hist, _ = t.hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	}
	err := json.NewEncoder(os.Stdout).Encode(t.sample)
	for _, pid := range t.peers { // they hold our standard error
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		fail(err)
	}
}

func (t *Trial) contender() Contender {
	for _, c := range allCases() {
		for _, w := range c.Who {
			if c.Name == t.Case && w.Name == t.Who {
				return w
			}
		}
	}
	return Contender{Run: func(*Trial) error { return errors.New("no such contender") }}
}

// Path is a file of this trial in shared memory.
func (t *Trial) Path(name string) string { return filepath.Join(t.Dir, name) }

// Await waits for a file that another process of the trial makes.
func (t *Trial) Await(name string) string {
	for range 10_000 {
		if _, err := os.Stat(t.Path(name)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return t.Path(name)
}

// Ready makes a file that another process of the trial waits for.
func (t *Trial) Ready(name string) error { return os.WriteFile(t.Path(name), nil, 0o600) }

// Loop measures run, which does n operations.
func (t *Trial) Loop(run func(n int) error) error {
	// It warms up, and finds out how many take a while. Some memory is touched first after many
	// operations.
	const laps, patience = 64, 200 * time.Millisecond
	n, done := 1, 0
	start := time.Now()
	for time.Since(start) < t.For/5 || done < laps && time.Since(start) < patience {
		t0 := time.Now()
		if err := run(n); err != nil {
			return err
		}
		done += n
		if time.Since(t0) < t.For/50 {
			n *= 2
		}
	}
	t.Begin()
	ops := 0
	for ; time.Since(t.began) < t.For; ops += n {
		if err := run(n); err != nil {
			return err
		}
	}
	t.End(ops)
	return nil
}

// Each measures op, and how its time is distributed: half of the trial it is only counted, then a
// clock is read before and after every call.
func (t *Trial) Each(op func() error) error {
	full := t.For
	t.For /= 2
	err := t.Loop(func(n int) error {
		for range n {
			if err := op(); err != nil {
				return err
			}
		}
		return nil
	})
	t.For = full
	for start := time.Now(); err == nil && time.Since(start) < t.For/2; {
		t0 := time.Now()
		err = op()
		t.Record(time.Since(t0))
	}
	return err
}

// Count measures operations that go on by themselves; count says how many there were so far. It
// takes long enough for both sides to run, also where they have one CPU.
func (t *Trial) Count(count func() int) error {
	time.Sleep(t.For / 5)
	t.Begin()
	before := count()
	time.Sleep(max(t.For, 100*time.Millisecond))
	after := count()
	t.End(after - before)
	if after == before {
		return errors.New("nothing happened")
	}
	return nil
}

// Record adds one latency.
func (t *Trial) Record(d time.Duration) { t.hist.RecordValue(int64(max(d, 1))) }

// Extra adds a figure of its own to the sample.
func (t *Trial) Extra(name string, v float64) {
	if t.sample.Extra == nil {
		t.sample.Extra = map[string]float64{}
	}
	t.sample.Extra[name] = v
}

// Begin starts the clocks; End stops them after so many operations.
func (t *Trial) Begin() { t.cpu0, t.began = t.cpu(), time.Now() }

func (t *Trial) End(ops int) {
	d, cpu := time.Since(t.began), t.cpu()-t.cpu0
	t.sample.Ops, t.sample.NS = ops, float64(d)/float64(ops)
	t.sample.CPU = float64(cpu) / float64(ops)
	t.sample.Threads, t.sample.RSS = t.usage()
}
