package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/stream"
)

// openTopic attaches to a topic whose messages may have any type. The command knows nothing of the
// topic's life, so it leaves the cleanup after a dead owner to other attachments.
func (e *env) openTopic(op, name string) (*stream.Topic, error) {
	return stream.OpenTopic(stream.Plan{
		Op: op, Name: name, Mode: stream.Attach, Options: e.opts(), Visitor: true,
	}, nil, 0, 0)
}

// openTopicBytes attaches to a topic of messages of any length.
func (e *env) openTopicBytes(op, name string) (*stream.Topic, error) {
	return stream.OpenTopicBytes(stream.Plan{
		Op: op, Name: name, Mode: stream.Attach, Options: e.opts(), Visitor: true,
	}, 0, 0, 0)
}

// createTopic creates a topic that stays when the command exits. Mode 0 is the default.
func (e *env) createTopic(
	name string, item *format.Type, capacity, holds int, mode fs.FileMode,
) (*stream.Topic, error) {
	if capacity < 1 || int64(capacity) > 1<<31 || holds < 0 || holds > 1<<16 {
		return nil, usageError{fmt.Errorf("a topic has 1 to 2^31 messages, and 0 to 65536 holds")}
	}
	return stream.OpenTopic(stream.Plan{
		Op: "topic create", Name: name, Mode: stream.Create, Visitor: true,
		Options: &shmem.Options{Dir: e.dir, Lifetime: shmem.Kept, Undo: shmem.UndoNever,
			Mode: mode},
	}, item, capacity, holds)
}

// receiveHeld receives as a subscriber that holds publishers back. f gets each message in place,
// its time stamp, and whether another one is ready behind it. It returns io.EOF at the end of the
// topic.
func receiveHeld(
	ctx context.Context, t *stream.Topic, f func(p []byte, stamp int64, more bool) error,
) error {
	s, err := t.Subscribe(stream.Start{}, stream.Hold)
	if errors.Is(err, stream.ErrNoHold) {
		return fmt.Errorf("%w: %d subscribers can hold its publishers back, and as many do",
			errRefused, t.Layout.Holds)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		var err error
		if t.Layout.Item == nil {
			err = s.RecvBytesFunc(ctx, func(p []byte) error {
				pos := s.Next()
				return f(p, t.Stamp(pos), t.Ring.Now() > pos+1)
			})
		} else {
			err = s.RecvFunc(ctx, func(pos uint64) error {
				return f(t.InPlace(pos), t.Stamp(pos), t.Ring.Now() > pos+1)
			})
		}
		if err != nil {
			return err
		}
	}
}

// streamKind returns the name of the type of a queue or topic, see inspect.Type.Stream. It is
// fs.ErrNotExist if there is none.
func (e *env) streamKind(name string) (string, error) {
	s, err := e.inspect(name)
	if err != nil {
		return "", err
	}
	defer s.Close()
	switch t := s.Type(); {
	case s.Info().State == shmem.Garbage:
		return "", fmt.Errorf("%s: %w: its owner has died", name, fs.ErrNotExist)
	case t == nil || t.Stream() == "":
		return "", e.unfit(s, name, "sends to queues and topics")
	default:
		return t.Stream(), nil
	}
}

// typeName returns the name of a type, with the type of the messages of a queue or topic.
func typeName(t *inspect.Type) string {
	if item := t.Item(); item != nil {
		return t.Name() + "[" + cut(item.String(), 60) + "]"
	}
	if key, value := t.MapTypes(); key != nil {
		return mapName(key, value)
	}
	if request, reply := t.CallTypes(); request != nil {
		return callName(request, reply)
	}
	return t.Name()
}

// plainName returns a usage error for a path where the name of a segment is needed.
func plainName(name string) error {
	dir, base := filepath.Split(name)
	if dir == "" {
		return nil
	}
	return usageError{fmt.Errorf("%s: a name has no slash; use --dir %s and the name %s",
		name, filepath.Clean(dir), base)}
}

// bytesType returns [n]byte.
func bytesType(n int) *format.Type {
	b := &format.Type{Kind: format.Uint8, Size: 1, Align: 1}
	return &format.Type{Kind: format.Array, Size: n, Align: 1, Len: n, Elem: b}
}

// textType returns shmem.Text[[n]byte].
func textType(n int) *format.Type {
	return &format.Type{
		Kind: format.Struct, Name: fmt.Sprintf("shmem.Text[[%d]uint8]", n), Size: n, Align: 1,
		Fields: []format.Field{{Name: "b", Type: bytesType(n)}},
	}
}
