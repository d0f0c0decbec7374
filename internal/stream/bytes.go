package stream

import (
	"context"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
)

// The functions of this file are those of a topic.Bytes. A message goes through the same steps as
// an item; see publish.go and subscription.go.

// PublishBytes publishes a copy of b as one message. A Try returns ErrFull where PublishBytes would
// block.
func (p *Publisher) PublishBytes(ctx context.Context, b []byte) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	pos, off, err := p.claimSized(len(b))
	if err != nil {
		if pos, off, err = p.reserve(ctx, len(b)); err != nil {
			return p.t.publishErrors.Of(err)
		}
	}
	step.Reach(step.TopicClaimed)
	p.t.storeBytes(off, b)
	return p.commit(pos)
}

// PublishBytesFunc publishes a message of n bytes that write writes in place. See PublishFunc.
func (p *Publisher) PublishBytesFunc(
	ctx context.Context, n int, write func([]byte) error,
) error {
	if n < 0 { // one of these is oneSize
		if err := p.enter(); err != nil {
			return err
		}
		defer p.leave()
		return p.t.publishErrors.Of(tooBig(n, p.t.Layout.Bytes))
	}
	return p.publishFunc(ctx, n, func(_ uint64, off int) error {
		return p.t.writeBytes(off, n, write)
	})
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
	return p.PublishBatch(ctx, len(all), func(i int) int { return len(all[i]) },
		func(_ uint64, off, i int) { p.t.storeBytes(off, all[i]) })
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
	return s.end(pos), nil
}

// RecvBytesBatch receives up to len(bufs) messages, at least one: message i replaces the contents
// of bufs[i]. What is behind those that are received has changed, perhaps.
func (s *Subscription) RecvBytesBatch(ctx context.Context, bufs [][]byte) (int, error) {
	return s.RecvBatch(ctx, len(bufs), func(_ uint64, i int) {
		off, n := s.reading().Extent()
		bufs[i] = s.t.AppendBytes(bufs[i][:0], off, n)
	})
}

// RecvBytesFunc receives the next message, which read finds in place. See RecvFunc.
func (s *Subscription) RecvBytesFunc(ctx context.Context, read func([]byte) error) error {
	return s.RecvFunc(ctx, func(uint64) error {
		off, n := s.reading().Extent()
		if robust.RaceEnabled { // see writeBytes
			return read(s.t.AppendBytes(nil, off, n))
		}
		return read(s.t.Bytes(off, n))
	})
}
