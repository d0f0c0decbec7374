package world

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A place is where a decision is made: thread and how many points it had reached. Thread -1 is the
// start of the run. A place depends on one thread only, so that a schedule from which a decision is
// taken out still means the same elsewhere.
type place struct{ thread, point int }

// A token is what was decided.
type token struct {
	kind kind
	n    int
}

// letters are the kinds of actions in the text of a schedule. '=' is the case of a select.
const (
	letters = "rftc.ksxwjhe"
	choice  = kind(len(letters))
)

func (t token) String() string {
	if t.kind == choice {
		return "=" + strconv.Itoa(t.n)
	}
	return string(letters[t.kind]) + strconv.Itoa(t.n)
}

// A Step is one decision of a schedule.
type Step struct {
	place
	token
	standard bool // what happens without the step
}

// A Schedule is what a run decided where it did not go on as usual. Several steps at one place come
// one after the other. Without a step the running thread goes on; if it cannot, the next one does.
type Schedule []Step

// note records a decision.
func (w *Run) note(t token, standard bool) {
	if w.recording {
		w.record = append(w.record, Step{w.place(), t, standard})
	}
}

func (w *Run) place() place {
	if w.last == nil {
		return place{-1, 0}
	}
	return place{w.last.ID, w.last.points}
}

// compact leaves out what happens anyway: usual steps with no other step at their place after them.
func (s Schedule) compact() (c Schedule) {
	seen := map[place]bool{}
	for i := len(s) - 1; i >= 0; i-- {
		if !s[i].standard || seen[s[i].place] {
			seen[s[i].place] = true
			c = append(c, s[i])
		}
	}
	slices.Reverse(c)
	return c
}

// String is the schedule in one line: thread.point:action for each step.
func (s Schedule) String() string {
	var b strings.Builder
	for i, x := range s {
		if i > 0 && s[i-1].place == x.place {
			fmt.Fprintf(&b, ",%v", x.token)
			continue
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d.%d:%v", x.thread, x.point, x.token)
	}
	return b.String()
}

// ParseSchedule is the reverse of String.
func ParseSchedule(text string) (s Schedule, err error) {
	for _, f := range strings.Fields(text) {
		var p place
		at, what, ok := strings.Cut(f, ":")
		if _, err := fmt.Sscanf(at, "%d.%d", &p.thread, &p.point); err != nil || !ok {
			return nil, fmt.Errorf("schedule: %q is not thread.point:action", f)
		}
		for _, x := range strings.Split(what, ",") {
			t := token{kind: choice}
			if len(x) > 0 && x[0] != '=' {
				t.kind = kind(strings.IndexByte(letters, x[0]))
			}
			if len(x) < 2 || t.kind > choice {
				return nil, fmt.Errorf("schedule: no action %q", x)
			}
			if t.n, err = strconv.Atoi(x[1:]); err != nil {
				return nil, fmt.Errorf("schedule: %w", err)
			}
			s = append(s, Step{place: p, token: t})
		}
	}
	return s, nil
}

// A player repeats a schedule.
type player struct {
	steps map[place][]token
}

// Play is the chooser that repeats a schedule. Steps that are not possible are left out.
func Play(s Schedule) Chooser {
	p := &player{map[place][]token{}}
	for _, x := range s {
		p.steps[x.place] = append(p.steps[x.place], x.token)
	}
	return p
}

func (p *player) begin(*Run)            {}
func (p *player) born(*Run, *Thread)    {}
func (p *player) relaxed(*Run, *Thread) {}

func (p *player) pop(w *Run) (token, bool) {
	at := w.place()
	q := p.steps[at]
	if len(q) == 0 {
		return token{}, false
	}
	p.steps[at] = q[1:]
	return q[0], true
}

func (p *player) choose(w *Run, c []action, _ int) action {
	for {
		t, ok := p.pop(w)
		if !ok {
			return c[0]
		}
		for _, a := range w.faults(c, 0) {
			if a.token() == t {
				return a
			}
		}
	}
}

func (p *player) pick(w *Run, n int) int {
	if q := p.steps[w.place()]; len(q) > 0 && q[0].kind == choice {
		t, _ := p.pop(w)
		return t.n % n
	}
	return 0
}
