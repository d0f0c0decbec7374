package calls

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
// access. Actors are coroutines that stop in hook. A state is all shared words and, for each actor,
// the hash of all that the actor has read, which determines where the actor is and what it knows.
// States that were seen before are skipped.

type killed struct{}

type actor struct {
	id         uint64
	next       func() (string, bool)
	stop       func()
	at         string // the step before which it stands
	done, dead bool
	hist       uint64
}

// A world is one run of a case.
type world struct {
	actors []*actor
	cur    *actor
	words  []*atomic.Uint64
}

func mix(h, v uint64) uint64 {
	h ^= v
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}

// note records what an actor learns otherwise than from words.
func (w *world) note(v uint64) {
	if w.cur != nil {
		w.cur.hist = mix(w.cur.hist, v)
	}
}

func (w *world) isDead(id uint64) bool {
	for _, a := range w.actors {
		if a.id == id {
			return a.dead
		}
	}
	return false
}

func (w *world) spawn(id uint64, body func()) {
	a := &actor{id: id}
	var yield func(string) bool
	next, stop := iter.Pull(func(y func(string) bool) {
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
	a.stop = stop
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
	a.run()
}

func (a *actor) run() {
	var ok bool
	if a.at, ok = a.next(); !ok {
		a.done = true
	}
}

func (w *world) close() {
	for _, a := range w.actors {
		a.stop()
	}
}

func (w *world) key(kills int) uint64 {
	h := uint64(kills)
	for _, p := range w.words {
		h = mix(h, p.Load())
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

// explore runs build's actors in all orders with up to kills kills, until there are limit states.
// check is called at every end. With a pick the next way is chosen by it among those known.
func explore(kills, limit int, pick *rand.Rand, build func(w *world) func() error) (
	states int, trace string, err error,
) {
	defer func() { hook = nil }()
	seen := map[uint64]bool{}
	stack := [][]byte{nil}
	for len(stack) > 0 {
		last := len(stack) - 1
		if pick != nil {
			i := pick.IntN(len(stack))
			stack[i], stack[last] = stack[last], stack[i]
		}
		path := stack[last]
		stack = stack[:last]
		w := &world{}
		check := build(w)
		var lines []string
		dead := 0
		do := func(c byte) {
			a := w.actors[c&^killMark]
			if c&killMark != 0 {
				lines = append(lines, fmt.Sprintf("%d killed before %s", a.id, a.at))
				a.dead = true
				hook = nil
				a.stop()
				dead++
				return
			}
			lines = append(lines, fmt.Sprintf("%d %s", a.id, a.at))
			a.run()
		}
		for _, c := range path {
			do(c)
		}
		for {
			k := w.key(dead)
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
			if len(choices) == 0 {
				if err := check(); err != nil {
					w.close()
					return len(seen), strings.Join(lines, "\n"), err
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
			return len(seen), "", errLimit
		}
	}
	return len(seen), "", nil
}

// full explores all states of a case, up to mostStates: see SHMEM_TESTS in CONTRIBUTING.md.
var full = os.Getenv("SHMEM_TESTS") == "full" || os.Getenv("SHMEM_TESTS") == "long"

const (
	boundedStates = 2_000
	mostStates    = 1_000_000
)

// exhaust explores a case and fails the test on an error.
func exhaust(t *testing.T, name string, kills int, build func(w *world) func() error) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		limit, pick := mostStates, (*rand.Rand)(nil)
		if !full {
			limit, pick = boundedStates, rand.New(rand.NewPCG(1, 2))
		}
		states, trace, err := explore(kills, limit, pick, build)
		switch {
		case errors.Is(err, errLimit):
			t.Logf("%d states; there are more: SHMEM_TESTS=full goes through %d", states, mostStates)
		case err != nil:
			t.Fatalf("after %d states: %v\n%s", states, err, trace)
		default:
			t.Logf("all %d states", states)
		}
	})
}
