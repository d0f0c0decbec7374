package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// A recording is a recordHeader, the schema of the topic's items (as in the control block), and for
// each message a messageHeader and the item. All of it is in the byte order of the machine.
type recordHeader struct {
	Magic       [8]byte // "shmemrec"
	Order       uint32  // recordOrder
	Version     uint32
	Fingerprint uint64 // of the type of an item
	ItemSize    uint64
	SchemaLen   uint64
}

const recordOrder, recordVersion = 0x01020304, 1

var recordMagic = [8]byte([]byte("shmemrec"))

// maxSchema bounds what is read from a file that may be damaged.
const maxSchema = 1 << 24

// A messageHeader comes before each item of a recording.
type messageHeader struct {
	seq  uint64 // number of the message in the topic
	time int64  // Unix nanoseconds when it was seen
}

const messageHeaderSize = 16

func (h messageHeader) encode() []byte {
	b := binary.NativeEndian.AppendUint64(nil, h.seq)
	return binary.NativeEndian.AppendUint64(b, uint64(h.time))
}

func decodeMessageHeader(b []byte) messageHeader {
	return messageHeader{binary.NativeEndian.Uint64(b), int64(binary.NativeEndian.Uint64(b[8:]))}
}

// recordCmd writes a recording; see recordHeader.
type recordCmd struct {
	Name  string `arg:"" help:"The topic, or typed queue."`
	File  string `arg:"" help:"Where to; - is standard output."`
	From  string `default:"now" placeholder:"WHERE" help:"Where to begin: now, oldest, or a sequence number."`
	Count int    `short:"n" help:"End after so many messages."`
	JSON  bool   `name:"json" help:"Lines of JSON instead of bytes."`
}

func (*recordCmd) Help() string {
	return `Records until the topic ends, or Ctrl-C. It takes no slot and no lock: no publisher
waits for it, and messages that it is too slow for are lost, and counted. The file has the schema of
the items, and of each message the sequence number, the time at which it was seen (within a
millisecond or so of its publication, later after a silence: up to 50 ms) and the item. Fields that
a newer program appends meanwhile are not recorded, and record says so: begin a new one.

Of a typed queue it is a receiver: what it records no other receiver gets. Its numbers count what it
has received. With --json the first line has the schema, and each other one a message, with its
number, time and value; texts that are not UTF-8 are not exact there.`
}

func (c *recordCmd) Run(e *env) (err error) {
	from, err := parseFrom(c.From)
	if err != nil {
		return err
	}
	o, err := e.open(c.Name)
	if err != nil {
		return err
	}
	defer o.Close()
	if !isStream(o) || o.Type().Item() == nil {
		return e.unfit(o, c.Name, "records topics and typed queues")
	}
	read := e.receiver(c.Name, o)
	var f *inspect.Follower
	if read == nil {
		if f, err = e.follow(o, from); err != nil {
			return err
		}
		read = func(idle func() error, m func(inspect.Message) error) error {
			return follow(e.ctx, f, idle, m)
		}
	} else if c.From != "now" {
		return usageError{fmt.Errorf("--from is for topics, and %s is none", c.Name)}
	}
	to := os.Stdout
	switch {
	case c.File != "-":
		if to, err = createLike(c.File, o.Info()); err != nil {
			return fileError(err)
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	case e.tty && !c.JSON:
		return usageError{errors.New("a recording is bytes, which a terminal would act on: " +
			"name a file, or a pipe")}
	}
	n, err := c.record(e, to, o.Type().Item(), read)
	lost := uint64(0)
	if f != nil {
		lost = f.Lost()
	}
	fmt.Fprintf(e.err, "%d messages recorded, %d lost\n", n, lost)
	return err
}

// A source calls m for each message until the stream ends or m fails, and idle before it waits.
type source func(idle func() error, m func(inspect.Message) error) error

// receiver returns the source of a typed queue, nil if o is none.
func (e *env) receiver(name string, o *inspect.Observer) source {
	t := o.Type()
	if t == nil || t.Stream() != layout.QueueName {
		return nil
	}
	return func(idle func() error, f func(inspect.Message) error) error {
		n := uint64(0)
		return e.receiveItems(name, t.Item(), idle, func(sent time.Time, v inspect.Value) error {
			m := inspect.Message{Seq: n, Time: time.Now(), Published: sent, Value: v}
			n++
			return f(m)
		})
	}
}

// record writes the messages of a source, and returns how many they were.
func (c *recordCmd) record(e *env, to io.Writer, t *inspect.Type, read source) (n int, err error) {
	out := bufio.NewWriterSize(to, 64<<10)
	header, write := writeRecordHeader, writeMessage
	if c.JSON {
		header, write = writeJSONHeader, writeJSONMessage
	}
	if err := header(out, t); err != nil {
		return 0, err
	}
	size, grown := t.Size(), false
	err = read(out.Flush, func(m inspect.Message) error {
		appended := m.Value.Type().Size() > size
		if appended {
			if m.Value, err = t.Of(m.Value.Bytes()[:size]); err != nil {
				return err
			}
		}
		if err := write(out, m); err != nil {
			return err
		}
		if !grown && appended {
			grown = true
			fmt.Fprintf(e.err, "shmem: %s: from message %d on the items have more fields, which "+
				"this recording has no room for; begin a new one\n", clean(c.Name), m.Seq)
		}
		if n++; n == c.Count {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, io.EOF) || errors.Is(err, errEnough) || e.ctx.Err() != nil {
		err = nil
	}
	if flushed := out.Flush(); flushed != nil {
		return n, errors.Join(fileError(flushed), skip(err, flushed))
	}
	return n, err
}

// skip returns err unless it is another one that has been reported.
func skip(err, reported error) error {
	if errors.Is(err, reported) {
		return nil
	}
	return err
}

// createLike creates a file that the same users may read as a segment. A file that is there keeps
// its mode.
func createLike(path string, of shmem.Info) (*os.File, error) {
	const secret = 0o600
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, secret)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, secret)
	}
	if err != nil {
		return nil, err
	}
	mode := of.Mode.Perm() | secret
	if !sameGroup(f, of.Path) { // the mode of a group is for another one
		mode &^= 0o070
	}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sameGroup gives a file the group of another one, and reports whether it has it.
func sameGroup(f *os.File, path string) bool {
	group := func(path string) (gid uint32, ok bool) {
		st, err := os.Stat(path)
		if err != nil {
			return 0, false
		}
		return groupOf(st)
	}
	want, ok := group(path)
	if !ok {
		return false
	}
	_ = f.Chown(-1, int(want))
	has, ok := group(f.Name())
	return ok && has == want
}

// writeRecordHeader writes what a recording of items of type t begins with.
func writeRecordHeader(out io.Writer, t *inspect.Type) error {
	schema, err := t.AppendBinary(nil)
	if err != nil {
		return err
	}
	h := recordHeader{recordMagic, recordOrder, recordVersion, t.Fingerprint(), uint64(t.Size()),
		uint64(len(schema))}
	if err := binary.Write(out, binary.NativeEndian, h); err != nil {
		return err
	}
	_, err = out.Write(schema)
	return err
}

func writeMessage(out io.Writer, m inspect.Message) error {
	if _, err := out.Write(messageHeader{m.Seq, m.Time.UnixNano()}.encode()); err != nil {
		return err
	}
	_, err := out.Write(m.Value.Bytes())
	return err
}

// readRecordHeader returns the type of the items of a recording.
func readRecordHeader(in io.Reader) (*format.Type, error) {
	var h recordHeader
	if err := binary.Read(in, binary.NativeEndian, &h); err != nil || h.Magic != recordMagic {
		return nil, errors.New("it is no recording of a topic")
	}
	switch {
	case h.Order != recordOrder:
		return nil, errors.New("it was recorded on a machine of the other byte order")
	case h.Version != recordVersion:
		return nil, fmt.Errorf("it has version %d of recordings, this command knows %d", h.Version,
			recordVersion)
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
