package natsbridge

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
)

// stateSuffix ends the name of the box beside a mirror.
const stateSuffix = ".bridge"

// boxWords are what a bridge keeps beside the mirror of a box: the revision that is applied or
// about to be, in the bucket that was created then. A server that lags behind may send an older
// one.
type boxWords struct {
	Life             life
	Bucket, Revision atomic.Uint64
}

// topicWords are what a bridge keeps beside the mirror of a topic, so that it knows after a death
// what was applied.
type topicWords struct {
	Life life
	// The frames that are applied or about to be are those of the mark Which&1. The other one is
	// written first, then Which: so a mark is whole.
	Which atomic.Uint64
	Marks [2]mark
	// Lost is what the topic lost at the origin in that incarnation.
	Incarnation, Lost atomic.Uint64
	// Created is when the stream was created that the marks are about.
	Created atomic.Uint64
}

// A mark is frames of a topic that follow each other, and what was published to the mirror and
// skipped in it before.
type mark struct {
	Stream, Local, Skipped atomic.Uint64
	// First is the number of the first message that is to be published, and Next that of the one
	// behind the frames, both of that incarnation of the topic.
	Incarnation, First, Next atomic.Uint64
	Frames                   atomic.Uint64 // how many
	// Ends are how many messages are to be published up to the end of each frame.
	Ends [batchMost]atomic.Uint64
}

// applied returns how many whole frames n messages are, and how many of the next one.
func (m *mark) applied(n uint64) (frames int, skip uint64) {
	before := uint64(0)
	for frames < int(min(m.Frames.Load(), batchMost)) {
		end := m.Ends[frames].Load()
		if end > n {
			return frames, n - min(before, n)
		}
		before = end
		frames++
	}
	return frames, 0
}

// mapWords are what a bridge keeps beside the mirror of a map: the revision up to which all is
// applied or about to be, in the bucket that was created then.
type mapWords struct {
	Life             life
	Bucket, Revision atomic.Uint64
}

func (w *mapWords) life() *life   { return &w.Life }
func (w *boxWords) life() *life   { return &w.Life }
func (w *topicWords) life() *life { return &w.Life }
func (w *queueWords) life() *life { return &w.Life }

// words are the contents of a state.
type words[W any] interface {
	*W
	life() *life
}

// A state is the box beside a mirror. It has one slot, so that a mirror has one bridge.
type state[W any] struct {
	r   *route
	box *shmem.Box[W]
}

func openState[W any, P words[W]](dir string, r *route) (*state[W], error) {
	name := r.segment + stateSuffix
	x, err := shmem.Open[W](name, &shmem.Options{Dir: dir, Slots: 1, Lifetime: shmem.Kept})
	if errors.Is(err, shmem.ErrNoSlot) {
		return nil, fmt.Errorf("%w: another bridge has the mirror %s; end that one first",
			ErrRefused, r.segment)
	}
	if err != nil {
		return nil, refusedType(err)
	}
	r.living.set(P(x.Value()).life())
	return &state[W]{r, x}, nil
}

func (s *state[W]) words() *W { return s.box.Value() }

func (s *state[W]) close() {
	s.r.living.set(nil)
	_ = s.box.Close()
}

// A topicState is the state of a topic.
type topicState struct{ *state[topicWords] }

func (s *topicState) mark() *mark {
	w := s.words()
	return &w.Marks[w.Which.Load()&1]
}

// A marking is what a mark says, beside the ends of its frames.
type marking struct {
	stream, local, skipped   uint64
	incarnation, first, next uint64
}

// setMark makes frames the ones that are about to be applied. ends are where each ends in the
// messages of a batch, of which the first are there already.
func (s *topicState) setMark(is marking, there int, ends []int) {
	w := s.words()
	next := w.Which.Load() + 1
	m := &w.Marks[next&1]
	m.Stream.Store(is.stream)
	m.Local.Store(is.local)
	m.Skipped.Store(is.skipped)
	m.Incarnation.Store(is.incarnation)
	m.First.Store(is.first)
	m.Next.Store(is.next)
	m.Frames.Store(uint64(len(ends)))
	for i, end := range ends {
		m.Ends[i].Store(uint64(end - there))
	}
	step.Reach(at.TopicInMarking)
	w.Which.Store(next)
}

// follow makes the marks those of the stream that was created then. If they are about another one,
// which was removed, its frames count as applied: they do not come again.
func (s *topicState) follow(created uint64) {
	w := s.words()
	if w.Created.Load() == created {
		return
	}
	if m := s.mark(); m.Stream.Load() != 0 {
		next := m.Next.Load()
		s.setMark(marking{incarnation: m.Incarnation.Load(), first: next, next: next}, 0, nil)
	}
	w.Created.Store(created)
}

// lost counts what a topic lost at the origin before a frame. A frame that comes again counts once.
func (s *topicState) lost(r *route, f *frame) {
	w := s.words()
	if w.Incarnation.Swap(f.incarnation) != f.incarnation {
		w.Lost.Store(0)
	}
	if was := w.Lost.Load(); f.lost > was {
		w.Lost.Store(f.lost)
		r.stats.lost.Add(int64(f.lost - was))
	}
}

const (
	origins    = 8       // queues that send to one mirror, of which positions are remembered
	remembered = 1 << 18 // positions of each
)

// queueWords are what a bridge keeps beside the mirror of a queue.
type queueWords struct {
	Life life
	// Intent is not 0 while a message is about to be sent as the queue's message number Local: the
	// position of an origin's table.
	Intent, Table, Position, Local, Skipped atomic.Uint64
	Clock                                   atomic.Uint64 // counts changes of the table
	Tables                                  [origins]table
}

// A table remembers the messages of one incarnation of a queue by their positions: those of the
// last ones up to the highest. Before the highest is raised the places of the new ones are cleared.
type table struct {
	Incarnation, Highest atomic.Uint64
	Used                 atomic.Uint64 // when, by Clock
	Seen                 [remembered / 64]atomic.Uint64
}

// A queueState is the state of a queue.
type queueState struct{ *state[queueWords] }

// table returns the index of an incarnation's table. If there is none the table that was not used
// for longest is forgotten.
func (s *queueState) table(incarnation uint64) int {
	w := s.words()
	least := 0
	for i := range w.Tables {
		t := &w.Tables[i]
		if t.Incarnation.Load() == incarnation {
			t.Used.Store(w.Clock.Add(1))
			return i
		}
		if t.Used.Load() < w.Tables[least].Used.Load() {
			least = i
		}
	}
	t := &w.Tables[least]
	t.Incarnation.Store(0)
	for j := range t.Seen {
		t.Seen[j].Store(0)
	}
	t.Highest.Store(0)
	t.Used.Store(w.Clock.Add(1))
	step.Reach(at.QueueInForgot)
	t.Incarnation.Store(incarnation)
	return least
}

func place(position uint64) (word int, bit uint64) {
	at := position % remembered
	return int(at / 64), 1 << (at % 64)
}

// has reports whether a position is remembered.
func (t *table) has(position uint64) bool {
	highest := t.Highest.Load()
	if position > highest || highest-position >= remembered {
		return false
	}
	word, bit := place(position)
	return t.Seen[word].Load()&bit != 0
}

// reach makes a position one that can be remembered.
func (t *table) reach(position uint64) {
	highest := t.Highest.Load()
	if position <= highest {
		return
	}
	if position-highest >= remembered {
		for j := range t.Seen {
			t.Seen[j].Store(0)
		}
	} else {
		for p := highest + 1; p <= position; p++ {
			word, bit := place(p)
			t.Seen[word].And(^bit)
		}
	}
	t.Highest.Store(position)
}

// add remembers a position. One that is older than all that can be remembered is not.
func (t *table) add(position uint64) {
	t.reach(position)
	if t.Highest.Load()-position >= remembered {
		return
	}
	word, bit := place(position)
	t.Seen[word].Or(bit)
}
