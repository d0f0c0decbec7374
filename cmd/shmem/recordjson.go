package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
)

// A recording in JSON is a line with a jsonRecord, and a line with a jsonRecorded for each message.

// jsonRecord is the first line: what a recordHeader says.
type jsonRecord struct {
	Version     int    `json:"shmemrec"`
	Fingerprint string `json:"fingerprint"` // of the type of a message
	Type        string `json:"type"`        // for people
	Schema      []byte `json:"schema"`      // the type, in base64
}

// jsonRecorded is a message.
type jsonRecorded struct {
	Seq   count64   `json:"seq"`
	Time  time.Time `json:"time"` // when it was seen
	Value jsonValue `json:"value"`
}

func writeJSONHeader(out io.Writer, t *inspect.Type) error {
	schema, err := t.AppendBinary(nil)
	if err != nil {
		return err
	}
	return writeLine(out, jsonRecord{recordVersion, fmt.Sprintf("%016x", t.Fingerprint()),
		t.String(), schema})
}

func writeJSONMessage(out io.Writer, m inspect.Message) error {
	return writeLine(out, jsonRecorded{count64(m.Seq), m.Time, jsonValue{m.Value}})
}

func writeLine(out io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = out.Write(append(safeJSON(b), '\n'))
	}
	return err
}

// A recording is what replay reads.
type recording struct {
	item *format.Type
	in   *bufio.Reader
	set  func(p, line []byte) error // of one in JSON; nil: it is bytes
}

// openRecording reads the beginning of a recording, which says of which form it is.
func openRecording(in *bufio.Reader) (*recording, error) {
	if first, err := in.Peek(1); err != nil || first[0] != '{' {
		item, err := readRecordHeader(in)
		return &recording{item: item, in: in}, err
	}
	line, err := recordedLine(in)
	if err != nil {
		return nil, err
	}
	var h jsonRecord
	switch err := json.Unmarshal(line, &h); {
	case err != nil || h.Version == 0:
		return nil, errors.New("it is no recording of a topic or queue")
	case h.Version != recordVersion:
		return nil, fmt.Errorf("it has version %d of recordings, this command knows %d", h.Version,
			recordVersion)
	}
	item, err := format.Decode(h.Schema)
	if err != nil {
		return nil, fmt.Errorf("its schema is damaged: %v", err)
	}
	if fmt.Sprintf("%016x", item.Fingerprint()) != h.Fingerprint {
		return nil, errors.New("its schema is not that of its header")
	}
	set, err := jsonSetter(item)
	return &recording{item, in, set}, err
}

// maxLine bounds a line of a recording that may be damaged.
const maxLine = 1 << 30

// recordedLine returns a line without its newline. It is io.EOF at the end of the input.
func recordedLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); err == nil {
			return line[:len(line)-1], nil
		}
		switch {
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		case err == io.EOF:
			return nil, errShortRecord
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(line) > maxLine:
			return nil, errors.New("a line of the recording is too long")
		}
	}
}

// next returns the header of the next message, and the function that writes it into an item. It is
// io.EOF at the end.
func (r *recording) next() (h messageHeader, write func([]byte) error, err error) {
	if r.set == nil {
		var b [messageHeaderSize]byte
		if _, err := io.ReadFull(r.in, b[:]); err == io.EOF {
			return h, nil, io.EOF
		} else if err != nil {
			return h, nil, errShortRecord
		}
		return decodeMessageHeader(b[:]), func(p []byte) error {
			if _, err := io.ReadFull(r.in, p); err != nil {
				return errShortRecord
			}
			return nil
		}, nil
	}
	line, err := recordedLine(r.in)
	if err != nil {
		return h, nil, err
	}
	var m struct {
		Seq   json.RawMessage `json:"seq"`
		Time  time.Time       `json:"time"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return h, nil, fmt.Errorf("a line of the recording is no message: %w", err)
	}
	if h.seq, err = parseCount(m.Seq); err != nil {
		return h, nil, err
	}
	h.time = m.Time.UnixNano()
	message := make([]byte, r.item.Size)
	if err := r.set(message, m.Value); err != nil {
		return h, nil, fmt.Errorf("message %d of the recording: %w", h.seq, err)
	}
	return h, func(p []byte) error { copy(p, message); return nil }, nil
}

// parseCount reads a count64.
func parseCount(b json.RawMessage) (n uint64, err error) {
	if err := json.Unmarshal(bytes.Trim(b, `"`), &n); err != nil {
		return 0, fmt.Errorf("a line of the recording has no number: %w", err)
	}
	return n, nil
}
