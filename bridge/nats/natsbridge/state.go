package natsbridge

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shmembox/shmem"
)

// stateSuffix ends the name of the box beside a mirror.
const stateSuffix = ".bridge"

// remembered is how many messages of a queue are remembered: more than can be on the way.
const remembered = 1 << 14

// words are what a bridge keeps beside a mirror, so that it knows after a death what was applied.
type words struct {
	// Of a topic: the frame that is applied or about to be is that of the mark Which&1. The other
	// one is written first, then Which: so a mark is whole.
	Which atomic.Uint64
	Marks [2]mark
	// Lost is what the topic lost at the origin in that incarnation.
	Incarnation, Lost atomic.Uint64

	// Of a queue: Key is the message that is about to be sent, as the queue's message number Local;
	// Position is that of the origin.
	Key, Position, Local, Skipped atomic.Uint64
	Done                          [remembered]atomic.Uint64 // keys by position
}

// A mark is a frame of a topic, and what was published to the mirror and skipped in it before.
type mark struct{ Stream, Local, Skipped atomic.Uint64 }

func (w *words) mark() *mark { return &w.Marks[w.Which.Load()&1] }

// setMark makes a frame the one that is about to be applied.
func (w *words) setMark(seq, local, skipped uint64) {
	next := w.Which.Load() + 1
	m := &w.Marks[next&1]
	m.Stream.Store(seq)
	m.Local.Store(local)
	m.Skipped.Store(skipped)
	w.Which.Store(next)
}

// A state is the box beside a mirror. It has one slot, so that a mirror has one bridge.
type state struct{ box *shmem.Box[words] }

func openState(dir string, r *route) (*state, error) {
	name := r.segment + stateSuffix
	x, err := shmem.Open[words](name, &shmem.Options{Dir: dir, Slots: 1, Lifetime: shmem.Kept})
	if errors.Is(err, shmem.ErrNoSlot) {
		return nil, fmt.Errorf("%w: another bridge has the mirror %s; end that one first", ErrRefused,
			r.segment)
	}
	if err != nil {
		return nil, err
	}
	return &state{x}, nil
}

func (s *state) words() *words { return s.box.Value() }
func (s *state) close()        { _ = s.box.Close() }
