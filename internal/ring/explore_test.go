package ring

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// The explorer runs actors one shared access at a time, in every order, and kills them at every
// access. Actors are coroutines that stop in hook. The explorer skips states that it has seen
// before. A state is all shared words and, for each actor, the hash of all that the actor has read,
// which determines where the actor is and what it knows.

type killed struct{}

type actor struct {
	id   uint32
	next func() (string, bool)
	stop func()
	at   string // the step it stands before
	done bool
	dead bool
	hist uint64
}

type world struct {
	actors []*actor
	cur    *actor
	words  []*atomic.Uint64
	bytes  []byte // plain memory, part of the state
}

func mix(h, v uint64) uint64 {
	h ^= v
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}

func (w *world) share(ws ...*atomic.Uint64) { w.words = append(w.words, ws...) }

func (w *world) shareAll(ws []atomic.Uint64) {
	for i := range ws {
		w.share(&ws[i])
	}
}

// alive is the alive function of actors. Its result is part of what they know.
func (w *world) alive(id uint32) bool {
	ok := true
	for _, a := range w.actors {
		if a.id == id {
			ok = !a.dead
		}
	}
	if w.cur != nil {
		b := uint64(1)
		if ok {
			b = 2
		}
		w.cur.hist = mix(w.cur.hist, b)
	}
	return ok
}

// note records what an actor learns otherwise than from words.
func (w *world) note(v uint64) {
	if w.cur != nil {
		w.cur.hist = mix(w.cur.hist, v)
	}
}

// anyDead does so too.
func (w *world) anyDead() bool {
	dead := false
	for _, a := range w.actors {
		dead = dead || a.dead
	}
	if dead && w.cur != nil {
		w.cur.hist = mix(w.cur.hist, 3)
	}
	return dead
}

func (w *world) spawn(id uint32, body func()) {
	a := &actor{id: id}
	var yield func(string) bool
	a.next, a.stop = iter.Pull(func(y func(string) bool) {
		yield = y
		defer func() {
			if e := recover(); e != nil {
				if _, ok := e.(killed); !ok {
					panic(e)
				}
			}
		}()
		body()
	})
	next := a.next
	a.next = func() (string, bool) {
		w.cur = a
		hook = func(step string, p *atomic.Uint64) {
			if !yield(step) {
				panic(killed{})
			}
			a.hist = mix(a.hist, p.Load()+uint64(len(step))<<56)
		}
		s, ok := next()
		hook, w.cur = nil, nil
		return s, ok
	}
	w.actors = append(w.actors, a)
	a.run() // to its first access
}

func (a *actor) run() {
	var ok bool
	if a.at, ok = a.next(); !ok {
		a.done = true
	}
}

func (a *actor) kill() {
	a.dead = true
	h := hook
	hook = nil
	a.stop()
	hook = h
}

func (w *world) close() {
	for _, a := range w.actors {
		a.stop()
	}
}

func (w *world) key() uint64 {
	h := uint64(1)
	for _, p := range w.words {
		h = mix(h, p.Load())
	}
	for _, b := range w.bytes {
		h = mix(h, uint64(b))
	}
	for _, a := range w.actors {
		h = mix(h, a.hist)
		b := uint64(0)
		if a.done {
			b = 1
		}
		if a.dead {
			b |= 2
		}
		h = mix(h, b)
	}
	return h
}

const killMark = 64

var errLimit = errors.New("there are more states than the limit")

type outcome struct {
	states, ends, steps int
	err                 error
	trace               string
}

// explore runs build's actors in all ways with up to kills kills. check is
// called at every end. With a pick, the next way to go into is chosen by pick
// among those known, instead of the newest.
func explore(kills, limit int, pick *rand.Rand, build func(w *world) (check func() error)) (out outcome) {
	defer func() { hook = nil }()
	seen := map[uint64]bool{}
	stack := [][]byte{nil}
	for len(stack) > 0 {
		if pick != nil {
			i, last := pick.IntN(len(stack)), len(stack)-1
			stack[i], stack[last] = stack[last], stack[i]
		}
		path := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		w := &world{}
		check := build(w)
		var trace []string
		dead := 0
		do := func(c byte) {
			out.steps++
			a := w.actors[c&^killMark]
			if c&killMark != 0 {
				trace = append(trace, fmt.Sprintf("%d killed before %s", a.id, a.at))
				a.kill()
				dead++
				return
			}
			trace = append(trace, fmt.Sprintf("%d %s", a.id, a.at))
			a.run()
		}
		for _, c := range path {
			do(c)
		}
		for {
			k := mix(w.key(), uint64(dead))
			if seen[k] {
				break
			}
			seen[k] = true
			var choices []byte
			for i, a := range w.actors {
				if !a.done && !a.dead {
					choices = append(choices, byte(i))
					if dead < kills {
						choices = append(choices, byte(i)|killMark)
					}
				}
			}
			live := false
			for _, c := range choices {
				live = live || c&killMark == 0
			}
			if !live {
				out.ends++
				if err := check(); err != nil {
					out.err, out.trace = err, strings.Join(trace, "\n")
					out.states = len(seen)
					w.close()
					return out
				}
				break
			}
			for _, c := range choices[1:] {
				stack = append(stack, append(append(make([]byte, 0, len(path)+1), path...), c))
			}
			path = append(path[:len(path):len(path)], choices[0])
			do(choices[0])
		}
		w.close()
		if len(seen) > limit {
			out.err = fmt.Errorf("%w: %d", errLimit, limit)
			break
		}
	}
	out.states = len(seen)
	return out
}

// The environment variable SHMEM_TESTS says how far the explorers go:
//
//   - unset: every case up to boundedStates states, in a random order that is the same every time;
//   - full: every state of the usual cases, about one minute of processor time (CI);
//   - long: the large cases too, and the other tests repeat more often, minutes (nightly).
var (
	long = os.Getenv("SHMEM_TESTS") == "long"
	full = long || os.Getenv("SHMEM_TESTS") == "full"
)

const (
	boundedStates = 20_000
	mostStates    = 10_000_000
)

// exhaust explores a case and fails the test on an error. A large case runs only when long is set.
// The explorer runs one actor at a time: race builds, which are slow, find nothing more by it, and
// skip it.
func exhaust(t *testing.T, name string, kills int, large bool, build func(w *world) func() error) {
	t.Helper()
	if large && !long || (raceEnabled || testing.Short()) && !full {
		t.Logf("not now: %s", name)
		return
	}
	t.Run(name, func(t *testing.T) {
		limit, pick := mostStates, (*rand.Rand)(nil)
		if !full {
			limit, pick = boundedStates, rand.New(rand.NewPCG(1, 2))
		}
		out := explore(kills, limit, pick, build)
		t.Logf("%d states, %d ends, %d steps", out.states, out.ends, out.steps)
		switch {
		case errors.Is(out.err, errLimit) && !full:
			t.Log("there are more: SHMEM_TESTS=full goes through all")
		case out.err != nil:
			t.Fatalf("%v\n%s", out.err, out.trace)
		}
	})
}

// caught fails the test when a broken variant passes.
func caught(t *testing.T, name string, kills int, build func(w *world) func() error) {
	t.Helper()
	t.Run("broken "+name, func(t *testing.T) {
		out := explore(kills, 3_000_000, nil, build)
		if out.err == nil {
			t.Fatalf("not caught in %d states, %d ends", out.states, out.ends)
		}
		t.Logf("after %d states: %v", out.states, out.err)
	})
}
