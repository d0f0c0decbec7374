package stream

import (
	"errors"
	"fmt"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// A Topic is an attachment to a topic. Its items are bytes to it, whatever their type is. Its
// methods are safe for concurrent use.
type Topic struct {
	Attachment
	TopicMemory

	Own        *Publisher // of the topic's own methods
	publishing sync.Mutex // guards a part of Own

	publishErrors, receiveErrors, latestErrors, subscribeErrors Errors
}

// OpenTopic opens a topic by a plan whose New and Like it fills in. item is the type of a message,
// or nil with mode Attach for a topic of any type; capacity and holds are those of a new topic.
func OpenTopic(p Plan, item *format.Type, capacity, holds int) (*Topic, error) {
	p.Kind, p.Item = layout.TopicName, item
	p.New = func(stride int) (*format.Type, error) {
		return p.topicType(layout.SpacedTopic(item, capacity, holds, stride))
	}
	p.Like = func(stored, item *format.Type) (*format.Type, error) {
		l, err := layout.TopicLike(stored, item)
		if err == nil {
			err = p.claim("Options", l)
		}
		return typeOf(l, err)
	}
	t, err := openTopic(p)
	if err == nil && item != nil {
		t.Size = item.Size
	}
	return t, err
}

// OpenTopicBytes opens a topic of bytes by a plan whose New and Like it fills in. capacity, bytes
// and holds are those of a new topic.
func OpenTopicBytes(p Plan, capacity, bytes, holds int) (*Topic, error) {
	p.Kind = layout.TopicBytesName
	p.New = func(int) (*format.Type, error) {
		return p.topicType(layout.NewTopicBytes(capacity, bytes, holds))
	}
	p.Like = func(stored, _ *format.Type) (*format.Type, error) {
		l, err := layout.TopicBytesLike(stored)
		if err == nil {
			err = p.claim("BytesOptions", l)
		}
		return typeOf(l, err)
	}
	return openTopic(p)
}

// claim compares a topic that is there with what the caller asks for.
func (p *Plan) claim(options string, l *layout.Topic) error {
	return errors.Join(
		Claim(options, "Capacity", l.Capacity, p.Capacity),
		Claim(options, "Bytes", l.Bytes, p.Bytes),
		Claim(options, "Holds", l.Holds, p.Holds),
		ClaimStamps(options, l.Stamped || !p.Stamped))
}

// ClaimStamps is Claim of the option Stamped, which asks for time stamps.
func ClaimStamps(options string, has bool) error {
	if !has {
		return fmt.Errorf("the segment was created without time stamps, %s.Stamped asks for them; "+
			"leave the option out", options)
	}
	return nil
}

// topicType returns the type of a new topic, with time stamps if the plan says so.
func (p *Plan) topicType(l *layout.Topic, err error) (*format.Type, error) {
	if err == nil && p.Stamped {
		l, err = l.WithStamps()
	}
	return typeOf(l, err)
}

func openTopic(p Plan) (*Topic, error) {
	seg, m, stored, err := p.Open()
	if err != nil {
		return nil, err
	}
	tm, err := TopicIn(m, stored)
	if err != nil {
		_ = seg.Close()
		return nil, p.Error(err)
	}
	t := &Topic{TopicMemory: *tm}
	t.Attachment.Init(seg, m)
	t.Own = t.newPublisher(true)
	more := "Options.Capacity"
	if tm.Layout.Item == nil {
		more = "BytesOptions.Capacity or Bytes"
	}
	t.publishErrors.Init("topic publish", p.Name, Words{
		Full: "use Publish, close the subscription that is behind (Stats.Slowest), " +
			"or create it with more " + more,
		End: "publisher",
	})
	t.receiveErrors.Init("topic receive", p.Name, Words{
		Empty: "use Recv, or try later", End: "subscription",
	})
	t.latestErrors.Init("topic latest", p.Name, Words{Empty: "publish one, or try later"})
	t.subscribeErrors.Init("topic subscribe", p.Name, Words{})
	return t, nil
}

func typeOf(l *layout.Topic, err error) (*format.Type, error) {
	if err != nil {
		return nil, err
	}
	return l.Type, nil
}

// End ends the topic for all publishers in all processes. Publishing calls return ErrEnded from now
// on, receiving calls io.EOF after the last message.
func (t *Topic) End() error {
	if err := t.Enter(); err != nil {
		err = t.publishErrors.Cause(err)
		return &shmem.Error{Op: "topic end", Name: t.Segment.Name(), Err: err}
	}
	defer t.M.Unpin()
	t.Ring.Close()
	step.Reach(step.TopicEnded)
	t.wakeAll()
	return nil
}

// Ended reports whether the topic has ended. It returns true after Close.
func (t *Topic) Ended() bool {
	if !t.M.Pin() {
		return true
	}
	defer t.M.Unpin()
	return t.Ring.Ended()
}

// Close detaches from the topic; see shmem.Segment.Close.
func (t *Topic) Close() error { return t.Segment.Close() }

// wakeAll wakes the subscribers and the publishers that wait.
func (t *Topic) wakeAll() {
	wait.Wake(t.M, &t.Header.RecvArmed)
	wait.Wake(t.M, &t.Header.SendArmed)
}

// Repair frees what dead processes hold, and reports whether there was something: claims that hold
// publishers back, whose slots are skipped, and holds of subscribers. It closes a topic that has
// lost its name.
func (t *Topic) Repair() bool { return t.repairAt(t.Header.Tail.Load()) }

// repairAt is Repair, which also skips slots of dead publishers at a position that is read next.
func (t *Topic) repairAt(pos uint64) bool {
	taken := t.FindTaken(&t.Header.Closed)
	if !t.Writes {
		return taken
	}
	alive, died := t.M.Noted(t.AliveOnce())
	skips, holds := t.Ring.Repair(alive)
	skips += t.Ring.RepairAt(alive, pos)
	if skips+holds == 0 && !taken {
		return false
	}
	if holds > 0 {
		t.Header.Released.Add(uint64(holds))
	}
	step.Reach(step.TopicRepaired)
	t.wakeAll()
	t.M.Note(notes.Skipped, "message", uint64(skips), *died)
	t.M.Note(notes.Recovered, "hold", uint64(holds), *died)
	return true
}

// RepairIfDue is Repair for calls that do not block, at most every 10 ms.
func (t *Topic) RepairIfDue() bool { return t.RepairDue() && t.Repair() }

// A TopicState is the state of a topic at one moment; see topic.Stats.
type TopicState struct {
	Published, Skipped, Released, Lost uint64

	Holds int
	// the id of the slowest subscriber that holds publishers back; 0: there is none
	Slowest    uint32
	SlowestLag uint64 // how many messages it is behind
	Ended      bool
}

// State returns the state of the topic. The error is ErrClosed.
func (t *Topic) State() (TopicState, error) {
	if !t.M.Pin() {
		return TopicState{}, &shmem.Error{
			Op: "topic stats", Name: t.Segment.Name(), Err: t.publishErrors.Cause(shmem.ErrClosed),
		}
	}
	defer t.M.Unpin()
	now := t.Ring.Now()
	s := TopicState{
		Published: now, Skipped: t.Ring.Skipped(),
		Released: t.Header.Released.Load(), Lost: t.Header.Lost.Load(),
		Holds: t.Ring.Holds(), Ended: t.Ring.Ended(),
	}
	if id, cursor := t.Ring.Slowest(); id != 0 {
		s.Slowest, s.SlowestLag = id, now-min(cursor, now)
	}
	return s, nil
}
