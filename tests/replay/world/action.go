package world

import (
	"fmt"
	"time"
)

// kind is the kind of an action.
type kind byte

const (
	run     kind = iota // thread t goes on
	release             // the kernel releases the first thing that dead p, or a child of it, holds
	tell                // the kernel tells of the end of p
	cont                // SIGCONT
	tick                // time goes on to the next deadline
	// Faults.
	kill     // SIGKILL
	stop     // SIGSTOP
	cancel   // context n is cancelled
	spurious // t wakes up for no reason
	jump     // the clock jumps by 10 s
	fork     // a child of p inherits its files; it lets go of them later
	fault    // the system call at hand returns its n-th error
	kinds
)

const firstFault = kill

// An action is what can happen at a decision.
type action struct {
	kind kind
	t    *Thread
	p    *Process
	n    int
}

func (a action) token() token {
	switch {
	case a.t != nil && a.kind != fault:
		return token{a.kind, a.t.ID}
	case a.p != nil && a.kind != release:
		return token{a.kind, a.p.ID}
	case a.p != nil:
		return token{a.kind, a.p.ID | a.n<<8}
	}
	return token{a.kind, a.n}
}

func (a action) String() string {
	switch a.kind {
	case run:
		return a.t.Name + " goes on"
	case release:
		h := a.p.holder(a.n)
		return fmt.Sprintf("the kernel releases %s of %s", h.ends[0].Name, h.name)
	case tell:
		return "the kernel tells of the end of " + a.p.Name
	case cont:
		return "SIGCONT to " + a.p.Name
	case tick:
		return "time goes on"
	case kill:
		return "SIGKILL to " + a.p.Name
	case stop:
		return "SIGSTOP to " + a.p.Name
	case cancel:
		return fmt.Sprintf("context %d is cancelled", a.n)
	case spurious:
		return "a spurious wake-up of " + a.t.Name
	case jump:
		return "the clock jumps by 10 s"
	case fork:
		return a.p.Name + " forks: a child inherits its files"
	}
	return fmt.Sprintf("the system call of %s fails: %v", a.t.Name, a.t.callErrs[a.n])
}

// holder is what holds files for p: the process itself, or its n-th child.
func (p *Process) holder(n int) *holder {
	if n == 0 {
		return &p.files
	}
	return p.forks[n-1]
}

// candidates are the actions that are no faults, the default first. runs is how many of them let a
// thread go on; idle says that time alone can help.
func (w *Run) candidates() (c []action, runs int, idle bool) {
	c = w.options[:0]
	if w.last != nil && w.last.runnable() {
		c = append(c, action{kind: run, t: w.last})
	}
	first := 0
	if w.last != nil {
		first = w.last.ID
	}
	for i := range w.threads {
		t := w.threads[(first+i)%len(w.threads)]
		if t != w.last && t.runnable() {
			c = append(c, action{kind: run, t: t})
		}
	}
	runs = len(c)
	for _, p := range w.procs {
		if p.killed && len(p.files.ends) > 0 {
			c = append(c, action{kind: release, p: p})
		}
		if p.killed && !p.told && len(p.files.ends) == 0 { // exit_files comes before exit_notify
			c = append(c, action{kind: tell, p: p})
		}
		for i, f := range p.forks {
			if len(f.ends) > 0 {
				c = append(c, action{kind: release, p: p, n: i + 1})
			}
		}
		if p.stopped {
			c = append(c, action{kind: cont, p: p})
		}
	}
	idle = len(c) == 0
	if w.nextDeadline() > 0 {
		c = append(c, action{kind: tick})
	}
	w.options = c
	return c, runs, idle
}

// faults are the faults that can happen now, of the kind k, or of all if k is 0.
func (w *Run) faults(c []action, k kind) []action {
	want := func(x kind) bool { return w.budget[x] > 0 && (k == 0 || k == x) }
	for _, p := range w.procs {
		if p.killed || p.over() {
			continue
		}
		if want(kill) && p.killable {
			c = append(c, action{kind: kill, p: p})
		}
		if want(stop) && p.stoppable && !p.stopped {
			c = append(c, action{kind: stop, p: p})
		}
		if want(fork) && len(p.files.ends) > 0 {
			c = append(c, action{kind: fork, p: p})
		}
	}
	if want(cancel) {
		for i, x := range w.ctxs {
			if x.cancelable && x.err == nil && !x.proc.killed {
				c = append(c, action{kind: cancel, n: i})
			}
		}
	}
	if want(spurious) {
		for _, t := range w.threads {
			if t.blocked && !t.dead && !t.done && len(t.keys) == 1 && t.keys[0].Kind == Futex {
				c = append(c, action{kind: spurious, t: t})
			}
		}
	}
	if want(jump) {
		c = append(c, action{kind: jump})
	}
	if want(fault) && w.cur != nil {
		for i := range w.cur.callErrs {
			c = append(c, action{kind: fault, t: w.cur, n: i})
		}
	}
	return c
}

// next decides until a thread other than the running one goes on, or the running one does. Actions
// that can be carried out from within a thread are.
func (w *Run) next() action {
	for {
		w.attention = false
		if w.steps > w.Config.Steps {
			w.fail(&Failure{Livelock, fmt.Sprintf("no end after %d steps%s", w.steps, w.waiting())})
			return action{kind: tick}
		}
		c, runs, idle := w.candidates()
		if len(c) == 0 {
			w.fail(&Failure{Deadlock, "no thread can go on" + w.waiting()})
			return action{kind: tick}
		}
		a := w.chooser.choose(w, c, runs)
		w.note(a.token(), a == c[0])
		if a.kind != run || a.t != w.last {
			w.mix(uint64(a.kind)<<40 | uint64(a.token().n)<<20 | uint64(w.steps))
		}
		if a.kind >= firstFault {
			w.budget[a.kind]--
		}
		if a.kind == fault {
			Note("== %v", a)
			a.t.errno = a.t.callErrs[a.n]
			return action{kind: run, t: a.t}
		}
		if a.kind == tick && idle {
			w.idle += w.nextDeadline() - w.now
		}
		if w.cur != nil && a.kind != run && (a.kind != kill || a.p != w.cur.Proc) {
			w.perform(a)
			continue
		}
		return a
	}
}

// perform carries an action out.
func (w *Run) perform(a action) {
	if a.kind != run {
		Note("== %v", a)
	}
	switch a.kind {
	case run:
		w.resume(a.t)
	case release:
		h := a.p.holder(a.n)
		h.letGo(h.ends[0])
	case tell:
		a.p.told = true
		Wake(Key{End, uintptr(a.p.PID), 0}, 0)
	case cont:
		a.p.stopped = false
		w.attention = true
	case tick:
		w.advance(w.nextDeadline())
	case kill:
		cur, last := w.cur, w.last
		a.p.kill()
		w.cur, w.last = cur, last
	case stop:
		a.p.stopped = true
	case cancel:
		w.ctxs[a.n].cancel()
	case spurious:
		a.t.wake()
		a.t.interrupt = true
	case jump:
		w.advance(w.now + int64(10*time.Second))
	case fork:
		child := &holder{name: fmt.Sprintf("a child of %s", a.p.Name)}
		for _, h := range a.p.files.ends {
			h.holders++
			child.ends = append(child.ends, h)
		}
		a.p.forks = append(a.p.forks, child)
	}
}

// nextDeadline is when the first sleeper or timer is due; 0: there is none.
func (w *Run) nextDeadline() (at int64) {
	earlier := func(x int64) {
		if x > 0 && (at == 0 || x < at) {
			at = x
		}
	}
	for _, t := range w.threads {
		if t.blocked && !t.done && !t.dead && !t.Proc.stopped {
			earlier(t.deadline)
		}
	}
	for _, x := range w.timers {
		if !x.proc.killed {
			earlier(x.at)
		}
	}
	return at
}

// advance lets time go on to at, and wakes what is due.
func (w *Run) advance(at int64) {
	w.now = max(w.now, at)
	for _, t := range w.threads {
		if t.blocked && !t.done && !t.dead && t.deadline > 0 && t.deadline <= w.now {
			t.wake()
			t.timedOut = true
		}
	}
	for _, x := range w.timers {
		if x.at > 0 && x.at <= w.now && !x.proc.killed {
			x.fire()
		}
	}
	Note("== it is %v", time.Duration(w.now))
	if w.idle > int64(w.Config.Idle) {
		w.fail(&Failure{Hang,
			fmt.Sprintf("no thread could go on for %v%s", time.Duration(w.idle), w.waiting())})
	}
}
