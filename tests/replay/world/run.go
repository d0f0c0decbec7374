package world

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config bounds the runs of a scenario.
type Config struct {
	// Kills, Stops, Cancels, Wakes (spurious ones), Jumps of the clock, Forks and Errors (of
	// system calls) are how many faults of each kind a run may have.
	Kills, Stops, Cancels, Wakes, Jumps, Forks, Errors int
	// Errnos are the errors that a system call may return in place of its effect, as the call
	// allows. EINTR is always among them.
	Errnos []error
	// Idle is how much simulated time may pass while no thread can go on and no fault excuses it.
	// It is shorter than every look of the library, so that no look hides a lost wake-up.
	// Default: 1 ms.
	Idle time.Duration
	// Early is a time in which timers may fire though threads can go on: 1 of so many decisions.
	// 0: never.
	Early int
	// Local makes process-local atomics, locks and channels points as well. It is for scenarios
	// in which goroutines of one process meet.
	Local bool
	// CPUs is runtime.NumCPU of the simulated machine. With 1, the default, the library does not
	// spin.
	CPUs int
	// Steps is the length of a run that counts as one without an end. Default: 20,000.
	Steps int
	// Vars sets package variables of the library in every process, by package and name as in
	// "internal/wait.backstop".
	Vars map[string]any
}

func (c Config) filled() Config {
	if c.Idle == 0 {
		c.Idle = time.Millisecond
	}
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	if c.Steps == 0 {
		c.Steps = 20000
	}
	return c
}

func (c Config) budget() [kinds]int {
	return [kinds]int{kill: c.Kills, stop: c.Stops, cancel: c.Cancels, spurious: c.Wakes,
		jump: c.Jumps, fork: c.Forks, fault: c.Errors}
}

// A Scenario is a set of processes and of what must hold.
type Scenario struct {
	Name   string
	Config Config
	// Fault names a fault of the library that the scenario shows and that is not mended yet: the
	// scenario is to fail, with this class.
	Fault string
	Class Class
	// Setup makes the processes and their threads. It runs before the first decision.
	Setup func(r *Run)
}

// A Class is the oracle that a failure comes from.
type Class string

// Classes of failures.
const (
	Broken   Class = "broken"   // the scenario's own promise
	Hang     Class = "hang"     // a thread waits longer than Config.Idle
	Deadlock Class = "deadlock" // no thread can go on, now or later
	Livelock Class = "livelock" // more than Config.Steps
	Panicked Class = "panic"    // or a fault
)

// A Failure says what does not hold.
type Failure struct {
	Class Class
	Text  string
}

func (f *Failure) Error() string { return string(f.Class) + ": " + f.Text }

// stepTime is how much simulated time a point takes, in nanoseconds: spinning loops end.
const stepTime = 10

// A Run is one run of a scenario.
type Run struct {
	Config  Config
	threads []*Thread
	procs   []*Process
	cur     *Thread  // whose coroutine runs; nil in the scheduler and in set-up code
	last    *Thread  // that ran last
	as      *Process // set-up code runs as this process, without points

	chooser   Chooser
	until     int // up to this step the running thread goes on
	attention bool
	pending   *action
	options   []action
	budget    [kinds]int // faults left
	recording bool
	record    Schedule

	looks   int // calls of Now
	now     int64
	idle    int64 // nanoseconds that passed without an excuse
	timers  []*Timer
	ctxs    []*Context
	checks  []func() error
	steps   int
	hash    uint64
	rand    uint64
	failure *Failure
	ended   bool
	trace   *Trace
}

// w is the run in progress. There is one at a time.
var w *Run

// Hooks that package kernel sets: what starts and ends with a run.
var (
	Boot, Halt func(r *Run)
)

// Do runs the scenario once.
func (s *Scenario) Do(c Chooser) *Run { return s.do(&Run{chooser: c}) }

// Record runs the scenario once and notes its decisions: the schedule repeats the run.
func (s *Scenario) Record(c Chooser) (*Run, Schedule) {
	r := s.do(&Run{chooser: c, recording: true})
	return r, r.record.compact()
}

// Trace repeats a schedule and says what happens.
func (s *Scenario) Trace(x Schedule) (*Run, []string) {
	r := s.do(&Run{chooser: Play(x), trace: &Trace{}})
	return r, r.trace.Lines
}

func (s *Scenario) do(r *Run) *Run {
	w = r
	w.Config, w.hash = s.Config.filled(), 14695981039346656037
	w.budget = w.Config.budget()
	w.chooser.begin(w)
	if Boot != nil {
		Boot(w)
	}
	w.setup(s.Setup)
	w.loop()
	if Halt != nil {
		Halt(w)
	}
	return w
}

func (w *Run) setup(f func(*Run)) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(*Failure)
			if !ok {
				panic(r)
			}
			w.fail(&Failure{f.Class, "in set-up: " + f.Text})
		}
	}()
	f(w)
}

// Process makes a simulated process. The faults of the configuration may hit it.
func (w *Run) Process(name string) *Process {
	p := &Process{ID: len(w.procs), PID: 1000 + len(w.procs), Name: name, killable: true,
		stoppable: true}
	p.files.name = name
	w.procs = append(w.procs, p)
	return p
}

// Processes lists them all.
func (w *Run) Processes() []*Process { return w.procs }

// Do runs set-up code as the process: at once, and without points.
func (p *Process) Do(f func()) {
	old, cur := w.as, w.cur
	w.as, w.cur = p, nil
	defer func() { w.as, w.cur = old, cur }()
	f()
}

// Go adds a thread whose end the run waits for.
func (p *Process) Go(name string, f func()) *Thread {
	t := w.spawn(p, p.Name+"."+name, f)
	t.main = true
	return t
}

// Spawn is the go statement of the library: it adds a thread that the run does not wait for.
func Spawn(f func()) {
	p := Current()
	w.spawn(p, fmt.Sprintf("%s.go%d", p.Name, len(p.threads)), f)
	Local()
}

// Current is the process whose code runs.
func Current() *Process {
	if w == nil {
		return nil
	}
	if w.cur != nil {
		return w.cur.Proc
	}
	return w.as
}

// Check adds what must hold when the run is over.
func (w *Run) Check(f func() error) { w.checks = append(w.checks, f) }

// Fail ends the run: a promise of the scenario does not hold.
func Fail(format string, args ...any) { panic(&Failure{Broken, fmt.Sprintf(format, args...)}) }

func (w *Run) fail(f *Failure) {
	if w.failure == nil && !w.ended {
		w.failure = f
		w.ended = true
	}
}

// Err is what did not hold, nil if all did.
func (w *Run) Err() *Failure { return w.failure }

// Steps is how many points the run reached, Hash a digest of all that happened.
func (w *Run) Steps() int   { return w.steps }
func (w *Run) Hash() uint64 { return w.hash }

// Killed reports whether a process was killed.
func (w *Run) Killed() bool {
	for _, p := range w.procs {
		if p.killed {
			return true
		}
	}
	return false
}

// Faults is how many faults the run had.
func (w *Run) Faults() (n int) {
	for k, left := range w.budget {
		n += w.Config.budget()[k] - left
	}
	return n
}

func (w *Run) mix(v uint64) { w.hash = (w.hash ^ v) * 0x100000001b3 }

func (w *Run) over() bool {
	for _, t := range w.threads {
		if t.main && !t.done {
			return false
		}
	}
	return true
}

func (w *Run) loop() {
	for !w.ended && !w.over() {
		a := w.pending
		w.pending = nil
		if a == nil {
			next := w.next()
			a = &next
		}
		if !w.ended {
			w.perform(*a)
		}
	}
	w.closing()
	w.ended = true
	if w.failure != nil {
		Note("** %v", w.failure)
	}
	for _, t := range w.threads {
		if !t.done {
			t.dead = true
			w.resume(t)
		}
	}
}

// closing runs the checks, unless the run has failed.
func (w *Run) closing() {
	if w.failure != nil {
		return
	}
	w.settle()
	w.setup(func(*Run) {
		for _, f := range w.checks {
			if err := f(); err != nil {
				w.fail(&Failure{Broken, err.Error()})
				return
			}
		}
	})
}

// Running is the run in progress.
func Running() *Run { return w }

// Faulty reports whether system calls may still fail, Allowed whether Config.Errnos has err.
func Faulty() bool { return w != nil && w.budget[fault] > 0 && w.cur != nil }

// Allowed reports whether a system call may fail with err.
func Allowed(err error) bool { return slices.Contains(w.Config.Errnos, err) }

// settle carries out what the kernel has still to do for dead processes and for forked children.
func (w *Run) settle() {
	for _, p := range w.procs {
		for i := range p.forks {
			p.forks[i].empty()
		}
		if p.killed {
			p.files.empty()
			p.told = true
		}
	}
}

// Point comes before everything that another thread can see.
func Point() { point(nil) }

// Call is the point of a system call, which may return one of errs in place of its effect.
func Call(errs ...error) error {
	if w == nil || w.cur == nil {
		return nil
	}
	t := w.cur
	t.calls++
	t.errno = nil
	point(errs)
	err := t.errno
	t.errno = nil
	return err
}

func point(errs []error) {
	if w == nil || w.cur == nil {
		return
	}
	t := w.cur
	if t.dead {
		panic(unwind{})
	}
	t.points++
	w.steps++
	w.now += stepTime
	if t.held != nil && t.points == t.hold {
		t.await()
	}
	if w.steps < w.until && !w.attention {
		return
	}
	t.callErrs = errs
	a := w.next()
	if w.ended || a.kind != run || a.t != t {
		w.pending = &a
		t.pause()
	}
	t.callErrs = nil
}

// Local is the point of something that only this process sees.
func Local() {
	if w != nil && w.cur != nil && (w.Config.Local || w.cur.dead) {
		point(nil)
	}
}

// Yield is a point of the scenario itself, such as one between a load and a store of plain memory.
func Yield(what string) {
	Point()
	Note("%s", what)
}

// Relax is a point at which the running thread asks for others to go on: a spinning loop.
func Relax(nanoseconds int64) {
	if w == nil || w.cur == nil {
		return
	}
	w.now += nanoseconds
	w.chooser.relaxed(w, w.cur)
	Point()
}

func (w *Run) waiting() string {
	var b strings.Builder
	for _, t := range w.threads {
		if t.done || t.dead {
			continue
		}
		fmt.Fprintf(&b, "\n  %s", t.Name)
		switch {
		case t.Proc.stopped:
			b.WriteString(" is stopped")
		case t.blocked:
			for i, k := range t.keys {
				b.WriteString([]string{" waits for ", " or "}[min(i, 1)] + k.String())
			}
		}
	}
	return b.String()
}
