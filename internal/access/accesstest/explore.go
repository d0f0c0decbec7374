// Package accesstest runs code that uses package access in every order: an explorer for tests.
package accesstest

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
)

// A World is one run of a case. Its actors run one access at a time, in an order that the explorer
// chooses, and are killed at any access. Actors are coroutines that stop in access.Hook.
//
// The explorer skips states that it has seen before. A state is all shared words and, for each
// actor, the hash of all that it has read, which determines where it is and what it knows.
type World struct {
	Words []*atomic.Uint64 // shared
	Bytes []byte           // plain shared memory

	actors []*actor
	cur    *actor
}

type actor struct {
	id         uint32
	next       func() (string, bool)
	stop       func()
	at         string // the access before which it stands
	done, dead bool
	hist       uint64
}

type killed struct{}

func mix(h, v uint64) uint64 {
	h ^= v
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}

// Share adds words.
func (w *World) Share(words ...*atomic.Uint64) { w.Words = append(w.Words, words...) }

// ShareAll adds all words of a slice.
func (w *World) ShareAll(words []atomic.Uint64) {
	for i := range words {
		w.Share(&words[i])
	}
}

// Alive reports whether an actor is not killed. The caller knows it from then on.
func (w *World) Alive(id uint32) bool {
	ok := !w.Dead(id)
	if ok {
		w.Note(2)
	} else {
		w.Note(1)
	}
	return ok
}

// Dead reports whether an actor is killed, to code that is part of no actor.
func (w *World) Dead(id uint32) bool {
	dead := false
	for _, a := range w.actors {
		if a.id == id {
			dead = a.dead
		}
	}
	return dead
}

// AnyDead reports whether any actor is killed. The caller knows it from then on.
func (w *World) AnyDead() bool {
	for _, a := range w.actors {
		if a.dead {
			w.Note(3)
			return true
		}
	}
	return false
}

// KilledBefore returns the actors that were killed before an access of that name.
func (w *World) KilledBefore(step string) (ids []uint32) {
	for _, a := range w.actors {
		if a.dead && a.at == step {
			ids = append(ids, a.id)
		}
	}
	return ids
}

// Note records what the running actor learns otherwise than from words.
func (w *World) Note(v uint64) {
	if w.cur != nil {
		w.cur.hist = mix(w.cur.hist, v)
	}
}

// Spawn begins an actor, which stops before its first access.
func (w *World) Spawn(id uint32, body func()) {
	a := &actor{id: id}
	var yield func(string) bool
	next, stop := iter.Pull(func(y func(string) bool) {
		yield = y
		defer func() {
			if e := recover(); e != nil && e != (killed{}) {
				panic(e)
			}
		}()
		body()
	})
	a.stop = func() {
		access.Hook = nil
		stop()
	}
	a.next = func() (string, bool) {
		w.cur = a
		access.Hook = func(step string, p *atomic.Uint64) {
			if !yield(step) {
				panic(killed{})
			}
			a.hist = mix(a.hist, p.Load()+uint64(len(step))<<56)
		}
		s, ok := next()
		access.Hook, w.cur = nil, nil
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

func (a *actor) kill() {
	a.dead = true
	a.stop()
}

func (w *World) close() {
	for _, a := range w.actors {
		a.stop()
	}
}

func (w *World) key(kills int) uint64 {
	h := uint64(1)
	for _, p := range w.Words {
		h = mix(h, p.Load())
	}
	for _, b := range w.Bytes {
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
	return mix(h, uint64(kills))
}

// An Outcome is what an exploration came to.
type Outcome struct {
	States, Ends, Steps int
	Err                 error  // of the check at an end, or ErrLimit
	Trace               string // the accesses that led there
}

// ErrLimit is the error of an exploration that has not seen all states.
var ErrLimit = errors.New("there are more states than the limit")

const killMark = 64

// Explore runs the actors of build in all orders, with up to kills kills, until it has seen limit
// states. It calls check at every end. With a pick, that chooses the next way among those known,
// instead of the newest one.
func Explore(
	kills, limit int, pick *rand.Rand, build func(*World) (check func() error),
) (out Outcome) {
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
		r := run{w: &World{}, kills: kills}
		check := build(r.w)
		for _, c := range path {
			r.do(c)
		}
		for k := r.key(); !seen[k]; k = r.key() {
			seen[k] = true
			choices := r.choices()
			if len(choices) == 0 {
				out.Ends++
				out.Err = check()
				break
			}
			for _, c := range choices[1:] {
				stack = append(stack, append(append(make([]byte, 0, len(path)+1), path...), c))
			}
			path = append(path[:len(path):len(path)], choices[0])
			r.do(choices[0])
		}
		r.w.close()
		out.States = len(seen)
		out.Steps += len(r.trace)
		if out.Err != nil {
			out.Trace = strings.Join(r.trace, "\n")
			return out
		}
		if len(seen) > limit {
			out.Err = fmt.Errorf("%w: %d", ErrLimit, limit)
			return out
		}
	}
	return out
}

// A run is one order.
type run struct {
	w     *World
	kills int // how many there may be
	dead  int
	trace []string
}

func (r *run) key() uint64 { return r.w.key(r.dead) }

// choices returns how it can go on: an actor runs, or is killed.
func (r *run) choices() (all []byte) {
	for i, a := range r.w.actors {
		if a.done || a.dead {
			continue
		}
		all = append(all, byte(i))
		if r.dead < r.kills {
			all = append(all, byte(i)|killMark)
		}
	}
	return all
}

func (r *run) do(choice byte) {
	a := r.w.actors[choice&^killMark]
	if choice&killMark != 0 {
		r.trace = append(r.trace, fmt.Sprintf("%d killed before %s", a.id, a.at))
		a.kill()
		r.dead++
		return
	}
	r.trace = append(r.trace, fmt.Sprintf("%d %s", a.id, a.at))
	a.run()
}

// Exhaust explores a case as a subtest, which fails on an error of a check. It sees all states, and
// fails if there are more than limit; with sample it sees some of them if there are more, in a
// random order that is the same every time.
func Exhaust(
	t *testing.T, name string, kills, limit int, sample bool,
	build func(*World) (check func() error),
) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		var pick *rand.Rand
		if sample {
			pick = rand.New(rand.NewPCG(1, 2))
		}
		out := Explore(kills, limit, pick, build)
		t.Logf("%d states, %d ends, %d steps", out.States, out.Ends, out.Steps)
		switch {
		case sample && errors.Is(out.Err, ErrLimit):
			t.Log("there are more: SHMEM_TESTS=full goes further")
		case out.Err != nil:
			t.Fatalf("%v\n%s", out.Err, out.Trace)
		}
	})
}

// Caught explores a broken variant as a subtest, which fails if no check does.
func Caught(t *testing.T, name string, kills int, build func(*World) (check func() error)) {
	t.Helper()
	t.Run("broken "+name, func(t *testing.T) {
		out := Explore(kills, 3_000_000, nil, build)
		if out.Err == nil || errors.Is(out.Err, ErrLimit) {
			t.Fatalf("not caught in %d states, %d ends", out.States, out.Ends)
		}
		t.Logf("after %d states: %v", out.States, out.Err)
	})
}
