package world

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
)

// A Thread is one goroutine of a simulated process.
type Thread struct {
	ID   int
	Name string
	Proc *Process

	main      bool // the run is over when all threads with main have ended
	calls     int  // system calls
	points    int  // how many points and other places of decisions it has reached
	co        *coroutine
	done      bool
	dead      bool  // its process was killed: it unwinds at its next point
	blocked   bool  // it cannot go on until wake
	keys      []Key // what it is blocked on
	deadline  int64 // when it goes on without a wake-up; 0: never
	timedOut  bool
	until     func() bool // it goes on when this holds
	hold      int         // at this point it waits until held
	held      func() bool // nil: it does not
	interrupt bool        // a spurious wake-up
	errno     error       // the error that the kernel returns for the system call at hand
	callErrs  []error
	priority  int
}

// A Key is what a thread can be blocked on.
type Key struct {
	Kind Kind
	A, B uintptr
}

// Kind is the kind of a Key.
type Kind byte

// Kinds of keys.
const (
	Channel Kind = iota + 1
	Lock
	Futex
	End // of a process
	Sleeping
	Condition // of the scenario
)

func (k Key) String() string {
	name := [...]string{"?", "a channel", "a lock", "a futex", "the end of a process", "sleep",
		"the scenario"}[k.Kind]
	if k.Kind == Futex {
		return fmt.Sprintf("%s at %d", name, k.B)
	}
	return name
}

// unwind is the panic by which a thread of a killed process ends. Its deferred functions run, but
// every point in them panics again, so that they change nothing that others see.
type unwind struct{}

// A coroutine runs one thread after the other: its stack has its size already.
type coroutine struct {
	resume func() (struct{}, bool)
	yield  func(struct{}) bool
	job    func()
}

var idle []*coroutine

func takeCoroutine(job func()) *coroutine {
	if n := len(idle); n > 0 {
		c := idle[n-1]
		idle = idle[:n-1]
		c.job = job
		return c
	}
	c := &coroutine{job: job}
	c.resume, _ = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		debug.SetPanicOnFault(true) // a fault fails the run, not the test process
		for {
			c.job()
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return c
}

func (w *Run) spawn(p *Process, name string, f func()) *Thread {
	t := &Thread{ID: len(w.threads), Name: name, Proc: p}
	w.threads = append(w.threads, t)
	p.threads = append(p.threads, t)
	w.attention = true
	w.chooser.born(w, t)
	t.co = takeCoroutine(func() { t.run(f) })
	return t
}

func (t *Thread) run(f func()) {
	defer func() {
		t.done = true
		t.points++
		switch r := recover().(type) {
		case nil, unwind:
		case *Failure:
			w.fail(r)
		default:
			if t.dead { // a deferred function that met what the kill left half done
				return
			}
			var stack [8192]byte
			n := runtime.Stack(stack[:], false)
			w.fail(&Failure{Panicked, fmt.Sprintf("%s panics: %v\n%s", t.Name, r, stack[:n])})
		}
	}()
	if !t.dead {
		f()
	}
}

// resume lets t run until it reaches a point at which another thread goes on, or ends.
func (w *Run) resume(t *Thread) {
	w.cur, w.last = t, t
	t.co.resume()
	w.cur = nil
	if t.done && t.co != nil {
		idle = append(idle, t.co)
		t.co = nil
	}
}

// pause gives control back to the scheduler.
func (t *Thread) pause() {
	t.co.yield(struct{}{})
	if t.dead {
		panic(unwind{})
	}
}

func (t *Thread) runnable() bool {
	if t.blocked && t.until != nil && !t.done && !t.dead && t.until() {
		t.until = nil
		t.wake()
	}
	return !t.done && !t.dead && !t.blocked && !t.Proc.stopped
}

// Await parks a thread of the scenario until a condition on what the scenario knows holds.
func Await(cond func() bool) {
	Point()
	if !cond() {
		w.cur.until = cond
		Block(-1, Key{Kind: Condition})
	}
}

// Hold makes the running thread wait at a later point, after so many others, until a condition
// holds. So a scenario brings about a switch at a place where the library has no named step.
func Hold(points int, until func() bool) {
	w.cur.hold, w.cur.held = w.cur.points+points+1, until
	w.until = w.steps // the next point is a decision
}

// await is the wait of Hold. The thread is at the point.
func (t *Thread) await() {
	until := t.held
	t.held = nil
	if !until() {
		t.until = until
		Block(-1, Key{Kind: Condition})
	}
}

// Choose is a decision of the scenario: one of n. The usual one is 0.
func Choose(n int) int {
	w.cur.points++ // each choice has a place of its own
	k := w.chooser.pick(w, n)
	w.note(token{choice, k}, k == 0)
	return k
}

func (t *Thread) wake() {
	t.blocked, t.keys, t.deadline = false, nil, 0
	w.attention = true
}

// Blocked reports whether the thread cannot go on by itself. One that waits for the scenario, by
// Await or Hold, is not blocked.
func (t *Thread) Blocked() bool { return t.blocked && !t.done && t.until == nil }

// Calls is how many system calls the thread has made.
func (t *Thread) Calls() int { return t.calls }

// Points is how many points the thread has reached.
func (t *Thread) Points() int { return t.points }

// Done reports whether the thread has ended.
func (t *Thread) Done() bool { return t.done }

// Block parks the running thread until Wake of one of the keys, and at most for d nanoseconds if d
// is not negative. It reports whether it was woken.
func Block(d int64, keys ...Key) bool {
	t := w.cur
	if t == nil {
		panic(&Failure{Panicked, "set-up code blocks"})
	}
	t.points++
	t.blocked, t.keys, t.timedOut, t.interrupt = true, keys, false, false
	if d >= 0 {
		t.deadline = w.now + max(d, 1)
	}
	t.pause()
	return !t.timedOut && !t.interrupt
}

// Wake wakes up to n threads that are blocked on k, all if n is 0, and returns how many. It wakes
// them in the order of their numbers.
func Wake(k Key, n int) (woken int) {
	for _, t := range w.threads {
		if !t.blocked || t.dead || t.done {
			continue
		}
		for _, have := range t.keys {
			if have == k {
				t.wake()
				woken++
				break
			}
		}
		if n > 0 && woken == n {
			break
		}
	}
	return woken
}

// A Process is a simulated process.
type Process struct {
	ID   int
	PID  int
	Name string

	killable, stoppable bool
	killed, stopped     bool
	told                bool // its end has been told to those who watch it
	threads             []*Thread
	files               holder
	vars                []any // its copy of the library's package variables, by Var
	forks               []*holder

	// Kernel is what package kernel keeps for the process.
	Kernel any
}

// A holder is a process, or a child between fork and exec, that keeps files open.
type holder struct {
	name string
	ends []*Held
}

// Held is something that a process holds until it releases it or its end is carried out.
type Held struct {
	Name    string
	Release func() // the last holder has let go
	holders int
}

// Hold makes p hold what release releases.
func (p *Process) Hold(name string, release func()) *Held {
	h := &Held{Name: name, Release: release, holders: 1}
	p.files.ends = append(p.files.ends, h)
	return h
}

// LetGo ends Hold.
func (p *Process) LetGo(h *Held) { p.files.letGo(h) }

func (x *holder) letGo(h *Held) {
	for i, o := range x.ends {
		if o == h {
			x.ends = append(x.ends[:i:i], x.ends[i+1:]...)
			if h.holders--; h.holders == 0 {
				h.Release()
			}
			return
		}
	}
}

func (x *holder) empty() {
	for len(x.ends) > 0 {
		x.letGo(x.ends[0])
	}
}

// Spare makes the process one that is neither killed nor stopped, and returns it.
func (p *Process) Spare() *Process {
	p.killable, p.stoppable = false, false
	return p
}

// Unkillable makes the process one that is not killed, from now on. Killable takes that back.
func (p *Process) Unkillable() { p.killable = false }
func (p *Process) Killable()   { p.killable = true }

// Alive reports whether the process was not killed.
func (p *Process) Alive() bool { return !p.killed }

// Over reports whether all threads of the process that the run waits for have ended.
func (p *Process) Over() bool { return p.over() }

// Told reports whether the kernel has told of the end of the process.
func (p *Process) Told() bool { return p.told }

// over reports whether nothing that the process does counts any more.
func (p *Process) over() bool {
	for _, t := range p.threads {
		if t.main && !t.done {
			return false
		}
	}
	return true
}

// kill ends the process: its threads unwind, and nothing they do takes effect any more. What it
// holds is released later, by actions of the kernel.
func (p *Process) kill() {
	p.killed, p.stopped = true, false
	for _, t := range p.threads {
		if !t.done {
			t.dead = true
			w.resume(t)
		}
	}
	// The next decision belongs to the point at which the process died.
}
