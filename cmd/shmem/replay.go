package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/topic"
)

// replayCmd publishes a recording; see recordHeader.
type replayCmd struct {
	File     string  `arg:"" help:"The recording; - is standard input."`
	Name     string  `arg:"" help:"The topic, which is made if there is none, or a typed queue."`
	Speed    float64 `default:"1" help:"So many times as fast as it was (${default})."`
	Max      bool    `help:"As fast as it goes."`
	Capacity int     `default:"1024" help:"Messages that are kept, when the topic is made (${default})."`
	Hold     int     `placeholder:"N" help:"When it is made: up to N subscribers can make it wait for them."`
	Keep     bool    `xor:"end" help:"Do not end the topic that was made."`
	End      bool    `xor:"end" help:"End also a topic that was there before."`

	mode fs.FileMode // of a topic that is made: that of the recording; 0: the default
}

func (*replayCmd) Help() string {
	return `The recording is one of bytes or of JSON; replay sees which. The items of the topic or
queue must have the layout of those that were recorded; if not, it is refused, with the fingerprints
of both. Subscribers see new sequence numbers. A topic that it made itself has the mode of the file,
and ends behind the recording, also if replay fails or is interrupted; one that was there before
stays open, unless --end is given.`
}

func (c *replayCmd) Run(e *env) (err error) {
	if !(c.Speed > 0) || math.IsInf(c.Speed, 0) {
		return usageError{fmt.Errorf("--speed %v: a number above 0 is needed", c.Speed)}
	}
	from := os.Stdin
	if c.File != "-" {
		if from, err = os.Open(c.File); err != nil {
			return fileError(err)
		}
		defer from.Close()
		if st, err := from.Stat(); err == nil && st.Mode().IsRegular() {
			c.mode = st.Mode().Perm() | 0o600
		}
	}
	if err := plainName(c.Name); err != nil {
		return err
	}
	in := bufio.NewReaderSize(from, 64<<10)
	// standard input may not come, and reading it cannot be interrupted
	stop := e.endsReading(func() {})
	rec, err := openRecording(in)
	stop()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.File, errRefused, err)
	}
	t, made, err := c.open(e, rec.item)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.Ended() {
		return endedError(c.Name, topic.ErrEnded)
	}
	return e.pumping(c.Name, made && !c.Keep || c.End, t.End, func() error {
		n, missing, err := c.replay(e, t, rec)
		fmt.Fprintf(e.err, "%d messages replayed, %d are missing in the recording\n", n, missing)
		return err
	})
}

// A sink is a topic or typed queue that replay sends to.
type sink interface {
	Type() *format.Type
	Send(ctx context.Context, write func([]byte) error) error
	Ended() bool
	End() error
	Close() error
}

// topicSink is a topic.
type topicSink struct{ *stream.Topic }

func (t topicSink) Type() *format.Type { return t.Layout.Item }

func (t topicSink) Send(ctx context.Context, write func([]byte) error) error {
	return t.PublishInPlace(ctx, write)
}

// open attaches to the topic or queue, or makes a topic.
func (c *replayCmd) open(e *env, item *format.Type) (s sink, made bool, err error) {
	kind, err := e.streamKind(c.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	if kind == layout.QueueName {
		if s, err = stream.AttachItems(c.Name, e.opts()); err != nil {
			return nil, false, err
		}
	} else {
		t, err := e.openTopic("topic attach", c.Name)
		if errors.Is(err, fs.ErrNotExist) {
			t, err = e.createTopic(c.Name, item, c.Capacity, c.Hold, c.mode)
			return topicSink{t}, true, err
		}
		if err != nil {
			return nil, false, err
		}
		s = topicSink{t}
	}
	if s.Type().Fingerprint() != item.Fingerprint() {
		return nil, false, errors.Join(c.mismatch(item, s.Type()), s.Close())
	}
	return s, false, nil
}

// mismatch says how the type that was recorded and that of the topic differ.
func (c *replayCmd) mismatch(recorded, have *format.Type) error {
	const most = 3 // differences that are named
	var all strings.Builder
	for i, d := range format.Diff(recorded, have) {
		if i == most {
			all.WriteString("; ...")
			break
		}
		all.WriteString("; " + d.String())
	}
	return fmt.Errorf("%s: %w: it was recorded from items %s, fingerprint %016x; the topic has "+
		"%s, fingerprint %016x%s",
		c.Name, errRefused, recorded, recorded.Fingerprint(), have, have.Fingerprint(),
		all.String())
}

// replay publishes the messages of a recording. missing counts gaps in their numbers: messages that
// record lost.
func (c *replayCmd) replay(e *env, t sink, rec *recording) (n, missing uint64, err error) {
	var first, last messageHeader
	start := time.Now()
	for {
		h, write, err := rec.next()
		if err == io.EOF {
			return n, missing, nil
		} else if err != nil {
			return n, missing, err
		}
		if n == 0 {
			first = h
		} else if h.seq > last.seq {
			missing += h.seq - last.seq - 1
		}
		last = h
		if !c.Max {
			if err := c.pace(e, start, time.Duration(h.time-first.time)); err != nil {
				return n, missing, err
			}
		}
		if err := t.Send(e.ctx, write); err != nil {
			return n, missing, err
		}
		n++
	}
}

// pace waits until so much of the recorded time has passed since start, at the speed of the replay.
func (c *replayCmd) pace(e *env, start time.Time, recorded time.Duration) error {
	due := start.Add(time.Duration(float64(recorded) / c.Speed))
	select {
	case <-time.After(time.Until(due)):
		return nil
	case <-e.ctx.Done():
		return e.ctx.Err()
	}
}

var errShortRecord = errors.New("the recording ends inside a message, which was not published")
