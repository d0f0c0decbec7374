package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/stream"
)

// Where Follow begins, instead of a sequence number.
const (
	FromNow    uint64 = math.MaxUint64     // with the next message that is published
	FromOldest uint64 = math.MaxUint64 - 1 // with the oldest message that is kept
)

// A Follower reads the messages of a topic as they are published, without knowing their Go type.
//
// A Follower takes no slot and no lock. It holds no publisher back, so a slow one loses messages;
// see Lost. No publisher can wake it: it polls every 1 to 50 ms. When a newer program has appended
// fields to the type of the messages, the next message has them. It is for one goroutine and ends
// with its Observer.
type Follower struct {
	o      *Observer
	topic  *stream.TopicMemory
	cursor *ring.Cursor
	typed  uint64 // fingerprint of the segment's type when topic was made
	buf    []byte // the last message
	lost   uint64
}

// Follow begins to read a topic with message number from, or FromNow, or FromOldest. A number that
// is not published yet means FromNow. A segment that is no topic gives shmem.ErrMismatch, one of
// messages of more than MaxSnapshot bytes ErrTooLarge, which of a topic.Bytes Next returns. The
// value of a message of a topic.Bytes is raw.
func (o *Observer) Follow(from uint64) (f *Follower, err error) {
	err = o.guarded("inspect follow", func() error {
		t, err := stream.TopicIn(o.m, o.t)
		if err != nil {
			return fmt.Errorf("%w: %v", shmem.ErrMismatch, err)
		}
		if t.Layout.Item != nil && t.Size > MaxSnapshot {
			return tooLarge(int64(t.Size))
		}
		if from == FromOldest {
			from = t.Ring.Oldest()
		}
		f = &Follower{o: o, topic: t, cursor: t.Ring.From(from), typed: o.t.Fingerprint(),
			buf: make([]byte, t.Size)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Seq returns the number of the message that Next looks for.
func (f *Follower) Seq() uint64 { return f.cursor.Pos() }

// Lost returns how many messages were overwritten before they could be read. Messages older than
// the one that Follow began with do not count.
func (f *Follower) Lost() uint64 { return f.lost }

const (
	// Next polls after firstPause, and backs off to lastPause.
	firstPause, lastPause = time.Millisecond, 50 * time.Millisecond
	// deadAfter is how long a message may be in the making before Next checks whether its
	// publisher is alive.
	deadAfter = 100 * time.Millisecond
	// goneAfter is how long a topic may be silent before Next checks whether it can still get
	// messages.
	goneAfter = time.Second
)

// Next returns the next message, and waits until there is one. It skips messages whose publisher
// died. It returns:
//
//   - io.EOF when the topic has ended;
//   - shmem.ErrUnlinked when its owner has closed it, or it was removed;
//   - fs.ErrNotExist when no process is attached and none can attach, so that no message can come;
//   - the error of ctx;
//   - shmem.ErrClosed, shmem.ErrCorrupt, and shmem.ErrFault if another process truncated the file.
func (f *Follower) Next(ctx context.Context) (Message, error) {
	pause := firstPause
	var idle, checked time.Time // since when there is no message; when gone was last called
	for {
		msg, err := f.try(!idle.IsZero() && time.Since(idle) > deadAfter)
		if err != errNothing {
			return msg, err
		}
		now := time.Now()
		if idle.IsZero() {
			idle, checked = now, now
		}
		if now.Sub(checked) > goneAfter {
			checked = now
			if f.gone() {
				return Message{}, f.error(
					fmt.Errorf("%w any more: no process is attached, and none can attach",
						fs.ErrNotExist))
			}
		}
		if err := stream.Context(ctx); err != nil {
			return Message{}, f.error(err)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		case <-ctx.Done():
			return Message{}, f.error(ctx.Err())
		}
	}
}

// gone reports whether no process can publish any more: none is attached, and none can attach,
// because the segment is garbage or has no name.
func (f *Follower) gone() bool {
	if f.o.Refresh() != nil || len(f.o.info.Peers) > 0 {
		return false
	}
	return f.o.info.State == shmem.Garbage || !f.o.Linked() && !f.o.info.Readers
}

// Try returns the next message if there is one. ok is false where Next would wait.
func (f *Follower) Try() (msg Message, ok bool, err error) {
	msg, err = f.try(false)
	if err == errNothing {
		return Message{}, false, nil
	}
	return msg, err == nil, err
}

// errNothing means that Next has to wait.
var errNothing = errors.New("no message yet")

// error wraps the cause of a failed call.
func (f *Follower) error(err error) error { return f.o.error("inspect follow", err) }

// try returns the next message, errNothing, or io.EOF. With skipDead it skips a message whose
// publisher died.
func (f *Follower) try(skipDead bool) (msg Message, err error) {
	var end error // io.EOF and errNothing are not wrapped
	err = f.o.guarded("inspect follow", func() (err error) {
		msg, err = f.next(skipDead)
		if err == io.EOF || err == errNothing {
			end, err = err, nil
		}
		return err
	})
	if err == nil {
		err = end
	}
	return msg, err
}

func (f *Follower) next(skipDead bool) (Message, error) {
	const tries = 1000 // publishers may be faster than this loop
	for range tries {
		pos, lost, err := f.find()
		f.lost += lost
		switch err {
		case nil:
			// A program that has appended fields stores its type before it publishes.
			if err := f.refresh(); err != nil {
				return Message{}, err
			}
			stamp, whole, err := f.copy(pos)
			if err != nil {
				return Message{}, err
			}
			if !whole {
				continue // it was overwritten meanwhile: Next counts it as lost
			}
			return Message{
				Seq: pos, Time: time.Now(), Published: stream.TimeOf(stamp),
				Value: Value{f.topic.Layout.Item, f.buf, 0, nil},
			}, nil
		case ring.ErrHeld: // it is being published, or its publisher died
			if skipDead && f.cursor.PassDead(f.alive) {
				continue
			}
			return Message{}, errNothing
		case ring.ErrEmpty, ring.ErrBusy:
			return Message{}, errNothing
		case ring.ErrClosed:
			return Message{}, stream.Closed(&f.topic.Header.Closed, io.EOF)
		}
		return Message{}, fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
	}
	return Message{}, errNothing
}

// find is Next of the cursor.
func (f *Follower) find() (pos, lost uint64, err error) {
	if f.topic.Layout.Item == nil {
		return f.cursor.NextBytes()
	}
	return f.cursor.Next()
}

// copy copies the message at a position, and returns its time stamp and whether the copy is whole.
func (f *Follower) copy(pos uint64) (stamp int64, whole bool, err error) {
	stamp = f.topic.Stamp(pos)
	if f.topic.Layout.Item != nil {
		f.topic.Load(pos, f.buf)
		return stamp, f.cursor.Done() == nil, nil
	}
	off, n := f.cursor.Extent()
	if n > MaxSnapshot {
		return 0, false, tooLarge(int64(n))
	}
	f.buf = f.topic.AppendBytes(f.buf[:0], off, n)
	return stamp, f.cursor.DoneBytes() == nil, nil
}

// refresh reads the type of the messages again if it is another one. It returns errNothing while it
// is being written.
func (f *Follower) refresh() error {
	o := f.o
	stored := o.m.Peers.Words.Fingerprint.Load()
	if stored == f.typed {
		return nil
	}
	l, err := segment.LookFile(o.file, o.info.Path, o.info.Name)
	if err != nil {
		return err
	}
	if l.Err != nil || l.Fingerprint != stored {
		return errNothing
	}
	t, err := stream.TopicIn(o.m, l.Schema)
	if err != nil {
		return fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
	}
	old, now := f.topic.Layout, t.Layout
	if now.Item == nil || old.Item == nil ||
		now.Capacity != old.Capacity || now.Holds != old.Holds || now.Stride != old.Stride ||
		!format.Prefix(old.Item, now.Item) {
		return fmt.Errorf("%w: the type of its messages was replaced", shmem.ErrCorrupt)
	}
	if now.Item.Size > MaxSnapshot {
		return tooLarge(int64(now.Item.Size))
	}
	f.topic.Layout, f.topic.Size, f.typed = now, t.Size, stored
	f.buf = make([]byte, now.Item.Size)
	return nil
}

// alive reports whether the attachment of that id lives.
func (f *Follower) alive(id uint32) bool {
	return f.o.m.Peers != nil && f.o.m.Peers.Alive(format.ID(id))
}
