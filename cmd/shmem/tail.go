package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/queue"
)

// tailCmd receives from a queue, or follows a topic.
type tailCmd struct {
	Name  string `arg:"" help:"The queue or topic."`
	Wait  bool   `help:"Wait until it is there."`
	Raw   bool   `xor:"form" help:"The bytes of each message as they are, without a newline behind it."`
	JSON  bool   `name:"json" xor:"form" help:"A line of JSON for each message of a topic or typed queue."`
	Time  bool   `xor:"form" help:"Before each message that has a time stamp, when it was published or sent."`
	From  string `default:"now" placeholder:"WHERE" help:"Where in a topic to begin: now, oldest, or a sequence number."`
	Hold  bool   `help:"Make the publishers of a topic wait for this one, if it was made for that: nothing is lost."`
	Count int    `short:"n" help:"End after so many messages."`
	Rm    bool   `help:"Remove it at the end of the stream."`
}

func (*tailCmd) Help() string {
	return `Receives until the stream ends, or Ctrl-C. Each message of a queue goes to one
receiver, and tail is one.

The messages of a topic go to all subscribers. Each message is a line: of a queue or topic of bytes
and of texts the text, of arrays of bytes the text in quotes or hex digits, of other items JSON by
the type that is stored in the segment ("shmem pump --json" takes such lines). What a
terminal would act on is escaped, as \x1b: only --raw writes the bytes as they are. tail takes no
slot and no lock: no publisher waits for it, and if publishers are a whole round of the ring ahead
it loses messages, and says how many. With --hold it attaches, and they wait; fields that a newer
program appends meanwhile are not shown then.`
}

func (c *tailCmd) Run(e *env) (err error) {
	o, err := c.open(e)
	if err != nil {
		return err
	}
	defer o.Close()
	ended := false
	switch t := o.Type(); {
	case !isStream(o):
		return e.unfit(o, c.Name, "receives from queues and topics")
	case o.MessageType() != nil, t.Stream() == layout.TopicBytesName:
		ended, err = c.topic(e, o)
	case t != nil && t.Stream() == layout.QueueName:
		ended, err = c.items(e, t.Item())
	default:
		ended, err = c.queue(e)
	}
	if ended && c.Rm && err == nil {
		err = shmem.Remove(e.dir, c.Name)
	}
	if err == nil && !ended {
		err = e.signalled()
	}
	return err
}

// open opens the queue or topic. With --wait it polls until there is one.
func (c *tailCmd) open(e *env) (*inspect.Observer, error) {
	for {
		open := e.open
		if c.Wait {
			open = e.inspect // does not report segments that have lost their name
		}
		o, err := open(c.Name)
		if err == nil && o.Info().State == shmem.Garbage {
			o.Close()
			err = fmt.Errorf("%s: %w: its owner has died and no process is attached, nothing "+
				"more can come; `shmem cat %s` shows what is left", c.Name, fs.ErrNotExist, c.Name)
		}
		if !errors.Is(err, fs.ErrNotExist) || strings.Contains(c.Name, "/") {
			return o, err
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

// errEnough ends a loop over messages when --count of them have come.
var errEnough = errors.New("enough")

// topic shows the messages of a topic. ended reports that the topic has ended.
func (c *tailCmd) topic(e *env, o *inspect.Observer) (ended bool, err error) {
	from, err := parseFrom(c.From)
	if err != nil {
		return false, err
	}
	if c.Hold && c.From != "now" {
		return false, usageError{errors.New(
			"--hold begins now: --from is for subscribers without a hold")}
	}
	w := &messageWriter{cmd: c, env: e}
	if c.Hold {
		err = c.held(e, o.MessageType(), w)
	} else {
		err = c.followed(e, o, from, w)
	}
	if flushed := e.stdout.flush(); flushed != nil {
		return false, fileError(flushed)
	}
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case errors.Is(err, errEnough), e.ctx.Err() != nil:
		return false, nil
	case isAny(err, fs.ErrNotExist, shmem.ErrUnlinked) && !o.Linked():
		if now, openErr := e.inspect(c.Name); openErr == nil {
			now.Close()
			err = fmt.Errorf("%w; another one has taken its name", err)
		}
	}
	return false, err
}

// followed shows messages without a slot in the segment.
func (c *tailCmd) followed(e *env, o *inspect.Observer, from uint64, w *messageWriter) error {
	f, err := e.follow(o, from)
	if err != nil {
		return err
	}
	err = follow(e.ctx, f, e.stdout.flush, func(m inspect.Message) error {
		return w.showAt(m.Published, m.Value)
	})
	if f.Lost() > 0 {
		fmt.Fprintf(e.err, "shmem: %s: %d messages lost: publishers were a whole round ahead\n",
			clean(c.Name), f.Lost())
	}
	return err
}

// held shows messages as a subscriber with a hold.
func (c *tailCmd) held(e *env, item *inspect.Type, w *messageWriter) error {
	open := e.openTopic
	if item == nil {
		open = e.openTopicBytes
	}
	t, err := open("topic attach", c.Name)
	if err != nil {
		return err
	}
	defer t.Close()
	if t.Layout.Holds == 0 {
		return fmt.Errorf("%s: %w: no subscriber can hold its publishers back; `shmem pump "+
			"--hold N` and topic.Options.Holds make a topic for N that can", c.Name, errRefused)
	}
	return receiveHeld(e.ctx, t, func(p []byte, stamp int64, more bool) error {
		v, err := item.Of(p)
		if err == nil {
			err = w.showAt(stream.TimeOf(stamp), v)
		}
		if err == nil && !more { // it will wait
			err = e.stdout.flush()
		}
		return err
	})
}

// follow begins to follow a topic. It says so if that does not begin with the message from.
func (e *env) follow(o *inspect.Observer, from uint64) (*inspect.Follower, error) {
	f, err := o.Follow(from)
	if err == nil && from < inspect.FromOldest && f.Seq() < from {
		fmt.Fprintf(e.err,
			"shmem: %s has not come to message %d: this begins with the next one, %d\n",
			clean(o.Info().Name), from, f.Seq())
	}
	return f, err
}

// follow calls f for each message, and idle before it waits for one.
func follow(ctx context.Context, fo *inspect.Follower, idle func() error,
	f func(inspect.Message) error) error {
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

// A messageWriter shows the messages of a topic.
type messageWriter struct {
	cmd *tailCmd
	env *env
	n   int // messages shown
}

// showAt is show of a message that was published at that time; the zero time is not known.
func (w *messageWriter) showAt(at time.Time, v inspect.Value) error {
	if err := w.cmd.time(w.env, at); err != nil {
		return err
	}
	return w.show(v)
}

// time begins the line of a message with its time, with --time and if that is known.
func (c *tailCmd) time(e *env, at time.Time) error {
	if !c.Time || at.IsZero() {
		return nil
	}
	_, err := fmt.Fprintf(e.out, "%s ", at.UTC().Format(stampLayout))
	return err
}

// stampLayout is RFC 3339 with all nine digits, so that messages stand below each other.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// show writes a message. It returns errEnough with the last of --count.
func (w *messageWriter) show(v inspect.Value) error {
	if err := w.write(v); err != nil {
		return err
	}
	if w.n++; w.n == w.cmd.Count {
		return errEnough
	}
	return nil
}

func (w *messageWriter) write(v inspect.Value) error {
	switch k := v.Kind(); {
	case w.cmd.JSON && k == inspect.Raw:
		line, err := json.Marshal(jsonOfBytes(v.Bytes()))
		if err == nil {
			_, err = w.env.out.Write(append(line, '\n'))
		}
		return err
	case w.cmd.JSON:
	case w.cmd.Raw:
		_, err := w.env.raw.Write(v.Bytes())
		return err
	case k == inspect.Raw:
		return w.env.line(v.Bytes())
	case k == inspect.Text, k == inspect.List && hasBytes(v):
		return w.env.line(lineOf(v))
	case k == inspect.Array && hasBytes(v):
		_, err := fmt.Fprintln(w.env.out, v)
		return err
	}
	return w.env.valueJSON(v, "")
}

// line prints a line of text that another process has sent.
func (e *env) line(text []byte) error {
	_, err := io.WriteString(e.out, cleanLine(string(text))+"\n")
	return err
}

// hasBytes reports whether the elements of an array or list are bytes.
func hasBytes(v inspect.Value) bool {
	e := v.Type().Elem()
	return e.Kind() == inspect.Uint && e.Size() == 1
}

// lineOf is a copy of the bytes of a text, or of the elements of a list of bytes.
func lineOf(v inspect.Value) []byte {
	if v.Kind() == inspect.Text {
		return append([]byte(nil), v.Bytes()[:v.Len()]...)
	}
	p := make([]byte, v.Len())
	for i := range p {
		p[i] = v.Index(i).Bytes()[0]
	}
	return p
}

// items receives from a typed queue. ended reports that the queue has ended.
func (c *tailCmd) items(e *env, item *inspect.Type) (ended bool, err error) {
	if c.From != "now" || c.Hold {
		return false, usageError{fmt.Errorf(
			"--from and --hold are for topics, and %s is none", c.Name)}
	}
	w := &messageWriter{cmd: c, env: e}
	err = e.receiveItems(c.Name, item, e.stdout.flush, w.showAt)
	if flushed := e.stdout.flush(); flushed != nil {
		return false, fileError(flushed)
	}
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case errors.Is(err, errEnough), e.ctx.Err() != nil:
		return false, nil
	}
	return false, err
}

// receiveItems calls f for each message of a typed queue, with the time when it was sent if that is
// known, until the stream ends, and idle before it waits for one. A message is consumed although f
// returns errEnough. It is redelivered if f fails.
func (e *env) receiveItems(name string, item *inspect.Type, idle func() error,
	f func(time.Time, inspect.Value) error) (err error) {
	q, err := stream.AttachItems(name, e.opts())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	for {
		enough := false
		err := q.Recv(e.ctx, func(p []byte, sent time.Time) error {
			v, err := item.Of(bytes.Clone(p))
			if err == nil {
				err = f(sent, v)
			}
			if enough = err == errEnough; enough {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if enough {
			return errEnough
		}
		if q.Len() == 0 { // it will wait
			if err := idle(); err != nil {
				return err
			}
		}
	}
}

// queue receives from a queue of bytes. ended reports that the queue has ended.
func (c *tailCmd) queue(e *env) (ended bool, err error) {
	if c.From != "now" || c.Hold || c.JSON {
		return false, usageError{fmt.Errorf(
			"--from, --hold and --json are for topics, and %s is a queue of bytes", c.Name)}
	}
	q, err := queue.AttachBytes(c.Name, &queue.BytesOptions{Dir: e.dir})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	r, err := q.Receiver()
	if err != nil {
		return false, err
	}
	write := func(p []byte) error {
		if c.Raw {
			_, err := e.raw.Write(p)
			return err
		}
		if err := c.time(e, r.Time()); err != nil {
			return err
		}
		return e.line(p)
	}
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		err := r.RecvFunc(e.ctx, write)
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case e.ctx.Err() != nil:
			return false, nil
		case err != nil:
			return false, err
		}
		if q.Len() == 0 { // it will wait
			if err := e.stdout.flush(); err != nil {
				return false, fileError(err)
			}
		}
	}
	return false, nil
}
