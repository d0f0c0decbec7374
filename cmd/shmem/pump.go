package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

type pumpCmd struct {
	Name     string `arg:"" help:"The queue; it is made if there is none."`
	Frame    int    `placeholder:"N" help:"Frames of N bytes instead of lines."`
	Capacity int    `default:"1024" help:"Messages there is room for, when it is made (${default})."`
	Bytes    int    `default:"16777216" help:"Bytes there is room for, when it is made (${default})."`
	Keep     bool   `help:"Do not end the stream at the end of the input: other senders go on."`
}

func (*pumpCmd) Help() string {
	return `Sends standard input to a queue of bytes, a message a line (without its newline) or a frame. At the
end of the input the stream ends, which "shmem tail" and queue.Bytes see as the end; the queue is left
for its receivers. It waits while the queue is full.

  $ ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | shmem pump video --frame $((1920*1080*3)) --bytes 64000000
  $ shmem tail video --raw | ...`
}

func (c *pumpCmd) Run(e *env) (err error) {
	o := &queue.Options{Options: shmem.Options{Dir: e.dir, Kept: true}, Capacity: c.Capacity, Bytes: max(c.Bytes, 2*c.Frame)}
	q, err := queue.OpenBytes(c.Name, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	if c.Frame > 0 {
		err = frames(e, q, in, c.Frame)
	} else {
		err = textLines(e, q, in)
	}
	if err == nil && !c.Keep {
		err = q.CloseSend()
	}
	return err
}

// frames reads each frame into its place in the queue.
func frames(e *env, q *queue.Bytes, in io.Reader, n int) error {
	for first := make([]byte, 1); ; {
		if _, err := io.ReadFull(in, first); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		err := q.SendFunc(e.ctx, n, func(p []byte) error {
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

func textLines(e *env, q *queue.Bytes, in *bufio.Reader) error {
	for {
		line, err := in.ReadBytes('\n')
		if n := len(line); n > 0 {
			if line[n-1] == '\n' {
				line = line[:n-1]
			}
			if err := q.Send(e.ctx, line); err != nil {
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
	Name  string `arg:"" help:"The queue."`
	Raw   bool   `help:"No newline behind each message."`
	Count int    `short:"n" help:"End after so many messages."`
	Rm    bool   `help:"Remove the queue at the end of the stream."`
}

func (*tailCmd) Help() string {
	return `Receives from a queue of bytes until its stream ends. A message is received once, by one receiver:
this one takes part. Frames go to standard output from their place in the queue, without a copy.`
}

func (c *tailCmd) Run(e *env) (err error) {
	q, err := queue.AttachBytes(c.Name, &queue.Options{Options: shmem.Options{Dir: e.dir}})
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		err = errors.Join(err, q.Close())
		if ended && c.Rm && err == nil {
			err = shmem.Remove(c.Name, e.opts())
		}
	}()
	out := io.Writer(os.Stdout)
	var buf *bufio.Writer
	if !c.Raw {
		buf = bufio.NewWriterSize(os.Stdout, 64<<10)
		out = buf
		defer buf.Flush()
	}
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		err := q.RecvFunc(e.ctx, func(p []byte) error {
			if _, err := out.Write(p); err != nil || c.Raw {
				return err
			}
			return buf.WriteByte('\n')
		})
		switch {
		case err == io.EOF || errors.Is(err, io.EOF):
			ended = true
			return nil
		case e.ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if buf != nil && q.Len() == 0 {
			if err := buf.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
