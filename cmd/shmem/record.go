package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/topic"
)

// A recording is this header, the schema of the topic's items, and a frame for each message: its
// sequence number and the time in Unix nanoseconds at which it was seen, u64 and i64, and the item.
// All in the byte order of the machine.
type recordHeader struct {
	Magic       [8]byte
	Order       uint32 // 0x01020304
	Version     uint32
	Fingerprint uint64 // of the item
	ItemSize    uint64
	SchemaLen   uint64
}

const recordOrder, recordVersion = 0x01020304, 1

var recordMagic = [8]byte([]byte("shmemrec"))

// maxSchema bounds what is read from a file that may say anything.
const maxSchema = 1 << 24

type recordCmd struct {
	Name  string `arg:"" help:"The topic."`
	File  string `arg:"" help:"Where to; - is standard output."`
	From  string `default:"now" placeholder:"WHERE" help:"Where to begin: now, oldest, or a sequence number."`
	Count int    `short:"n" help:"End after so many messages."`
}

func (*recordCmd) Help() string {
	return `Records until the topic ends, or Ctrl-C. It takes no slot and no lock: nobody waits for it, and what
it is too slow for is lost, and counted. The file has the schema of the items, and of each message the
sequence number, the time at which it was seen (within a millisecond or so of its publication, later
after a silence: up to 50 ms) and the item.`
}

func (c *recordCmd) Run(e *env) (err error) {
	from, err := parseFrom(c.From)
	if err != nil {
		return err
	}
	s, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	f, err := e.follow(s, from)
	if err != nil {
		return err
	}
	to := os.Stdout
	if c.File != "-" {
		if to, err = os.Create(c.File); err != nil {
			return fileError(err)
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	}
	out := bufio.NewWriterSize(to, 64<<10)
	t := s.MessageType()
	schema, err := t.AppendBinary(nil)
	if err != nil {
		return err
	}
	header := recordHeader{recordMagic, recordOrder, recordVersion, t.Fingerprint(), uint64(t.Size()), uint64(len(schema))}
	if err := binary.Write(out, binary.NativeEndian, header); err != nil {
		return err
	}
	if _, err := out.Write(schema); err != nil {
		return err
	}
	n := 0
	err = follow(e.ctx, f, out.Flush, func(m inspect.Message) error {
		var b [16]byte
		binary.NativeEndian.PutUint64(b[:], m.Seq)
		binary.NativeEndian.PutUint64(b[8:], uint64(m.Time.UnixNano()))
		if _, err := out.Write(b[:]); err != nil {
			return err
		}
		if _, err := out.Write(m.Value.Bytes()); err != nil {
			return err
		}
		if n++; n == c.Count {
			return errEnough
		}
		return nil
	})
	if err == io.EOF || err == errEnough || e.ctx.Err() != nil {
		err = nil
	}
	fmt.Fprintf(e.err, "%d messages recorded, %d lost\n", n, f.Lost())
	return errors.Join(err, out.Flush())
}

// fileError is an error of a file that is no segment: it has not the exit codes and hints of those.
func fileError(err error) error { return errors.New(err.Error()) }

type replayCmd struct {
	File     string  `arg:"" help:"The recording; - is standard input."`
	Name     string  `arg:"" help:"The topic; it is made if there is none."`
	Speed    float64 `default:"1" help:"So many times as fast as it was (${default})."`
	Max      bool    `help:"As fast as it goes."`
	Capacity int     `default:"1024" help:"Messages that are kept, when the topic is made (${default})."`
	Hold     int     `placeholder:"N" help:"When it is made: up to N subscribers can make it wait for them."`
	Keep     bool    `xor:"end" help:"Do not end the topic that was made."`
	End      bool    `xor:"end" help:"End also a topic that was there before."`
}

func (*replayCmd) Help() string {
	return `The topic's items must have the layout of those that were recorded; if not, it is refused, with the
fingerprints of both. Subscribers see new sequence numbers. A topic that it made itself ends behind it, also if it
fails or is interrupted; one that was there before stays open, but with --end.`
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
	}
	if err := plainName(c.Name); err != nil {
		return err
	}
	in := bufio.NewReaderSize(from, 64<<10)
	stop := e.endsReading(func() {})
	item, err := readRecordHeader(in)
	stop()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.File, errRefused, err)
	}
	t, made, err := c.open(e, item)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.Ended() {
		return ended(c.Name, topic.ErrEnded)
	}
	return e.pumping(c.Name, made && !c.Keep || c.End, t.End, func() error {
		n, missing, err := c.replay(e, t, in)
		fmt.Fprintf(e.err, "%d messages replayed, %d are missing in the recording\n", n, missing)
		return err
	})
}

func readRecordHeader(in io.Reader) (*format.Type, error) {
	var h recordHeader
	if err := binary.Read(in, binary.NativeEndian, &h); err != nil || h.Magic != recordMagic {
		return nil, errors.New("it is no recording of a topic")
	}
	switch {
	case h.Order != recordOrder:
		return nil, errors.New("it was recorded on a machine of the other byte order")
	case h.Version != recordVersion:
		return nil, fmt.Errorf("version %d of recordings, this is %d", h.Version, recordVersion)
	case h.SchemaLen > maxSchema:
		return nil, errors.New("its header is damaged")
	}
	schema := make([]byte, h.SchemaLen)
	if _, err := io.ReadFull(in, schema); err != nil {
		return nil, errors.New("it ends inside its header")
	}
	t, err := format.Decode(schema)
	if err != nil {
		return nil, fmt.Errorf("its schema is damaged: %v", err)
	}
	if t.Fingerprint() != h.Fingerprint || uint64(t.Size) != h.ItemSize {
		return nil, errors.New("its schema is not that of its header")
	}
	return t, nil
}

// open attaches to the topic, or makes it.
func (c *replayCmd) open(e *env, item *format.Type) (t *stream.Topic, made bool, err error) {
	t, err = e.openTopic("topic attach", c.Name)
	if errors.Is(err, fs.ErrNotExist) {
		t, err = e.createTopic(c.Name, item, c.Capacity, c.Hold)
		return t, true, err
	}
	if err != nil {
		return nil, false, err
	}
	if got, want := t.Layout.Item.Fingerprint(), item.Fingerprint(); got != want {
		var all strings.Builder
		for i, d := range format.Diff(item, t.Layout.Item) {
			if i == 3 {
				all.WriteString("; ...")
				break
			}
			all.WriteString("; " + d.String())
		}
		err = fmt.Errorf("%s: %w: it was recorded from items %s, fingerprint %016x; the topic has %s, fingerprint %016x%s",
			c.Name, errRefused, item, want, t.Layout.Item, got, all.String())
		return nil, false, errors.Join(err, t.Close())
	}
	return t, false, nil
}

func (c *replayCmd) replay(e *env, t *stream.Topic, in io.Reader) (n, missing uint64, err error) {
	var first, seq uint64
	start := time.Now()
	for {
		var b [16]byte
		if _, err := io.ReadFull(in, b[:]); err == io.EOF {
			return n, missing, nil
		} else if err != nil {
			return n, missing, errShortRecord
		}
		was, at := seq, binary.NativeEndian.Uint64(b[8:])
		seq = binary.NativeEndian.Uint64(b[:])
		if n == 0 {
			first = at
		} else if seq > was {
			missing += seq - was - 1
		}
		if !c.Max {
			since := time.Duration(float64(int64(at-first)) / c.Speed)
			select {
			case <-time.After(time.Until(start.Add(since))):
			case <-e.ctx.Done():
				return n, missing, e.ctx.Err()
			}
		}
		err := t.PublishInPlace(e.ctx, func(p []byte) error {
			if _, err := io.ReadFull(in, p); err != nil {
				return errShortRecord
			}
			return nil
		})
		if err != nil {
			return n, missing, err
		}
		n++
	}
}

var errShortRecord = errors.New("the recording ends inside a message, which was not published")
