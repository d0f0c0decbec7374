package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
)

// lineSetter returns a function that writes a line into an item of type t. It returns nil if t
// cannot hold a line: that is, if t is neither a shmem.Text nor a shmem.Vec of bytes.
func lineSetter(t *format.Type) func(p, line []byte) error {
	put := func(p, line []byte) error {
		if len(line) > len(p) {
			return fmt.Errorf("%d bytes do not fit into an item of %d: --line makes a topic for "+
				"longer ones", len(line), len(p))
		}
		clear(p[copy(p, line):])
		return nil
	}
	switch {
	case strings.HasPrefix(t.Name, "shmem.Text[") && len(t.Fields) == 1:
		return func(p, line []byte) error {
			if bytes.IndexByte(line, 0) >= 0 {
				return errors.New("it has a NUL byte, which a text cannot have: --frame sends " +
					"bytes")
			}
			return put(p, line)
		}
	case strings.HasPrefix(t.Name, "shmem.Vec[") && len(t.Fields) == 2 &&
		isByteArray(t.Fields[1].Type):
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

func isByteArray(t *format.Type) bool {
	return t.Kind == format.Array && t.Elem.Kind == format.Uint8
}

// eachFrame sends frames of n bytes until the input ends. It calls send with a function that reads
// the frame into the memory of the message. The first byte is read before that: at the end of the
// input no message may be claimed.
func eachFrame(in io.Reader, n int, send func(func([]byte) error) error) error {
	if n < 64<<10 {
		in = bufio.NewReaderSize(in, 64<<10)
	}
	for first := make([]byte, 1); ; {
		if _, err := io.ReadFull(in, first); err == io.EOF {
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

// eachLine calls send with each line, without its newline, and with its number from 1.
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

// jsonSetter returns a function that writes a line of JSON into an item of type t.
func jsonSetter(t *format.Type) (func(p, line []byte) error, error) {
	typ, err := inspect.DecodeType(t.AppendBinary(nil))
	if err != nil {
		return nil, err
	}
	return func(p, line []byte) error {
		v, err := typ.Of(p)
		if err != nil {
			return err
		}
		clear(p)
		return v.SetJSON(line)
	}, nil
}
