package stream

import (
	"context"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
)

// The functions of this file are those of a topic.Bytes. A message goes through the same steps as
// an item; see publish.go.

// PublishBytes publishes a copy of b as one message. A Try returns ErrFull where PublishBytes would
// block.
func (p *Publisher) PublishBytes(ctx context.Context, b []byte) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	if err := p.putBytes(ctx, b); err != nil {
		return err
	}
	p.t.wakeAll()
	step.Reach(step.TopicSent)
	return nil
}

// putBytes publishes a copy of b, and wakes no waiter.
func (p *Publisher) putBytes(ctx context.Context, b []byte) error {
	pos, off, err := p.claimSized(len(b))
	if err != nil {
		if pos, off, err = p.reserve(ctx, len(b)); err != nil {
			return p.t.publishErrors.Of(err)
		}
	}
	step.Reach(step.TopicClaimed)
	p.t.storeBytes(off, b)
	return p.finishBytes(pos)
}

// finishBytes publishes the message of a claimed position.
func (p *Publisher) finishBytes(pos uint64) error {
	t := p.t
	step.Reach(step.TopicWritten)
	if robust.RaceEnabled {
		robust.Releasing(t.Object(), &t.Header.RecvArmed)
	}
	if err := p.ring.Publish(pos); err != nil {
		return t.publishErrors.Corrupt(err)
	}
	if word, _ := p.ring.Ahead(pos); word != nil {
		mem.PrefetchWrite(word)
	}
	step.Reach(step.TopicPublished)
	return nil
}

// PublishBytesFunc publishes a message of n bytes that write writes in place. See PublishFunc.
func (p *Publisher) PublishBytesFunc(
	ctx context.Context, n int, write func([]byte) error,
) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	pos, off, err := p.reserve(ctx, n)
	if err != nil {
		return p.t.publishErrors.Of(err)
	}
	step.Reach(step.TopicClaimed)
	written := false
	defer func() {
		if !written {
			p.cancel(pos)
		}
	}()
	if err := p.t.writeBytes(off, n, write); err != nil {
		return err
	}
	written = true
	if err := p.finishBytes(pos); err != nil {
		return err
	}
	p.t.wakeAll()
	step.Reach(step.TopicSent)
	return nil
}

// writeBytes calls write with the bytes of a claimed position. Subscribers read the old message
// until they see that it is gone, which the race detector takes for a race: a copy hides it.
func (t *Topic) writeBytes(off, n int, write func([]byte) error) error {
	if !robust.RaceEnabled {
		return write(t.Bytes(off, n))
	}
	b := make([]byte, n)
	if err := write(b); err != nil {
		return err
	}
	t.storeBytes(off, b)
	return nil
}

// PublishBytesBatch publishes a copy of each of all, in order. See PublishBatch.
func (p *Publisher) PublishBytesBatch(ctx context.Context, all [][]byte) (done int, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	if err := p.enter(); err != nil {
		return 0, err
	}
	defer p.leave()
	woken := 0
	for done < len(all) && err == nil {
		// Before this call waits, what is published wakes subscribers.
		err = p.putBytes(Try{}, all[done])
		if full := p.t.publishErrors.Of(ErrFull); err == full {
			if done > woken {
				p.t.wakeAll()
				woken = done
			}
			err = p.putBytes(ctx, all[done])
		}
		if err == nil {
			done++
		}
	}
	if done > woken {
		p.t.wakeAll()
		step.Reach(step.TopicSent)
	}
	return done, err
}

// LatestBytes appends a copy of the newest message to buf, and returns it with the message's
// position. See Latest.
func (t *Topic) LatestBytes(buf []byte) ([]byte, uint64, error) {
	if !t.M.Pin() {
		return buf, 0, t.latestErrors.Of(shmem.ErrClosed)
	}
	defer t.M.Unpin()
	had := len(buf)
	for range latestTries {
		pos, err := t.Ring.Latest()
		if err != nil {
			break
		}
		off, n, ok := t.Ring.Message(pos)
		if !ok {
			continue
		}
		if buf = t.AppendBytes(buf[:had], off, n); t.Ring.Kept(pos) {
			t.acquired()
			return buf, pos, nil
		}
	}
	return buf[:had], 0, t.latestErrors.Of(ErrEmpty)
}

// RecvBytes appends the next message to buf. A Try returns ErrEmpty where RecvBytes would block.
// After an error the result is buf.
func (s *Subscription) RecvBytes(ctx context.Context, buf []byte) ([]byte, error) {
	had := len(buf)
	for try := 0; ; try++ {
		whole, err := s.appendNext(ctx, &buf, had)
		if whole {
			return buf, nil
		}
		if err == nil {
			err = s.retry(ctx, try)
		}
		if err != nil {
			return buf[:had], err
		}
	}
}

// appendNext appends the next message to the first had bytes of buf, and reports whether the copy
// is whole.
func (s *Subscription) appendNext(
	ctx context.Context, buf *[]byte, had int,
) (whole bool, err error) {
	if err := s.pin(); err != nil {
		return false, err
	}
	defer s.unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return false, s.t.receiveErrors.Of(err)
	}
	off, n := s.reading().Extent()
	*buf = s.t.AppendBytes((*buf)[:had], off, n)
	return s.endBytes(pos), nil
}

// RecvBytesBatch receives up to len(bufs) messages, at least one: message i replaces the contents
// of bufs[i]. What is behind those that are received has changed, perhaps.
func (s *Subscription) RecvBytesBatch(ctx context.Context, bufs [][]byte) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	for {
		k, err := s.copySomeBytes(ctx, bufs)
		if k > 0 || err != nil {
			return k, err
		}
		if err := errs.Context(ctx); err != nil { // publishers overwrite all that is copied
			return 0, s.t.receiveErrors.Of(err)
		}
	}
}

// copySomeBytes waits for a message, and copies what is there. It copies none if publishers are
// faster.
func (s *Subscription) copySomeBytes(ctx context.Context, bufs [][]byte) (k int, err error) {
	if err := s.pin(); err != nil {
		return 0, err
	}
	defer s.unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return 0, s.t.receiveErrors.Of(err)
	}
	for range len(bufs) + Patience {
		off, n := s.reading().Extent()
		bufs[k] = s.t.AppendBytes(bufs[k][:0], off, n)
		if s.endOneBytes(pos) {
			k++
		}
		if k == len(bufs) {
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

// RecvBytesFunc receives the next message, which read finds in place. See RecvFunc.
func (s *Subscription) RecvBytesFunc(ctx context.Context, read func([]byte) error) error {
	if err := s.pin(); err != nil {
		return err
	}
	defer s.unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return s.t.receiveErrors.Of(err)
	}
	off, n := s.reading().Extent()
	b := s.t.Bytes(off, n)
	if robust.RaceEnabled { // see writeBytes
		b = s.t.AppendBytes(nil, off, n)
	}
	if err := read(b); err != nil {
		return err
	}
	ring.OrderLoads()
	if !s.endBytes(pos) {
		return s.t.receiveErrors.Of(ErrLost)
	}
	return nil
}

// endBytes is end in a topic.Bytes.
func (s *Subscription) endBytes(pos uint64) bool {
	if !s.endOneBytes(pos) {
		return false
	}
	s.told()
	return true
}

// endOneBytes is endOne in a topic.Bytes.
func (s *Subscription) endOneBytes(pos uint64) bool {
	step.Reach(step.TopicRead)
	c := s.reading()
	if c.DoneBytes() != nil {
		return false
	}
	s.t.acquired()
	if word, _, ok := c.Ahead(); ok && word != nil {
		mem.Prefetch(word)
	}
	s.last, s.received = pos, true
	return true
}
