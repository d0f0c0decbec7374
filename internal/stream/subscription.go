package stream

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// A Start says where a subscription begins. The zero value is the next message.
type Start struct {
	Oldest bool   // with the oldest message that is kept
	Last   uint64 // with so many messages that are there
	After  bool   // with the message after Seq
	Seq    uint64 // of After
}

// position returns the position of the message that a subscription begins with. It is at most that
// of the next message. A Seq that is negative as an int64 stands before the first message.
func (s Start) position(r *ring.Broadcast) uint64 {
	now := r.Now()
	switch {
	case s.After:
		pos := s.Seq + 1
		if int64(pos) < 0 {
			pos = 0
		}
		return min(pos, now)
	case s.Oldest:
		return r.Oldest()
	case s.Last > 0:
		return r.Last(s.Last)
	}
	return now
}

// A Delivery says what a subscription does when publishers are faster.
type Delivery int

// The deliveries.
const (
	Auto   Delivery = iota // Hold in a topic with holds, else NoHold
	Hold                   // it holds publishers back
	NoHold                 // it loses the oldest messages
	Newest                 // it receives the newest message only
)

// A kind says how a subscription finds its next message.
type kind int

const (
	inOrder kind = iota
	newestOnly
	bytesInOrder // in a topic.Bytes
	bytesNewestOnly
)

// A Subscription reads a topic. It is for one goroutine at a time, except for Close.
//
// One that holds has a cursor in shared memory that publishers do not overtake. Messages from
// before the subscription are not held: they are read by a cursor of their own.
type Subscription struct {
	t      *Topic
	old    *ring.Cursor // reads messages from before the hold; nil: there are none left
	oldEnd uint64       // the first position that is held
	cursor *ring.Cursor // reads all other messages
	held   bool         // cursor is a hold
	kind   kind         // how the next message is found

	section fence.Section // of a call of one that holds; shut by Close
	left    atomic.Bool   // the hold is given up

	waitPos uint64        // the position that the last wait was for
	subject atomic.Uint32 // of waits behind a publisher that has not finished; see wait.Options
	ready   func() bool   // waitPos can be read; made once, so that waiting does not allocate
	probe   func() bool   // look; likewise

	last     uint64 // the position of the message that was received last
	received bool   // there is one
	stamp    int64  // of that message, or of one that is read in place; see TopicMemory.Stamp
	lost     uint64
	polls    uint32 // calls that do not block and found no message
}

// Subscribe makes a subscription; without a Delivery that is Auto. The errors are ErrNoHold,
// ErrClosed, and ErrReadOnly for one that holds.
func (t *Topic) Subscribe(from Start, how ...Delivery) (*Subscription, error) {
	if !t.M.Pin() {
		return nil, t.subscribeErrors.Of(shmem.ErrClosed)
	}
	defer t.M.Unpin()
	d, err := t.delivery(how)
	if err != nil {
		return nil, t.subscribeErrors.Of(err)
	}
	s := &Subscription{t: t}
	if t.Layout.Item == nil {
		s.kind = bytesInOrder
	}
	s.probe = s.look
	s.ready = func() bool { return s.section.IsShut() || t.Ring.CanNext(s.waitPos) }
	if d == Newest {
		s.kind++
		s.ready = func() bool { return s.section.IsShut() || t.Ring.CanNewest(s.waitPos) }
	}
	pos := from.position(t.Ring)
	if d != Hold {
		s.cursor = t.Ring.From(pos)
		return s, nil
	}
	if err := s.hold(); err != nil {
		return nil, t.subscribeErrors.Of(err)
	}
	if from != (Start{}) && pos < s.cursor.Pos() {
		s.old, s.oldEnd = t.Ring.From(pos), s.cursor.Pos()
	}
	return s, nil
}

// delivery returns the Delivery of a subscription that is given those of how.
func (t *Topic) delivery(how []Delivery) (Delivery, error) {
	d := Auto
	switch {
	case len(how) == 1:
		d = how[0]
	case len(how) > 1:
		return d, fmt.Errorf("%w: %d deliveries; a subscription has one", shmem.ErrBadOption,
			len(how))
	}
	switch {
	case d < Auto || d > Newest:
		return d, fmt.Errorf("%w: Delivery %d: must be Hold, NoHold or Newest",
			shmem.ErrBadOption, d)
	case d == Hold && t.Layout.Holds == 0:
		return d, &errs.Worded{
			Text:     "the topic has no holds; create it with Options.Holds",
			Sentinel: ErrNoHold,
		}
	case d == Auto && t.Layout.Holds == 0:
		return NoHold, nil
	case d == Auto:
		return Hold, nil
	}
	return d, nil
}

// hold takes a hold at the next message.
func (s *Subscription) hold() (err error) {
	t := s.t
	if !t.Writes {
		return shmem.ErrReadOnly
	}
	s.cursor, err = t.Ring.Hold(t.Self)
	if err != nil && t.Repair() {
		s.cursor, err = t.Ring.Hold(t.Self)
	}
	if err != nil {
		return ErrNoHold
	}
	s.held = true
	step.Reach(step.TopicHeld)
	// Until now the cursor of the hold's previous subscriber counted.
	wait.Wake(t.M, &t.Header.SendArmed)
	return nil
}

// Close ends the subscription, and lets publishers go on that it held back. A call in flight ends,
// and gives the hold up.
func (s *Subscription) Close() {
	if !s.t.M.Pin() {
		s.section.Stop()
		return
	}
	defer s.t.M.Unpin()
	if s.section.Stop() && s.held {
		s.giveUp()
	} else {
		s.t.ringOwn()
	}
}

// giveUp gives the hold up, once. No call is in flight, and none begins.
func (s *Subscription) giveUp() {
	if !s.left.CompareAndSwap(false, true) {
		return
	}
	s.cursor.Leave()
	step.Reach(step.TopicLeft)
	// Publishers wait for more room than there may be now, and no other hold may move soon. So they
	// are made to probe.
	if s.t.Header.SendArmed.Load()&1 != 0 && s.t.Ring.CanClaim() {
		wait.RingAll(s.t.M)
	}
}

// Lost returns how many messages were overwritten before this subscription received them.
func (s *Subscription) Lost() uint64 { return s.lost }

// Seq returns the position of the message that was received last.
func (s *Subscription) Seq() (pos uint64, ok bool) { return s.last, s.received }

// Next returns the position of the message that is received next or, while a call reads one in
// place, of that one.
func (s *Subscription) Next() uint64 { return s.reading().Pos() }

// Time returns when the message that was received last was published, or that which a call reads in
// place; the zero time if there is none, or if the topic has no time stamps.
func (s *Subscription) Time() time.Time { return TimeOf(s.stamp) }

// Errors returns the errors of receiving.
func (s *Subscription) Errors() *Errors { return &s.t.receiveErrors }

// Recv copies the next message to b, which has the size of an item. A Try returns ErrEmpty
// where Recv would block. After an error b has no message.
func (s *Subscription) Recv(ctx context.Context, b []byte) error {
	for try := 0; ; try++ {
		whole, err := s.copyNext(ctx, b)
		if whole || err != nil {
			return err
		}
		if err := s.retry(ctx, try); err != nil {
			return err
		}
	}
}

// retry comes before another try to copy a message: publishers overwrote it during the copy. They
// may do that every time.
func (s *Subscription) retry(ctx context.Context, try int) error {
	if Tries(ctx) {
		if try == Patience {
			return s.t.receiveErrors.Of(ErrEmpty)
		}
	} else if err := errs.Context(ctx); err != nil {
		return s.t.receiveErrors.Of(err)
	}
	return nil
}

// Wait waits until Recv has a message or io.EOF to return, and receives nothing.
func (s *Subscription) Wait(ctx context.Context) error {
	if err := s.pin(); err != nil {
		return err
	}
	defer s.unpin()
	g, done := wait.GroupOf(ctx), errs.Context(ctx)
	if done != nil {
		ctx = Try{}
	}
	_, err := s.next(ctx)
	switch {
	case err == io.EOF:
		return nil
	case err == ErrEmpty && g != nil:
		s.waitPos = s.reading().Pos()
		err = g.Enter(s.t.M, &s.t.Header.RecvArmed, s.ready, s.waitOptions())
	case err == ErrEmpty && done != nil:
		err = done
	}
	return s.t.receiveErrors.Of(err)
}

// copyNext copies the next message to b, and reports whether the copy is whole.
func (s *Subscription) copyNext(ctx context.Context, b []byte) (whole bool, err error) {
	if err := s.pin(); err != nil {
		return false, err
	}
	defer s.unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return false, s.t.receiveErrors.Of(err)
	}
	s.t.Load(pos, b)
	return s.end(pos), nil
}

// RecvBatch receives up to n messages, at least one: get copies the item of a position as the i-th.
// What get has copied as the i-th and later ones counts only as far as the result says.
func (s *Subscription) RecvBatch(
	ctx context.Context, n int, get func(pos uint64, i int),
) (int, error) {
	if n <= 0 {
		return 0, nil
	}
	for {
		k, err := s.copySome(ctx, n, get)
		if k > 0 || err != nil {
			return k, err
		}
		if err := errs.Context(ctx); err != nil { // publishers overwrite all that is copied
			return 0, s.t.receiveErrors.Of(err)
		}
	}
}

// copySome waits for a message, and copies what is there. It copies none if publishers are faster.
func (s *Subscription) copySome(
	ctx context.Context, n int, get func(pos uint64, i int),
) (k int, err error) {
	if err := s.pin(); err != nil {
		return 0, err
	}
	defer s.unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return 0, s.t.receiveErrors.Of(err)
	}
	for try := 0; ; try++ {
		get(pos, k)
		if s.endOne(pos) {
			k++
		}
		if k == n || try == n+Patience {
			break
		}
		again := true
		for again {
			pos, again, err = s.find()
		}
		if err != nil {
			break // the next call finds it
		}
	}
	if k > 0 {
		s.told()
	}
	return k, nil
}

// RecvFunc receives the next message: read finds the item of a position in place. It returns the
// error of read as it is; the message is not received then. It is ErrLost if publishers overwrote
// the item during read.
func (s *Subscription) RecvFunc(ctx context.Context, read func(pos uint64) error) error {
	if err := s.pin(); err != nil {
		return err
	}
	defer s.unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return s.t.receiveErrors.Of(err)
	}
	if s.t.stamps == nil {
		err = read(pos)
	} else {
		err = s.readStamped(pos, read)
	}
	if err != nil {
		return err
	}
	ring.OrderLoads()
	if !s.end(pos) {
		return s.t.receiveErrors.Of(ErrLost)
	}
	return nil
}

// readStamped calls read, and meanwhile Time tells of its message.
func (s *Subscription) readStamped(pos uint64, read func(pos uint64) error) error {
	last := s.stamp
	defer func() { s.stamp = last }() // end sets it, if the message is received
	s.stamp = s.t.Stamp(pos)
	return read(pos)
}

// pin begins a call, which unpin ends.
func (s *Subscription) pin() error {
	if !s.t.M.Pin() {
		if s.section.IsShut() {
			return s.t.receiveErrors.EndClosed()
		}
		return s.t.receiveErrors.Of(shmem.ErrClosed)
	}
	if !s.held && !s.section.IsShut() || s.held && s.section.Enter() {
		return nil
	}
	if s.held {
		s.giveUp() // Close may have taken this call for one in flight
	}
	s.t.M.Unpin()
	return s.t.receiveErrors.EndClosed()
}

func (s *Subscription) unpin() {
	if s.held {
		s.section.Leave()
		if s.section.IsShut() {
			s.giveUp()
		}
	}
	s.t.M.Unpin()
}

// end ends the reading of a message, and reports whether it was there to the end.
func (s *Subscription) end(pos uint64) bool {
	if !s.endOne(pos) {
		return false
	}
	s.told()
	return true
}

// told wakes publishers after the cursor has moved.
func (s *Subscription) told() {
	if s.held {
		step.Reach(step.TopicTold)
		s.wakePublishers()
	}
}

// endOne is end without waking publishers.
func (s *Subscription) endOne(pos uint64) bool {
	step.Reach(step.TopicRead)
	c, stamp := s.reading(), s.t.Stamp(pos)
	if s.kind >= bytesInOrder {
		if c.DoneBytes() != nil {
			return false
		}
	} else if c.Done() != nil {
		return false
	}
	s.t.acquired()
	s.prefetch(c)
	s.last, s.received, s.stamp = pos, true, stamp
	return true
}

// prefetch asks for the cache lines of a message that comes soon.
func (s *Subscription) prefetch(c *ring.Cursor) {
	word, slot, ok := c.Ahead()
	if !ok {
		return
	}
	if word != nil {
		mem.Prefetch(word)
	}
	if l := s.t.Layout; l.Stride != 0 { // messages of one size
		s.t.M.PrefetchAt(l.Items + slot*l.Stride)
	}
}

// reading returns the cursor of the next message.
func (s *Subscription) reading() *ring.Cursor {
	if s.old != nil {
		return s.old
	}
	return s.cursor
}

// next finds the next message. A Try does not block.
func (s *Subscription) next(ctx context.Context) (pos uint64, err error) {
	var backoff Backoff
	for first := true; ; first = false {
		pos, again, err := s.find()
		if again {
			continue
		}
		switch err {
		case nil:
			return pos, nil
		case ring.ErrClosed:
			return 0, Closed(&s.t.Header.Closed, io.EOF)
		case ring.ErrEmpty, ring.ErrHeld:
			if s.t.nameless.Load() && !s.t.Writes {
				return 0, shmem.ErrUnlinked // it cannot close the topic
			}
			if Tries(ctx) {
				if first && (err == ring.ErrHeld && s.skipDead() ||
					err == ring.ErrEmpty && s.polled()) {
					continue
				}
				s.wakePublishers()
				return 0, ErrEmpty
			}
			if err := s.wait(ctx); err != nil {
				return 0, err
			}
		case ring.ErrBusy:
			if Tries(ctx) {
				return 0, ErrEmpty
			}
		default:
			return 0, Corrupt(err)
		}
		if err := backoff.Pause(ctx, &s.t.Attachment, s); err != nil {
			return 0, err
		}
		if s.section.IsShut() {
			return 0, errEndClosed
		}
	}
}

// find looks for the next message once, and counts what was lost on the way to it. again means that
// the old messages are read and the held ones come next.
func (s *Subscription) find() (pos uint64, again bool, err error) {
	if s.old != nil && s.old.Pos() >= s.oldEnd {
		s.old = nil
	}
	c := s.reading()
	if s.kind != inOrder {
		return s.findOther(c)
	}
	pos, lost, err := c.Next()
	if s.old != nil && c.Pos() >= s.oldEnd {
		return s.leaveOld(c, lost)
	}
	s.countLost(lost)
	return pos, false, err
}

// leaveOld ends the reading of old messages where a loss led beyond them. Those from oldEnd on are
// held, so they are not lost.
func (s *Subscription) leaveOld(c *ring.Cursor, lost uint64) (pos uint64, again bool, err error) {
	s.countLost(lost - min(lost, c.Pos()-s.oldEnd))
	s.old = nil
	return 0, true, nil
}

// findOther is the rest of find for the other kinds.
func (s *Subscription) findOther(c *ring.Cursor) (pos uint64, again bool, err error) {
	switch s.kind {
	case newestOnly:
		pos, err = c.Newest()
		return pos, false, err
	case bytesNewestOnly:
		pos, err = c.NewestBytes()
		return pos, false, err
	}
	pos, lost, err := c.NextBytes()
	if s.old != nil && c.Pos() >= s.oldEnd {
		return s.leaveOld(c, lost)
	}
	s.countLost(lost)
	return pos, false, err
}

// skipDead skips the message of a dead publisher at which the cursor is.
func (s *Subscription) skipDead() bool {
	return s.RepairIfDue() || s.reading().PassDead(s.t.Alive)
}

// RepairIfDue is Topic.RepairIfDue, and also looks where the subscription reads next.
func (s *Subscription) RepairIfDue() bool {
	return s.t.RepairDue() && s.t.repairAt(s.reading().Pos())
}

// polled is RepairIfDue for a call that found no message: the topic may have lost its name. Most
// calls do not look at the clock.
func (s *Subscription) polled() bool {
	const seldom = 64
	s.polls++
	return s.polls%seldom == 0 && s.RepairIfDue()
}

// countLost counts messages that were overwritten before they were read. It is inlined.
func (s *Subscription) countLost(n uint64) {
	if n != 0 {
		s.noteLost(n)
	}
}

func (s *Subscription) noteLost(n uint64) {
	s.lost += n
	if s.t.Writes {
		s.t.Header.Lost.Add(n)
	}
	s.t.M.Note(notes.Lost, "message", n, format.NoID)
}

// wakePublishers wakes publishers that wait for this subscription. It is needed when the cursor of
// a hold has moved, also past skipped messages. Where another hold is in the way publishers sleep
// on: the last one to move sees all that have moved before, and wakes them.
func (s *Subscription) wakePublishers() {
	if armed := &s.t.Header.SendArmed; s.held && armed.Load()&1 != 0 && s.t.Ring.CanClaimMany() {
		wait.Wake(s.t.M, armed)
	}
}

// wait waits until there may be a message.
func (s *Subscription) wait(ctx context.Context) error {
	t, pos := s.t, s.reading().Pos()
	sinceLastWait := pos - s.waitPos
	s.waitPos = pos
	s.wakePublishers()
	wait.YieldLines(sinceLastWait, t.Layout.Capacity)
	return wait.Until(ctx, t.M, &t.Header.RecvArmed, s.ready, s.waitOptions())
}

// waitOptions returns the options of a wait at waitPos.
func (s *Subscription) waitOptions() wait.Options {
	publisher := s.t.Ring.Holder(s.waitPos)
	o := wait.Options{Probe: s.probe, Poll: !s.t.Writes, Watch: s.t.Watch(publisher)}
	if publisher != 0 { // other subscriptions wait at other positions
		o.Subject = &s.subject
	}
	return o
}

// look is the probe of a wait. A wait has one goroutine that calls it.
func (s *Subscription) look() bool {
	return s.t.repairAt(s.waitPos) || !s.t.Writes && s.reading().PassDead(s.t.Alive)
}
