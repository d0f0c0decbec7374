package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

type pumpCmd struct {
	Name     string `arg:"" help:"The queue.Bytes or topic; it is made if there is none."`
	Topic    bool   `help:"Make a topic, which tells every message to all who listen; else a queue, which gives each to one."`
	Frame    int    `placeholder:"N" help:"Frames of N bytes instead of lines."`
	Line     int    `default:"1024" help:"Bytes that a line of a topic can have, when it is made (${default})."`
	Capacity int    `placeholder:"N" help:"Messages there is room for, when it is made: 1024, but in a topic of frames no more than 64 MiB, 8 at least."`
	Bytes    int    `default:"16777216" help:"Bytes there is room for, when a queue is made (${default})."`
	Hold     int    `placeholder:"N" help:"When a topic is made: up to N subscribers (tail --hold) can make it wait for them."`
	Keep     bool   `xor:"end" help:"Do not end the stream that was made: others go on sending."`
	End      bool   `xor:"end" help:"End also a queue or topic that was there before."`
}

func (*pumpCmd) Help() string {
	return `Sends standard input to a queue of bytes or a topic, a message a line (without its newline) or a frame. What
it made itself it ends when its input ends, and also when it fails or is interrupted: "shmem tail" and every
receiver see the end. A queue or topic that was there before it leaves open for others, but with --end. What was
made stays for its receivers. It waits while the queue is full.

A topic that is made has items [N]byte or, for lines, shmem.Text[[N]byte]: topic.Attach opens it with
these types. To a topic that is there frames of the size of its items can be sent, and lines if these
are a shmem.Text or a shmem.Vec of bytes. Frames are read straight into their place.

  $ ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | shmem pump video --topic --frame $((1280*720*3))
  $ shmem tail video | ...`
}

func (c *pumpCmd) Run(e *env) (err error) {
	if c.Frame < 0 || c.Line < 1 || c.Capacity < 0 || c.Bytes < 0 {
		return usageError{errors.New("--frame, --line, --capacity and --bytes are numbers of at least 1")}
	}
	if err := plainName(c.Name); err != nil {
		return err
	}
	kind, err := e.kindOf(c.Name)
	switch made := errors.Is(err, fs.ErrNotExist); {
	case err != nil && !made:
		return err
	case kind == "topic.Topic", made && c.Topic:
		return c.topic(e, made)
	case kind == "queue.Queue":
		return fmt.Errorf("%s: %w: it is a queue.Queue, whose messages are values of a Go type; pump sends to a queue.Bytes or a topic", c.Name, errRefused)
	case c.Topic:
		return fmt.Errorf("%s: %w: it is no topic", c.Name, errRefused)
	}
	return c.queue(e)
}

// ending says whether the stream is this one's to end.
func (c *pumpCmd) ending(made bool) bool { return made && !c.Keep || c.End }

// queue pumps into a queue.
func (c *pumpCmd) queue(e *env) (err error) {
	if c.Capacity == 0 {
		c.Capacity = 1024
	}
	o := &queue.BytesOptions{Dir: e.dir, Kept: true, Capacity: c.Capacity, Bytes: max(c.Bytes, 2*c.Frame)}
	q, err := queue.AttachBytes(c.Name, o)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		q, err = queue.CreateBytes(c.Name, o)
		if errors.Is(err, fs.ErrExist) { // somebody was faster
			made = false
			q, err = queue.AttachBytes(c.Name, o)
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	if st, err := q.Stats(); err == nil && st.Ended {
		return ended(c.Name, queue.ErrEnded)
	}
	if c.Frame > q.MaxLen() {
		return fmt.Errorf("%s: %w: frames of %d bytes do not fit, a message has %d at most: --bytes makes a queue with more", c.Name, errRefused, c.Frame, q.MaxLen())
	}
	return e.pumping(c.Name, c.ending(made), q.End, func() error {
		if c.Frame > 0 {
			return frames(os.Stdin, c.Frame, func(f func([]byte) error) error { return q.SendFunc(e.ctx, c.Frame, f) })
		}
		return eachLine(os.Stdin, func(n int, line []byte) error {
			if len(line) > q.MaxLen() {
				return fmt.Errorf("%s: line %d has %d bytes, a message %d at most: --bytes makes a queue with more", c.Name, n, len(line), q.MaxLen())
			}
			return q.Send(e.ctx, line)
		})
	})
}

// pumping calls send, and ends the stream behind it, if it is to be ended, whatever becomes of send: those who receive
// would wait for ever.
func (e *env) pumping(name string, ending bool, end, send func() error) error {
	defer e.endsReading(func() {
		if ending {
			_ = end()
		}
	})()
	err := send()
	if isEnded(err) {
		return ended(name, err)
	}
	if !ending {
		return err
	}
	if err != nil {
		fmt.Fprintf(e.err, "shmem: %s has ended, with what was sent before the error\n", name)
	}
	return errors.Join(err, end())
}

func isEnded(err error) bool { return errors.Is(err, queue.ErrEnded) || errors.Is(err, topic.ErrEnded) }

// ended is the error of a stream that nothing can be sent to.
func ended(name string, err error) error {
	return fmt.Errorf("%s: %w: it has ended, nothing more can be sent: `shmem rm %s` removes it (`shmem tail --rm %s` receives first what is left), then another can be made",
		name, errRefused, name, name)
}

// topic pumps into a topic.
func (c *pumpCmd) topic(e *env, made bool) (err error) {
	var t *stream.Topic
	if made {
		item := textType(c.Line)
		if c.Capacity == 0 {
			c.Capacity = 1024
		}
		if c.Frame > 0 {
			item = bytesType(c.Frame)
			c.Capacity = min(c.Capacity, max(8, 64<<20/c.Frame))
		}
		if t, err = e.createTopic(c.Name, item, c.Capacity, c.Hold); errors.Is(err, fs.ErrExist) { // somebody was faster
			made = false
		}
	}
	if !made {
		t, err = e.openTopic("topic attach", c.Name)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.Ended() {
		return ended(c.Name, topic.ErrEnded)
	}
	item := t.Layout.Item
	frame := c.Frame
	if frame == 0 && item.Kind == format.Array && item.Elem.Kind == format.Uint8 {
		frame = item.Size
	}
	set := lineSetter(item)
	switch {
	case frame > 0 && frame != item.Size:
		return fmt.Errorf("%s: %w: its items are %s of %d bytes, not frames of %d", c.Name, errRefused, item, item.Size, frame)
	case frame == 0 && set == nil:
		return fmt.Errorf("%s: %w: its items are no lines but %s of %d bytes; --frame %d sends them as bytes", c.Name, errRefused, item, item.Size, item.Size)
	}
	return e.pumping(c.Name, c.ending(made), t.End, func() error {
		if frame > 0 {
			return frames(os.Stdin, frame, func(f func([]byte) error) error { return t.PublishInPlace(e.ctx, f) })
		}
		return eachLine(os.Stdin, func(n int, line []byte) error {
			return t.PublishInPlace(e.ctx, func(p []byte) error {
				if err := set(p, line); err != nil {
					return fmt.Errorf("%s: line %d: %w", c.Name, n, err)
				}
				return nil
			})
		})
	})
}

// lineSetter writes a line as an item of that type; nil if it cannot hold one.
func lineSetter(t *format.Type) func(p, line []byte) error {
	put := func(p, line []byte) error {
		if len(line) > len(p) {
			return fmt.Errorf("%d bytes do not fit into an item of %d: --line makes a topic for longer ones", len(line), len(p))
		}
		clear(p[copy(p, line):])
		return nil
	}
	isBytes := func(t *format.Type) bool { return t.Kind == format.Array && t.Elem.Kind == format.Uint8 }
	switch {
	case strings.HasPrefix(t.Name, "shmem.Text[") && len(t.Fields) == 1:
		return func(p, line []byte) error {
			if bytes.IndexByte(line, 0) >= 0 {
				return errors.New("it has a NUL byte, which a text cannot have: --frame sends bytes")
			}
			return put(p, line)
		}
	case strings.HasPrefix(t.Name, "shmem.Vec[") && len(t.Fields) == 2 && isBytes(t.Fields[1].Type):
		n, items := t.Fields[0], t.Fields[1]
		return func(p, line []byte) error {
			if err := put(p[items.Offset:][:items.Type.Len], line); err != nil {
				return err
			}
			binary.NativeEndian.PutUint32(p[n.Offset:], uint32(len(line)))
			return nil
		}
	}
	return nil
}

// frames sends frame after frame: send gives each its place, into which it is read.
func frames(in io.Reader, n int, send func(func([]byte) error) error) error {
	if n < 64<<10 {
		in = bufio.NewReaderSize(in, 64<<10)
	}
	for first := make([]byte, 1); ; {
		if _, err := io.ReadFull(in, first); err == io.EOF { // before a place is taken
			return nil
		} else if err != nil {
			return err
		}
		err := send(func(p []byte) error {
			p[0] = first[0]
			_, err := io.ReadFull(in, p[1:])
			return err
		})
		if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
			return fmt.Errorf("the input ended inside a frame of %d bytes, which was not sent", n)
		}
		if err != nil {
			return err
		}
	}
}

// eachLine sends line after line, with its number from 1.
func eachLine(r io.Reader, send func(int, []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if err := send(n, bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type tailCmd struct {
	Name  string `arg:"" help:"The queue.Bytes or topic."`
	Wait  bool   `help:"Wait until it is there."`
	Raw   bool   `xor:"form" help:"The bytes of each message, without a newline behind it."`
	JSON  bool   `name:"json" xor:"form" help:"A line of JSON for each message of a topic."`
	From  string `default:"now" placeholder:"WHERE" help:"Where in a topic to begin: now, oldest, or a sequence number."`
	Hold  bool   `help:"Make the publishers of a topic wait for this one, if it was made for that: nothing is lost."`
	Count int    `short:"n" help:"End after so many messages."`
	Rm    bool   `help:"Remove it at the end of the stream."`
}

func (*tailCmd) Help() string {
	return `Receives until the stream ends, or Ctrl-C. Of a queue of bytes a message is received once, by one receiver: this
one takes part, and writes each message from its place, without a copy.

Of a topic everybody receives everything. Texts are a line each, arrays of bytes are written as they
are, and other items are a line of JSON. It takes no slot and no lock: nobody waits for it, and if it
is slower than the publishers for a whole round it loses messages, and says how many. With --hold it
attaches, and they wait.`
}

func (c *tailCmd) Run(e *env) (err error) {
	s, err := c.open(e)
	if err != nil {
		return err
	}
	defer s.Close()
	done := false
	switch t := s.Type(); {
	case s.MessageType() != nil:
		done, err = c.topic(e, s)
	case t != nil && t.Stream() == "queue.Queue":
		return fmt.Errorf("%s: %w: it is a %s, whose messages go to Go programs that know the type (queue.Attach); `shmem cat %s` shows what is in it and takes nothing out",
			c.Name, errRefused, typeName(t), c.Name)
	default:
		done, err = c.queue(e)
	}
	if done && c.Rm && err == nil {
		err = shmem.Remove(e.dir, c.Name)
	}
	if err == nil && !done {
		err = e.signalled()
	}
	return err
}

// open looks at the queue or topic, with --wait when it is there.
func (c *tailCmd) open(e *env) (*inspect.Observer, error) {
	for {
		open := e.open
		if c.Wait {
			open = e.inspect // which says nothing of those that have lost their name
		}
		s, err := open(c.Name)
		if err == nil && s.Info().State == shmem.Garbage {
			s.Close()
			err = fmt.Errorf("%s: %w: its owner has died and nobody is attached, nothing more can come; `shmem cat %s` shows what is left", c.Name, fs.ErrNotExist, c.Name)
		}
		if !errors.Is(err, fs.ErrNotExist) || strings.Contains(c.Name, "/") {
			return s, err
		}
		if !c.Wait {
			return nil, fmt.Errorf("%w; tail --wait waits until it is there", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-e.ctx.Done():
			return nil, e.signalled()
		}
	}
}

// parseFrom is what --from says.
func parseFrom(s string) (uint64, error) {
	switch s {
	case "now":
		return inspect.FromNow, nil
	case "oldest":
		return inspect.FromOldest, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, usageError{fmt.Errorf("--from %s: now, oldest or a sequence number is needed", s)}
	}
	return n, nil
}

// errEnough ends a loop over messages.
var errEnough = errors.New("enough")

func (c *tailCmd) topic(e *env, s *inspect.Observer) (ended bool, err error) {
	from, err := parseFrom(c.From)
	if err != nil {
		return false, err
	}
	t := s.MessageType()
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	n := 0
	show := func(v inspect.Value) error {
		if err := c.show(out, v); err != nil {
			return err
		}
		if n++; n == c.Count {
			return errEnough
		}
		return nil
	}
	if c.Hold {
		if c.From != "now" {
			return false, usageError{errors.New("--hold begins now: --from is for those who do not hold")}
		}
		err = c.held(e, t, out, show)
	} else {
		f, err1 := e.follow(s, from)
		if err1 != nil {
			return false, err1
		}
		err = follow(e.ctx, f, out.Flush, func(m inspect.Message) error { return show(m.Value) })
		if f.Lost() > 0 {
			fmt.Fprintf(e.err, "shmem: %s: %d messages lost: publishers were a whole round ahead\n", c.Name, f.Lost())
		}
	}
	if err1 := out.Flush(); err == nil || err == io.EOF || err == errEnough {
		if err1 != nil {
			return false, err1
		}
	}
	switch {
	case err == io.EOF:
		return true, nil
	case err == errEnough, e.ctx.Err() != nil:
		return false, nil
	case errors.Is(err, fs.ErrNotExist) && !s.Linked():
		if now, err1 := e.inspect(c.Name); err1 == nil {
			now.Close()
			err = fmt.Errorf("%w; another one has taken its name", err)
		}
	}
	return false, err
}

// follow begins to follow a topic, and says so if that is not where it was to begin.
func (e *env) follow(s *inspect.Observer, from uint64) (*inspect.Follower, error) {
	f, err := s.Follow(from)
	if err == nil && from < inspect.FromOldest && f.Seq() < from {
		fmt.Fprintf(e.err, "shmem: %s has not come to message %d: this begins with the next one, %d\n", s.Info().Name, from, f.Seq())
	}
	return f, err
}

func (c *tailCmd) held(e *env, item *inspect.Type, out *bufio.Writer, show func(inspect.Value) error) error {
	t, err := e.openTopic("topic attach", c.Name)
	if err != nil {
		return err
	}
	defer t.Close()
	if t.Layout.Holds == 0 {
		return fmt.Errorf("%s: %w: nobody can hold its publishers back; `shmem pump --hold N` and topic.Options.Holds make a topic for N who do", c.Name, errRefused)
	}
	return receiveHeld(e.ctx, t, func(p []byte, more bool) error {
		v, err := item.Of(p)
		if err == nil {
			err = show(v)
		}
		if err == nil && out.Buffered() > 0 && !more {
			err = out.Flush()
		}
		return err
	})
}

// show writes a message of a topic.
func (c *tailCmd) show(out *bufio.Writer, v inspect.Value) error {
	switch k := v.Kind(); {
	case c.JSON:
	case c.Raw, k == inspect.Array && v.Type().Elem().Kind() == inspect.Uint && v.Type().Elem().Size() == 1:
		_, err := out.Write(v.Bytes())
		return err
	case k == inspect.Text, k == inspect.List && v.Type().Elem().Kind() == inspect.Uint && v.Type().Elem().Size() == 1:
		_, err := out.Write(lineOf(v))
		if err == nil {
			err = out.WriteByte('\n')
		}
		return err
	}
	b, err := v.MarshalJSON()
	if err == nil {
		_, err = out.Write(append(b, '\n'))
	}
	return err
}

// lineOf is what a text or a list of bytes says.
func lineOf(v inspect.Value) []byte {
	if v.Kind() == inspect.Text {
		return v.Bytes()[:v.Len()]
	}
	p := make([]byte, v.Len())
	for i := range p {
		p[i] = v.Index(i).Bytes()[0]
	}
	return p
}

// follow calls f for each message, and idle before it waits for one.
func follow(ctx context.Context, fo *inspect.Follower, idle func() error, f func(inspect.Message) error) error {
	for {
		m, ok, err := fo.Try()
		if err == nil && !ok {
			if err := idle(); err != nil {
				return err
			}
			m, err = fo.Next(ctx)
		}
		if err == nil {
			err = f(m)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func (c *tailCmd) queue(e *env) (ended bool, err error) {
	if c.From != "now" || c.Hold || c.JSON {
		return false, usageError{fmt.Errorf("--from, --hold and --json are for topics, and %s is none", c.Name)}
	}
	q, err := queue.AttachBytes(c.Name, &queue.BytesOptions{Dir: e.dir})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	out := io.Writer(os.Stdout)
	var buf *bufio.Writer
	if !c.Raw {
		buf = bufio.NewWriterSize(os.Stdout, 64<<10)
		out = buf
		defer func() { err = errors.Join(err, buf.Flush()) }()
	}
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		err := q.RecvFunc(e.ctx, func(p []byte) error {
			if _, err := out.Write(p); err != nil || c.Raw {
				return err
			}
			return buf.WriteByte('\n')
		})
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case e.ctx.Err() != nil:
			return false, nil
		case err != nil:
			return false, err
		}
		if buf != nil && q.Len() == 0 {
			if err := buf.Flush(); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}
