package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// pumpCmd sends standard input to a queue or a topic, and makes one if there is none.
type pumpCmd struct {
	Name     string `arg:"" help:"The queue or topic; it is made if there is none."`
	Topic    bool   `help:"Make a topic, whose messages all subscribers receive; else a queue, in which each message goes to one receiver."`
	Frame    int    `placeholder:"N" xor:"form" help:"Frames of N bytes instead of lines."`
	JSON     bool   `name:"json" xor:"form" help:"Lines of JSON, each a message by the type that is stored in the segment."`
	Line     int    `default:"1024" help:"Bytes that a line of a topic can have, when it is made (${default}). 0: a topic of messages of any length."`
	Capacity int    `placeholder:"N" help:"Messages there is room for, when it is made: 1024, but in a topic of frames no more than 64 MiB, 8 at least."`
	Bytes    int    `default:"16777216" help:"Bytes there is room for, when a queue is made, or a topic of messages of any length (${default})."`
	Hold     int    `placeholder:"N" help:"When a topic is made: up to N subscribers (tail --hold) can make it wait for them."`
	Keep     bool   `xor:"end" help:"Do not end the stream that was made: other processes go on sending."`
	End      bool   `xor:"end" help:"End also a queue or topic that was there before."`
}

func (*pumpCmd) Help() string {
	return `Sends standard input to a queue of bytes or a topic, a message a line (without its
newline) or a frame. What it made itself it ends when its input ends, and also when it fails or is
interrupted: "shmem tail" and every receiver see the end. A queue or topic that was there before it
leaves open, unless --end is given. What was made stays for its receivers. It waits while the queue
is full.

A topic that is made has items [N]byte or, for lines, shmem.Text[[N]byte]: topic.Attach opens it
with these types. To a topic that is there frames of the size of its items can be sent, and lines if
these are a shmem.Text or a shmem.Vec of bytes; to one of topic.OpenBytes both, of any length.
Frames are read straight into the memory of the message. To a topic or queue of any type that is
there --json sends lines of JSON, in the form that "shmem tail" prints; fields that a line does not
name are zero.

  $ ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | shmem pump video --topic --frame $((1280*720*3))
  $ shmem tail --raw video | ...`
}

func (c *pumpCmd) Run(e *env) (err error) {
	if c.Frame < 0 || c.Line < 0 || c.Capacity < 0 || c.Bytes < 0 {
		return usageError{errors.New("--frame, --line, --capacity and --bytes are not negative")}
	}
	if err := plainName(c.Name); err != nil {
		return err
	}
	kind, err := e.streamKind(c.Name)
	switch absent := errors.Is(err, fs.ErrNotExist); {
	case err != nil && !absent:
		return err
	case kind == layout.TopicBytesName, absent && c.Topic && !c.JSON && c.Line == 0:
		return c.topicBytes(e)
	case kind == layout.TopicName, absent && c.Topic && !c.JSON:
		return c.topic(e, absent)
	case c.JSON && absent:
		return fmt.Errorf("%w; --json sends to one that is there, by its type", err)
	case kind == layout.QueueName && !c.Topic:
		return c.items(e)
	case c.Topic:
		return fmt.Errorf("%s: %w: it is no topic", c.Name, errRefused)
	}
	return c.queue(e)
}

// items sends to a typed queue.
func (c *pumpCmd) items(e *env) (err error) {
	q, err := stream.AttachItems(c.Name, e.opts())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	if q.Ended() {
		return endedError(c.Name, queue.ErrEnded)
	}
	set, err := c.setter(q.Type())
	if err != nil {
		return err
	}
	return e.pumping(c.Name, c.End, q.End, func() error { return c.send(e, q.Type(), set, q.Send) })
}

// setter returns the function that writes a line into an item, nil for frames. What goes to arrays
// of bytes is frames of their size.
func (c *pumpCmd) setter(item *format.Type) (set func(p, line []byte) error, err error) {
	if c.Frame == 0 && !c.JSON && isByteArray(item) {
		c.Frame = item.Size
	}
	switch set = lineSetter(item); {
	case c.JSON:
		return jsonSetter(item)
	case c.Frame > 0 && c.Frame != item.Size:
		return nil, fmt.Errorf("%s: %w: its items are %s of %d bytes, not frames of %d", c.Name,
			errRefused, item, item.Size, c.Frame)
	case c.Frame == 0 && set == nil:
		return nil, fmt.Errorf("%s: %w: its items are no lines but %s of %d bytes; --frame %d "+
			"sends them as bytes, --json as lines of JSON", c.Name, errRefused, item, item.Size,
			item.Size)
	}
	return set, nil
}

// send sends frames, or lines that set writes.
func (c *pumpCmd) send(e *env, item *format.Type, set func(p, line []byte) error,
	send func(context.Context, func([]byte) error) error) error {
	if c.Frame > 0 {
		return eachFrame(os.Stdin, item.Size,
			func(f func([]byte) error) error { return send(e.ctx, f) })
	}
	message := make([]byte, item.Size) // a line that does not fit claims no room
	return eachLine(os.Stdin, func(n int, line []byte) error {
		if err := set(message, line); err != nil {
			return fmt.Errorf("%s: line %d: %w", c.Name, n, err)
		}
		return send(e.ctx, func(p []byte) error {
			copy(p, message)
			return nil
		})
	})
}

// defaultCapacity is how many messages a queue or topic has room for that pump makes.
const defaultCapacity = 1024

// mayEnd says whether pump is to end the stream behind its input.
func (c *pumpCmd) mayEnd(made bool) bool { return made && !c.Keep || c.End }

// queue sends to a queue.
func (c *pumpCmd) queue(e *env) (err error) {
	q, made, err := c.openQueue(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	// Checked first, so that the input of a pipe is not read for nothing.
	if st, err := q.Stats(); err == nil && st.Ended {
		return endedError(c.Name, queue.ErrEnded)
	}
	if c.Frame > q.MaxLen() {
		return fmt.Errorf("%s: %w: frames of %d bytes do not fit, a message has %d at most: "+
			"--bytes makes a queue with more", c.Name, errRefused, c.Frame, q.MaxLen())
	}
	return e.pumping(c.Name, c.mayEnd(made), q.End, func() error {
		if c.Frame > 0 {
			return eachFrame(os.Stdin, c.Frame,
				func(f func([]byte) error) error { return q.SendFunc(e.ctx, c.Frame, f) })
		}
		return eachLine(os.Stdin, func(n int, line []byte) error {
			if len(line) > q.MaxLen() {
				return fmt.Errorf("%s: line %d has %d bytes, a message %d at most: --bytes makes "+
					"a queue with more", c.Name, n, len(line), q.MaxLen())
			}
			return q.Send(e.ctx, line)
		})
	})
}

// openQueue attaches to the queue, or makes it.
func (c *pumpCmd) openQueue(e *env) (q *queue.Bytes, made bool, err error) {
	if c.Capacity == 0 {
		c.Capacity = defaultCapacity
	}
	o := &queue.BytesOptions{Dir: e.dir, Lifetime: shmem.Kept, Capacity: c.Capacity,
		Bytes: max(c.Bytes, 2*c.Frame)}
	q, err = queue.AttachBytes(c.Name, &queue.BytesOptions{Dir: e.dir})
	if !errors.Is(err, fs.ErrNotExist) {
		return q, false, err
	}
	q, err = queue.CreateBytes(c.Name, o)
	if !errors.Is(err, fs.ErrExist) {
		return q, true, err
	}
	// another process was faster
	q, err = queue.AttachBytes(c.Name, &queue.BytesOptions{Dir: e.dir})
	return q, false, err
}

// pumping calls send. If the stream is to be ended it ends it whatever becomes of send, because the
// receivers would wait for ever.
func (e *env) pumping(name string, mayEnd bool, end, send func() error) error {
	defer e.endsReading(func() {
		if mayEnd {
			_ = end()
		}
	})()
	err := send()
	if errors.Is(err, queue.ErrEnded) || errors.Is(err, topic.ErrEnded) {
		return endedError(name, err)
	}
	if !mayEnd {
		return err
	}
	if err != nil {
		fmt.Fprintf(e.err, "shmem: %s has ended, with what was sent before the error\n",
			clean(name))
	}
	return errors.Join(err, end())
}

// endedError is the error of a stream that nothing can be sent to.
func endedError(name string, err error) error {
	return fmt.Errorf("%s: %w: it has ended, nothing more can be sent: `shmem rm %s` removes it "+
		"(`shmem tail --rm %s` receives first what is left), then another can be made",
		name, errRefused, name, name)
}

// topic publishes to a topic. absent: there is none of that name.
func (c *pumpCmd) topic(e *env, absent bool) (err error) {
	t, made, err := c.openTopic(e, absent)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.Ended() {
		return endedError(c.Name, topic.ErrEnded)
	}
	item := t.Layout.Item
	set, err := c.setter(item)
	if err != nil {
		return err
	}
	return e.pumping(c.Name, c.mayEnd(made), t.End, func() error {
		return c.send(e, item, set, t.PublishInPlace)
	})
}

// topicBytes publishes to a topic of messages of any length.
func (c *pumpCmd) topicBytes(e *env) (err error) {
	if c.JSON {
		return fmt.Errorf("%s: %w: its messages have no type: they are lines or frames", c.Name,
			errRefused)
	}
	t, made, err := c.openTopicBytes(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if st, err := t.Stats(); err == nil && st.Ended {
		return endedError(c.Name, topic.ErrEnded)
	}
	return e.pumping(c.Name, c.mayEnd(made), t.End, func() error {
		if c.Frame > 0 {
			return eachFrame(os.Stdin, c.Frame,
				func(f func([]byte) error) error { return t.PublishFunc(e.ctx, c.Frame, f) })
		}
		return eachLine(os.Stdin, func(_ int, line []byte) error {
			return t.Publish(e.ctx, line)
		})
	})
}

// openTopicBytes attaches to the topic, or makes it.
func (c *pumpCmd) openTopicBytes(e *env) (t *topic.Bytes, made bool, err error) {
	t, err = topic.AttachBytes(c.Name, &topic.BytesOptions{Dir: e.dir})
	if !errors.Is(err, fs.ErrNotExist) {
		return t, false, err
	}
	t, err = topic.CreateBytes(c.Name, &topic.BytesOptions{
		Dir: e.dir, Lifetime: shmem.Kept, Capacity: c.Capacity, Bytes: c.Bytes, Holds: c.Hold,
	})
	if !errors.Is(err, fs.ErrExist) {
		return t, true, err
	}
	// another process was faster
	t, err = topic.AttachBytes(c.Name, &topic.BytesOptions{Dir: e.dir})
	return t, false, err
}

// openTopic makes the topic if it is absent, or else attaches to it.
func (c *pumpCmd) openTopic(e *env, absent bool) (t *stream.Topic, made bool, err error) {
	if absent {
		t, err = e.createTopic(c.Name, c.item(), c.topicCapacity(), c.Hold, 0)
		if !errors.Is(err, fs.ErrExist) { // if so, another process was faster
			return t, true, err
		}
	}
	t, err = e.openTopic("topic attach", c.Name)
	return t, false, err
}

// item is the type of the messages of a topic that pump makes.
func (c *pumpCmd) item() *format.Type {
	if c.Frame > 0 {
		return bytesType(c.Frame)
	}
	return textType(c.Line)
}

// topicCapacity is how many messages the topic keeps. Frames may be large: by default they get at
// most 64 MiB, but 8 messages at least.
func (c *pumpCmd) topicCapacity() int {
	n := c.Capacity
	if n == 0 {
		n = defaultCapacity
	}
	if c.Frame > 0 {
		n = min(n, max(8, 64<<20/c.Frame))
	}
	return n
}
