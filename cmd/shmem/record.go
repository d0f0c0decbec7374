package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/shmembox/shmem"
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
millisecond or so of its publication, later after a silence: up to 50 ms) and the item. Fields that
a newer program appends meanwhile are not recorded, and record says so: begin a new one.`
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
	switch {
	case c.File != "-":
		if to, err = createLike(c.File, o.Info()); err != nil {
			return fileError(err)
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	case e.tty:
		return usageError{errors.New("a recording is bytes, which a terminal would act on: " +
			"name a file, or a pipe")}
	}
	out := bufio.NewWriterSize(to, 64<<10)
	if err := writeRecordHeader(out, o.MessageType()); err != nil {
		return err
	}
	n, size, grown := 0, o.MessageType().Size(), false
	err = follow(e.ctx, f, out.Flush, func(m inspect.Message) error {
		if err := writeMessage(out, m, size); err != nil {
			return err
		}
		if !grown && m.Value.Type().Size() > size {
			grown = true
			fmt.Fprintf(e.err, "shmem: %s: from message %d on the items have more fields, which "+
				"this recording has no room for; begin a new one\n", clean(c.Name), m.Seq)
		}
		if n++; n == c.Count {
			return errEnough
		}
		return nil
	})
	if err == io.EOF || err == errEnough || e.ctx.Err() != nil {
		err = nil
	}
	if flushed := out.Flush(); flushed != nil {
		return errors.Join(fileError(flushed), skip(err, flushed))
	}
	fmt.Fprintf(e.err, "%d messages recorded, %d lost\n", n, f.Lost())
	return err
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

// writeMessage writes a message, and of its item the fields that the recording began with.
func writeMessage(out io.Writer, m inspect.Message, size int) error {
	if _, err := out.Write(messageHeader{m.Seq, m.Time.UnixNano()}.encode()); err != nil {
		return err
	}
	_, err := out.Write(m.Value.Bytes()[:size])
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
