package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/anytopic"
	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/topic"
)

// A topicEnd is an attachment to a topic whose item type is not known to this program: what
// topic.Topic is to a T. It leaves the duty of the last one to others.
type topicEnd struct {
	*anytopic.Topic
	seg  *shmem.Segment
	m    *mem.Mapping
	pub  *ring.Publisher
	self uint32
	at   uint64 // position that held is at
}

// errNoTopic: the segment cannot be a topic.
var errNoTopic = fmt.Errorf("%w: it is no topic", shmem.ErrMismatch)

// attachTopic attaches to a topic.
func (e *env) attachTopic(name string) (*topicEnd, error) {
	return e.openTopic(compose.Plan{Op: "attach", Name: name, Attach: true}, e.opts())
}

// createTopic makes a topic, which stays.
func (e *env) createTopic(name string, item *format.Type, capacity, holds int) (*topicEnd, error) {
	if capacity < 1 || int64(capacity) > 1<<31 || holds < 0 || holds > 1<<16 {
		return nil, usageError{fmt.Errorf("a topic has 1 to 2^31 messages, and 0 to 65536 holds")}
	}
	l, err := layout.NewTopic(item, capacity, holds)
	if err != nil {
		return nil, err
	}
	t := l.Type
	return e.openTopic(compose.Plan{
		Op: "create", Name: name, Create: true, Size: t.Size,
		Type: func(int, *format.Type) (*format.Type, error) { return t, nil },
	}, &shmem.Options{Dir: e.dir, Kept: true, Undo: shmem.UndoNever})
}

func (e *env) openTopic(p compose.Plan, o *shmem.Options) (*topicEnd, error) {
	p.Visitor = true
	if p.Type == nil {
		p.Type = func(payload int, stored *format.Type) (*format.Type, error) {
			l, err := layout.TopicOf(stored)
			if err != nil || stored.Size != payload {
				return nil, errNoTopic
			}
			return l.Type, nil
		}
	}
	seg, m, t, err := compose.Open(p, o)
	if err != nil {
		return nil, err
	}
	end := &topicEnd{seg: seg.(*shmem.Segment), m: m, self: uint32(m.Peers.Self)}
	if end.Topic, err = anytopic.Of(m, t); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %v", p.Name, shmem.ErrMismatch, err), end.Close())
	}
	end.pub = end.Ring.Publisher(end.self)
	return end, nil
}

// Close detaches.
func (t *topicEnd) Close() error { return t.seg.Close() }

// publish publishes a message that f writes in its place. Nobody else sees it before; if f fails
// nobody does.
func (t *topicEnd) publish(ctx context.Context, f func([]byte) error) error {
	if !t.m.Pin() {
		return shmem.ErrClosed
	}
	defer t.m.Unpin()
	pos, err := t.claim(ctx)
	if err != nil {
		return err
	}
	defer wait.Wake(t.m, &t.Header.SendArmed)
	defer wait.Wake(t.m, &t.Header.RecvArmed)
	if err := f(t.Place(pos)); err != nil {
		return errors.Join(err, t.pub.Cancel(pos))
	}
	return t.pub.Publish(pos)
}

func (t *topicEnd) claim(ctx context.Context) (uint64, error) {
	for {
		pos, err := t.pub.Claim()
		switch err {
		case nil:
			return pos, nil
		case ring.ErrClosed:
			return 0, topic.ErrEnded
		case ring.ErrFull, ring.ErrHeld:
			err = wait.Until(ctx, t.m, &t.Header.SendArmed, t.Ring.CanClaim, wait.Options{Look: t.repair})
		case ring.ErrBusy:
			err = ctx.Err()
		default:
			err = fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
		}
		if err != nil {
			return 0, err
		}
	}
}

// repair frees what the dead hold.
func (t *topicEnd) repair() bool {
	alive := func(id uint32) bool { return t.m.Peers.Alive(format.ID(id)) }
	skips, holds := t.Ring.Repair(alive)
	if skips+holds == 0 {
		return false
	}
	t.Header.Released.Add(uint64(holds))
	wait.Wake(t.m, &t.Header.RecvArmed)
	wait.Wake(t.m, &t.Header.SendArmed)
	return true
}

// more tells whether there is a message behind the one that is being received.
func (t *topicEnd) more() bool { return t.Ring.Now() > t.at+1 }

// end ends the topic.
func (t *topicEnd) end() error {
	if !t.m.Pin() {
		return shmem.ErrClosed
	}
	defer t.m.Unpin()
	t.Ring.Close()
	wait.Wake(t.m, &t.Header.RecvArmed)
	wait.Wake(t.m, &t.Header.SendArmed)
	return nil
}

// held receives as a subscriber that holds publishers back: f sees each message in its place.
func (t *topicEnd) held(ctx context.Context, f func([]byte) error) error {
	if !t.m.Pin() {
		return shmem.ErrClosed
	}
	defer t.m.Unpin()
	c, err := t.Ring.Hold(t.self)
	if err != nil && t.repair() {
		c, err = t.Ring.Hold(t.self)
	}
	if err != nil {
		return fmt.Errorf("%w: %d subscribers can hold its publishers back, and as many do", errRefused, t.Ring.Holds())
	}
	defer wait.Wake(t.m, &t.Header.SendArmed)
	defer c.Leave()
	for {
		pos, _, err := c.Next()
		switch err {
		case nil:
			t.at = pos
			if err := f(t.Place(pos)); err != nil {
				return err
			}
			_ = c.Done()
			wait.Wake(t.m, &t.Header.SendArmed)
		case ring.ErrClosed:
			return io.EOF
		case ring.ErrEmpty, ring.ErrHeld:
			wait.Wake(t.m, &t.Header.SendArmed) // what was skipped need not be held any more
			at := c.Pos()
			err := wait.Until(ctx, t.m, &t.Header.RecvArmed, func() bool { return t.Ring.CanNext(at) }, wait.Options{Look: t.repair})
			if err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)
		}
	}
}

// stream looks what is there under a name: fs.ErrNotExist, or what a queue or topic is called, see Type.Stream.
func (e *env) stream(name string) (string, error) {
	s, err := e.inspect(name)
	if err != nil {
		return "", err
	}
	defer s.Close()
	switch t := s.Type(); {
	case s.Info().State == shmem.Garbage:
		return "", fmt.Errorf("%s: %w: its owner has died", name, fs.ErrNotExist)
	case t == nil:
		return "", fmt.Errorf("%s: %w: it is no queue or topic", name, errRefused)
	case t.Stream() == "":
		return "", fmt.Errorf("%s: %w: it is a %s, no queue or topic", name, errRefused, t)
	default:
		return t.Stream(), nil
	}
}

// typeName is what a type is called, with that of the messages of a queue or topic.
func typeName(t *inspect.Type) string {
	if item := t.Item(); item != nil {
		return t.Name() + "[" + cut(item.String(), 60) + "]"
	}
	return t.Name()
}

// plainName refuses a path where the name of a segment is needed.
func plainName(name string) error {
	if dir, base := filepath.Split(name); dir != "" {
		return usageError{fmt.Errorf("%s: a name has no slash; --dir %s is for the directory, and then the name is %s", name, filepath.Clean(dir), base)}
	}
	return nil
}

// bytesType is [n]byte.
func bytesType(n int) *format.Type {
	b := &format.Type{Kind: format.Uint8, Size: 1, Align: 1}
	return &format.Type{Kind: format.Array, Size: n, Align: 1, Len: n, Elem: b}
}

// textType is shmem.Text[[n]byte].
func textType(n int) *format.Type {
	return &format.Type{
		Kind: format.Struct, Name: fmt.Sprintf("shmem.Text[[%d]uint8]", n), Size: n, Align: 1,
		Fields: []format.Field{{Name: "b", Type: bytesType(n)}},
	}
}
