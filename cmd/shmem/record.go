package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
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
	Name  string `arg:"" help:"The topic."`
	File  string `arg:"" help:"Where to; - is standard output."`
	From  string `default:"now" placeholder:"WHERE" help:"Where to begin: now, oldest, or a sequence number."`
	Count int    `short:"n" help:"End after so many messages."`
}

func (*recordCmd) Help() string {
	return `Records until the topic ends, or Ctrl-C. It takes no slot and no lock: no publisher
waits for it, and messages that it is too slow for are lost, and counted. The file has the schema of
the items, and of each message the sequence number, the time at which it was seen (within a
millisecond or so of its publication, later after a silence: up to 50 ms) and the item.`
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
	f, err := e.follow(o, from)
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
	if err := writeRecordHeader(out, o.MessageType()); err != nil {
		return err
	}
	n := 0
	err = follow(e.ctx, f, out.Flush, func(m inspect.Message) error {
		if err := writeMessage(out, m); err != nil {
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
