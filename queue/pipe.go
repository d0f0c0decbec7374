package queue

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
)

// maxPiece is the largest message that a Writer sends, in bytes.
const maxPiece = 64 << 10

// The other end of a stream is gone.
var (
	errSenderGone = fmt.Errorf("%w: the sender has died or left before the end of the stream; "+
		"open another stream to go on", io.ErrUnexpectedEOF)
	errReceiverGone = fmt.Errorf("%w: the receiver has died or left; "+
		"open another stream to go on", io.ErrClosedPipe)
)

// A Writer writes a stream of bytes that a [Reader] reads in another process. It is an
// io.WriteCloser for one goroutine at a time; any may call Close.
type Writer struct {
	s     *BytesSender
	ctx   context.Context
	piece int
}

// Writer makes a Writer, which takes a sending end of the queue as Sender does. ctx bounds its
// calls, until SetContext.
//
// The messages of the queue are pieces of the stream: a Write of up to a quarter of the queue's
// bytes, and of at most 64 KiB, is one message, so small ones belong into a bufio.Writer. In a
// queue that is not Single the pieces of several Writers come one after the other, and the first
// Close ends the stream for all.
func (q *Bytes) Writer(ctx context.Context) (*Writer, error) {
	s, err := q.Sender()
	if err != nil {
		return nil, err
	}
	s.end.watchPeer()
	return &Writer{s: s, ctx: ctx, piece: min(max(q.MaxLen()/4, 1), maxPiece)}, nil
}

// SetContext sets the context of later calls, such as one with a deadline.
func (w *Writer) SetContext(ctx context.Context) { w.ctx = ctx }

// Write sends a copy of p, and blocks while there is no room. It returns how many bytes are sent:
// all of them, or an error, one of those of Send. In a Single queue it is io.ErrClosedPipe where
// Write would block and the receiver has died, or has received messages and left; that is found
// after at most 100 ms.
func (w *Writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece := p[n:min(n+w.piece, len(p))]
		if err := w.s.Send(w.ctx, piece); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// Close ends the stream: the Reader gets io.EOF after the last byte. Then it gives the end up. A
// second Close returns nil. A Writer whose process dies, or closes the queue, without Close leaves
// the stream without an end.
func (w *Writer) Close() error {
	if w.s.stop.Stopped() {
		return nil
	}
	if err := w.s.q.End(); err != nil && !errors.Is(err, shmem.ErrClosed) {
		return err
	}
	return w.s.Close()
}

// A Reader reads the bytes that a [Writer] writes, or the messages that senders send, one after the
// other. It is an io.ReadCloser and an io.WriterTo for one goroutine at a time; any may call Close.
type Reader struct {
	r    *BytesReceiver
	ctx  context.Context
	buf  []byte
	rest []byte // of the last message, in buf
}

// Reader makes a Reader, which takes a receiving end of the queue as Receiver does. ctx bounds its
// calls, until SetContext.
func (q *Bytes) Reader(ctx context.Context) (*Reader, error) {
	r, err := q.Receiver()
	if err != nil {
		return nil, err
	}
	r.end.watchPeer()
	return &Reader{r: r, ctx: ctx}, nil
}

// SetContext sets the context of later calls, such as one with a deadline.
func (r *Reader) SetContext(ctx context.Context) { r.ctx = ctx }

// Read reads up to len(p) bytes, of one message, and blocks until there is one. The errors are
// io.EOF at the end of the stream, and those of Recv. In a Single queue it is io.ErrUnexpectedEOF
// when no byte is left, and the sender has died, or has sent messages and left, without an end of
// the stream; that is found after at most 100 ms. Before a sender has come Read waits for one.
//
// A message is gone from the queue when Read has returned the first byte of it.
func (r *Reader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		n, err = r.next(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
	n = copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next receives a message into p, and what does not fit there into rest.
func (r *Reader) next(p []byte) (n int, err error) {
	err = r.r.RecvFunc(r.ctx, func(b []byte) error {
		n = min(len(p), len(b))
		mem.Copy(p, b[:n])
		r.keep(b[n:])
		return nil
	})
	if err != nil {
		n, r.rest = 0, nil // another receiver gets the message
	}
	return n, err
}

// keep copies the rest of a message.
func (r *Reader) keep(b []byte) {
	r.buf = appendMessage(r.buf[:0], b)
	r.rest = r.buf
}

// WriteTo writes the stream to w until it ends, from the queue's memory without a copy. It returns
// how many bytes w has taken. What w has not taken of a message when it fails is there for the next
// call. The errors are those of w, as they are, and those of Read, except io.EOF.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if len(r.rest) > 0 {
			k, err := w.Write(r.rest)
			n, r.rest = n+int64(k), r.rest[k:]
			if err == nil && len(r.rest) > 0 {
				err = io.ErrShortWrite
			}
			if err != nil {
				return n, err
			}
		}
		var failed error
		err := r.r.RecvFunc(r.ctx, func(b []byte) error {
			k, err := w.Write(b)
			n, failed = n+int64(k), err
			r.keep(b[k:])
			return nil
		})
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			r.rest = nil
			return n, err
		case failed != nil:
			return n, failed
		}
	}
}

// Close gives the end up. It does not end the stream. What is left of a message that Read has begun
// is gone; other messages stay. A second Close returns nil.
func (r *Reader) Close() error { return r.r.Close() }
