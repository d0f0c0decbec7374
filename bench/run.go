package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Results are what a run found, and what -json keeps.
type Results struct {
	Machine Machine
	Date    time.Time
	Quick   bool
	Pinned  bool
	Rounds  int
	For     time.Duration
	Load    [2]string // average, at the beginning and at the end
	Took    time.Duration
	Cases   []Result
}

// A Result is what a case found.
type Result struct {
	Item, Name, About, Unit string
	Bytes                   int `json:",omitempty"`
	Rows                    []Row
}

// A Row is what a contender found: a sample for every round.
type Row struct {
	Who     string
	Kind    Kind
	Missing string   `json:",omitempty"`
	Samples []Sample `json:",omitempty"`
}

type runner struct {
	rounds         int
	dur            time.Duration
	quick, pin     bool
	verbose        bool
	dir            string
	cases, who     *regexp.Regexp
	tools, missing map[string]string
	done, all      int
	start          time.Time
}

func (r *runner) selected() (cases []Case) {
	for _, c := range allCases() {
		if !r.cases.MatchString(c.Name) || r.quick && c.Full {
			continue
		}
		var who []Contender
		for _, w := range c.Who {
			if r.who.MatchString(w.Name) || w.Kind == Limit {
				who = append(who, w)
			}
		}
		c.Who = who
		cases = append(cases, c)
	}
	return cases
}

func (r *runner) list() {
	for _, c := range r.selected() {
		fmt.Printf("%s %s: %s\n", c.Item, c.Name, c.About)
		for _, w := range c.Who {
			fmt.Printf("    %s (%s)", w.Name, w.Kind)
			if m := r.missing[w.Needs]; m != "" {
				fmt.Printf(" missing: %s", m)
			}
			fmt.Println()
		}
	}
}

func (r *runner) run() *Results {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	cases := r.selected()
	for _, c := range cases {
		r.all += len(c.Who) * r.rounds
	}
	r.start = time.Now()
	res := &Results{Machine: thisMachine(), Date: r.start, Quick: r.quick, Pinned: r.pin,
		Rounds: r.rounds, For: r.dur}
	res.Load[0] = loadAverage()
	for _, c := range cases {
		rows := make([]Row, len(c.Who))
		for round := range r.rounds {
			for i := range c.Who {
				i = (i + round) % len(c.Who) // no contender always follows the loudest
				w, row := c.Who[i], &rows[i]
				row.Who, row.Kind, row.Missing = w.Name, w.Kind, r.missing[w.Needs]
				r.progress(c, w, round)
				if r.done++; row.Missing != "" {
					continue
				}
				s := r.trial(c, w)
				if r.verbose {
					fmt.Fprintf(os.Stderr,
						"%s %s: %.1f ns, cpu %.1f ns, %d ops, %d threads %v %s\n", c.Name, w.Name,
						s.NS, s.CPU, s.Ops, s.Threads, s.Extra, s.Err)
				}
				row.Samples = append(row.Samples, s)
				select {
				case <-interrupted:
					r.clear()
					fail(errors.New("interrupted"))
				default:
				}
			}
		}
		res.Cases = append(res.Cases, Result{c.Item, c.Name, c.About, c.Unit, c.Bytes, rows})
	}
	r.clear()
	res.Load[1], res.Took = loadAverage(), time.Since(r.start)
	return res
}

// trial runs one contender once, in a process group of its own that is killed afterwards.
func (r *runner) trial(c Case, w Contender) (s Sample) {
	dir, err := os.MkdirTemp(r.dir, "shmem-bench-")
	if err != nil {
		return Sample{Err: err.Error()}
	}
	defer func() {
		os.RemoveAll(dir)
		left, _ := filepath.Glob(filepath.Join("/dev/shm", filepath.Base(dir)) + ".*")
		for _, f := range left {
			os.Remove(f)
		}
	}()
	spec := must(json.Marshal(Trial{Case: c.Name, Who: w.Name, Dir: dir, For: r.dur, Size: c.Bytes,
		N: c.N, Pin: r.pin, Tools: r.tools}))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), trialEnv+"="+string(spec))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if _, err = cmd.StdinPipe(); err != nil { // its end is seen by the trial if we die
		return Sample{Err: err.Error()}
	}
	cmd.WaitDelay = time.Second
	if err = startOn(cmd, r.pin, 0); err != nil {
		return Sample{Err: err.Error()}
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	late := time.AfterFunc(20*time.Second+10*r.dur, kill)
	err = cmd.Wait()
	if !late.Stop() {
		err = errors.New("hung, killed")
	}
	kill()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		err = json.Unmarshal(out.Bytes(), &s)
	}
	if err != nil {
		first, _, _ := strings.Cut(errs.String(), "\n")
		s.Err = strings.TrimSpace(err.Error() + " " + first)
	}
	return s
}

func (r *runner) progress(c Case, w Contender, round int) {
	if st, err := os.Stderr.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		if round == 0 && w.Name == c.Who[0].Name {
			fmt.Fprintf(os.Stderr, "%4.0f s  %3d of %d  %s\n", time.Since(r.start).Seconds(),
				r.done, r.all, c.Name)
		}
		return
	}
	left := time.Duration(0)
	if r.done > 0 {
		left = time.Since(r.start) / time.Duration(r.done) * time.Duration(r.all-r.done)
	}
	fmt.Fprintf(os.Stderr, "\r\033[K%d/%d, %v left: %s, round %d, %s", r.done, r.all,
		left.Round(time.Second), c.Name, round+1, w.Name)
}

func (r *runner) clear() {
	if st, err := os.Stderr.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

func (r *Results) save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func load(path string) (*Results, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	return r, json.Unmarshal(b, r)
}
