package world

import (
	"math"
	"math/rand/v2"
	"slices"
)

// A Chooser makes all decisions of a run.
type Chooser interface {
	begin(w *Run)
	// choose takes one of the candidates c, of which the first runs ones let a thread go on and the
	// first is the usual one, or a fault. It may set w.until: up to that step the running thread
	// goes on, and choose is asked only when another thread becomes able to run.
	choose(w *Run, c []action, runs int) action
	// pick takes one of n cases of a select.
	pick(w *Run, n int) int
	born(w *Run, t *Thread)
	relaxed(w *Run, t *Thread) // the thread wants others to go on
}

// random is what the choosers by seed have in common: where faults happen is drawn in advance.
type random struct {
	rand   *rand.Rand
	length int     // of a usual run, in steps
	faults []timed // left, by step
}

type timed struct {
	step int
	kind kind
}

func newRandom(seed uint64, stream uint64, length int) random {
	return random{rand: rand.New(rand.NewPCG(seed, stream)), length: max(length, 20)}
}

// begin draws the faults: each one that the configuration allows happens in 3 of 4 runs.
func (r *random) begin(w *Run) {
	for k := range kinds {
		for range w.budget[k] {
			step := 1 + r.rand.IntN(r.length)
			if r.rand.IntN(4) != 0 {
				r.faults = append(r.faults, timed{step, k})
			}
		}
	}
	slices.SortFunc(r.faults, func(a, b timed) int { return a.step - b.step })
}

// fault is the next fault if its step has come and it is possible.
func (r *random) fault(w *Run, c []action) (action, bool) {
	for i, f := range r.faults {
		if f.step > w.steps {
			break
		}
		if all := w.faults(c, f.kind)[len(c):]; len(all) > 0 {
			r.faults = slices.Delete(r.faults, i, i+1)
			return all[r.rand.IntN(len(all))], true
		}
	}
	return action{}, false
}

// bound lowers w.until to where the next fault is due.
func (r *random) bound(w *Run) {
	if len(r.faults) > 0 {
		w.until = min(w.until, r.faults[0].step)
	}
}

// timely takes time going on out of the candidates where a thread can go on, in all but one of
// Config.Early decisions.
func (r *random) timely(w *Run, c []action, runs int) []action {
	if last := len(c) - 1; runs > 0 && c[last].kind == tick &&
		(w.Config.Early == 0 || r.rand.IntN(w.Config.Early) != 0) {
		return c[:last]
	}
	return c
}

func (r *random) pick(_ *Run, n int) int { return r.rand.IntN(n) }

// sticky lets the running thread go on at most points.
type sticky struct {
	random
	stay int // the running thread goes on for so many points on average
	turn int // the step of the next decision
}

// Sticky is random scheduling in which a thread goes on for about 12 points at a time. A failure
// needs few switches as a rule, and each is then more likely to come at the right moment.
func Sticky(seed uint64, length int) Chooser {
	return &sticky{random: newRandom(seed, 1, length), stay: 12}
}

// Random switches at every point with the same probability for all threads.
func Random(seed uint64, length int) Chooser {
	return &sticky{random: newRandom(seed, 2, length), stay: 1}
}

func (s *sticky) choose(w *Run, c []action, runs int) action {
	if f, ok := s.fault(w, c); ok {
		return f
	}
	a := c[0]
	if w.steps >= s.turn || a.kind != run || a.t != w.last {
		c = s.timely(w, c, runs)
		a = c[s.rand.IntN(len(c))]
		s.turn = w.steps + 1
		if s.stay > 1 {
			s.turn += s.rand.IntN(2 * s.stay)
		}
	}
	w.until = s.turn
	s.bound(w)
	return a
}

func (s *sticky) born(*Run, *Thread) {}
func (s *sticky) relaxed(w *Run, _ *Thread) {
	s.turn, w.until = w.steps, w.steps
}

// pct is probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte 2010): the
// thread of the highest priority goes on. Priorities are random; at depth-1 steps, drawn in
// advance, the running thread gets the lowest.
type pct struct {
	random
	depth   int
	changes []int
	lowest  int
	since   int     // the step at which
	leader  *Thread // began to run
}

// patience is after how many points in a row a thread that waits for others without saying so gets
// the lowest priority.
const patience = 300

// PCT finds failures that need depth-1 switches at the right moments.
func PCT(seed uint64, length, depth int) Chooser {
	return &pct{random: newRandom(seed, 3, length), depth: depth}
}

func (s *pct) begin(w *Run) {
	s.random.begin(w)
	for range s.depth - 1 {
		s.changes = append(s.changes, 1+s.rand.IntN(s.length))
	}
	slices.Sort(s.changes)
}

func (s *pct) born(_ *Run, t *Thread) { t.priority = 1 + s.rand.IntN(1<<20) }

func (s *pct) relaxed(w *Run, t *Thread) {
	s.lowest--
	t.priority = s.lowest
	w.until = w.steps
}

func (s *pct) choose(w *Run, c []action, runs int) action {
	if f, ok := s.fault(w, c); ok {
		return f
	}
	for len(s.changes) > 0 && s.changes[0] <= w.steps {
		s.changes = s.changes[1:]
		if w.last != nil {
			s.relaxed(w, w.last)
		}
	}
	if w.last != s.leader {
		s.leader, s.since = w.last, w.steps
	} else if w.last != nil && w.steps-s.since >= patience {
		s.relaxed(w, w.last)
		s.since = w.steps
	}
	c = s.timely(w, c, runs)
	best, at := c[0], math.MinInt
	for _, a := range c {
		p := s.rand.IntN(1 << 17) // of the kernel
		if a.kind == run {
			p = a.t.priority
		}
		if p > at {
			best, at = a, p
		}
	}
	w.until = w.steps + patience
	if len(s.changes) > 0 {
		w.until = min(w.until, s.changes[0])
	}
	if best.kind != run || len(c) > runs { // the kernel has a new priority each time
		w.until = min(w.until, w.steps+8)
	}
	s.bound(w)
	return best
}

// A Walk goes through all runs with at most Preemptions unusual decisions, with all faults of the
// configuration at every point. Usual is that the running thread goes on, that any thread does when
// it cannot, and that the kernel and then the time go on when none can.
type Walk struct {
	Preemptions int
	steps       Schedule // of the present run
	path        []branch
	depth       int
}

// A branch is one decision on the path of the present run: which of its options it took. Of these
// the first free ones are usual, and those before faults cost a preemption.
type branch struct {
	options, free, faults int
	took                  int
}

func (b branch) cost() int {
	if b.took >= b.free && b.took < b.faults {
		return 1
	}
	return 0
}

func (s *Walk) begin(w *Run) {
	s.depth, s.steps = 0, nil
}

func (s *Walk) born(*Run, *Thread)    {}
func (s *Walk) relaxed(*Run, *Thread) {}

func (s *Walk) choose(w *Run, c []action, runs int) action {
	if runs > 0 && c[len(c)-1].kind == tick {
		c = c[:len(c)-1]
	}
	free := max(runs, 1)
	if c[0].kind == run && c[0].t == w.last {
		free = 1
	}
	all := w.faults(c, 0)
	a := all[s.branch(branch{options: len(all), free: free, faults: len(c)})]
	s.steps = append(s.steps, Step{w.place(), a.token(), a == c[0]})
	return a
}

// Schedule is that of the last run.
func (s *Walk) Schedule() Schedule { return s.steps.compact() }

// pick takes the first case that is ready.
func (s *Walk) pick(*Run, int) int { return 0 }

// branch says which option the present run takes.
func (s *Walk) branch(b branch) int {
	if s.depth == len(s.path) {
		s.path = append(s.path, b)
	} else {
		b.took = s.path[s.depth].took
		s.path[s.depth] = b
	}
	s.depth++
	return b.took
}

// Next prepares the next run and reports whether there is one.
func (s *Walk) Next() bool {
	s.path = s.path[:s.depth]
	used := make([]int, len(s.path)+1)
	for i, b := range s.path {
		used[i+1] = used[i] + b.cost()
	}
	for i := len(s.path) - 1; i >= 0; i-- {
		b := &s.path[i]
		for b.took++; b.took < b.options; b.took++ {
			if used[i]+b.cost() <= s.Preemptions {
				s.path = s.path[:i+1]
				return true
			}
		}
	}
	return false
}
