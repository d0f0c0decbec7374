package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A conn carries messages of Trial.Size both ways.
type conn interface {
	Send(b []byte) error
	Recv(b []byte) error // fills b
}

// A placer hands messages over without copying them: f is called with the memory of one.
type placer interface {
	SendInPlace(n int, f func([]byte)) error
	RecvInPlace(f func([]byte)) error
}

// A transport is a way to connect two processes.
type transport struct {
	name  string
	kind  Kind
	max   int                                    // largest message, 0: any
	local bool                                   // both sides are goroutines of one process
	open  func(t *Trial, side int) (conn, error) // side 0 measures
}

var (
	unixSocket = transport{name: "Unix socket", kind: Peer, open: openUnix}
	pipe       = transport{name: "pipe", kind: Peer, open: openPipe}
	tcp        = transport{name: "TCP loopback", kind: Peer, open: openTCP}
	mqueue     = transport{name: "POSIX message queue", kind: Peer, max: 8192, open: openMQ}
	channel    = transport{name: "Go channel", kind: Note, local: true, open: openChan}
	rawFutex   = transport{name: "futex", kind: Limit,
		open: func(t *Trial, side int) (conn, error) {
			return openMailbox(t, side, futexBox{})
		}}
	byHand = transport{name: "mmap and spinning by hand", kind: Peer,
		open: func(t *Trial, side int) (conn, error) {
			return openMailbox(t, side, new(spinBox))
		}}
)

type stream struct{ io.ReadWriter }

func (s stream) Send(b []byte) error { _, err := s.Write(b); return err }
func (s stream) Recv(b []byte) error { _, err := io.ReadFull(s, b); return err }

func openUnix(t *Trial, side int) (conn, error) {
	if side == 0 {
		return accept(net.Listen("unix", t.Path("socket")))
	}
	return dial("unix", t.Await("socket"))
}

func openTCP(t *Trial, side int) (conn, error) {
	if side == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			err = os.Symlink(l.Addr().String(), t.Path("port"))
		}
		return accept(l, err)
	}
	for {
		addr, err := os.Readlink(t.Path("port"))
		if err == nil {
			return dial("tcp", addr)
		}
		time.Sleep(time.Millisecond)
	}
}

func accept(l net.Listener, err error) (conn, error) {
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c, err := l.Accept()
	return stream{c}, err
}

func dial(network, addr string) (conn, error) {
	for {
		c, err := net.Dial(network, addr)
		if errors.Is(err, syscall.ECONNREFUSED) { // bound, not listening yet
			time.Sleep(time.Millisecond)
			continue
		}
		return stream{c}, err
	}
}

func openPipe(t *Trial, side int) (conn, error) {
	names := [2]string{"pipe0", "pipe1"}
	if side == 0 {
		for _, n := range []string{names[1], names[0]} {
			if err := unix.Mkfifo(t.Path(n), 0o600); err != nil {
				return nil, err
			}
		}
	}
	t.Await(names[0])
	// the descriptor is left to the netpoller
	r, err := os.OpenFile(t.Path(names[side]), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	w, err := os.OpenFile(t.Path(names[1-side]), os.O_RDWR|unix.O_NONBLOCK, 0)
	return stream{struct {
		io.Reader
		io.Writer
	}{r, w}}, err
}

type mqConn struct {
	in, out int
}

func openMQ(t *Trial, side int) (conn, error) {
	var fds [2]int
	for i := range fds {
		name := filepath.Base(t.Dir) + string(rune('0'+i))
		if side == 1 {
			t.Await("queues")
		}
		// 10: what the kernel allows every user
		fd, err := mqOpen(name, unix.O_RDWR|unix.O_CREAT, 10, max(t.Size, 8))
		if err != nil {
			return nil, err
		}
		fds[i] = fd
		if side == 1 { // both have it: nothing is left behind
			mqUnlink(name)
		}
	}
	return mqConn{in: fds[side], out: fds[1-side]}, t.Ready("queues")
}

func (c mqConn) Send(b []byte) error { return mqCall(unix.SYS_MQ_TIMEDSEND, c.out, b) }
func (c mqConn) Recv(b []byte) error { return mqCall(unix.SYS_MQ_TIMEDRECEIVE, c.in, b) }

// A mailbox holds one message for each direction, as one writes it by hand: the waiting differs. It
// is for messages that are answered: who sends before the last one was taken is not woken.
type mailbox struct {
	mine, other *box
	waiter
}

type box struct {
	full atomic.Uint32
	_    [124]byte
	data [4096]byte
}

type waiter interface {
	wait(w *atomic.Uint32, while uint32)
	wake(w *atomic.Uint32)
}

func openMailbox(t *Trial, side int, w waiter) (conn, error) {
	m, err := mapShared(t, side, "boxes", 2*len(bytesOf(new(box))))
	if err != nil {
		return nil, err
	}
	b := slice[box](m, 2)
	return &mailbox{mine: &b[side], other: &b[1-side], waiter: w}, nil
}

func (m *mailbox) Send(b []byte) error {
	for m.other.full.Load() != 0 {
		m.wait(&m.other.full, 1)
	}
	copy(m.other.data[:], b)
	m.other.full.Store(1)
	m.wake(&m.other.full)
	return nil
}

func (m *mailbox) Recv(b []byte) error {
	for m.mine.full.Load() == 0 {
		m.wait(&m.mine.full, 0)
	}
	copy(b, m.mine.data[:])
	m.mine.full.Store(0)
	return nil
}

type spinBox struct{ spinner }

func (s *spinBox) wait(*atomic.Uint32, uint32) { s.once() }
func (s *spinBox) wake(*atomic.Uint32)         {}

type futexBox struct{}

func (futexBox) wait(w *atomic.Uint32, while uint32) { futexWait(w, while) }
func (futexBox) wake(w *atomic.Uint32)               { futexWake(w, 1) }

// chanConn carries small messages by value and large ones in buffers that go back and forth.
type chanConn struct {
	in, out         chan []byte
	inFree, outFree chan []byte
}

var theChans [2][2]chan []byte

func openChan(t *Trial, side int) (conn, error) {
	if side == 0 {
		for i := range theChans {
			theChans[i] = [2]chan []byte{make(chan []byte, 16), make(chan []byte, 16)}
			for range 16 {
				theChans[i][1] <- make([]byte, t.Size)
			}
		}
	}
	a, b := theChans[side], theChans[1-side]
	return chanConn{a[0], b[0], a[1], b[1]}, nil
}

func (c chanConn) Send(b []byte) error {
	m := <-c.outFree
	copy(m, b)
	c.out <- m
	return nil
}

func (c chanConn) Recv(b []byte) error {
	m := <-c.in
	copy(b, m)
	c.inFree <- m
	return nil
}

func (c chanConn) SendInPlace(n int, f func([]byte)) error {
	m := <-c.outFree
	f(m)
	c.out <- m
	return nil
}

func (c chanConn) RecvInPlace(f func([]byte)) error {
	m := <-c.in
	f(m)
	c.inFree <- m
	return nil
}

// connect opens both sides of a transport, the other one in a process, or goroutine, that runs
// role.
func (tr transport) connect(t *Trial, otherSide string) (conn, error) {
	if tr.local {
		c, err := tr.open(t, 0)
		if err == nil {
			other := *t
			other.Args = []string{tr.name}
			go roles[otherSide](&other)
		}
		return c, err
	}
	if _, err := t.Start(otherSide, tr.name); err != nil {
		return nil, err
	}
	return tr.open(t, 0)
}

// other opens side 1 of the transport that the role was started for.
func other(t *Trial) conn {
	for _, tr := range transports {
		if tr.name == t.Args[0] {
			return must(tr.open(t, 1))
		}
	}
	panic("no transport " + t.Args[0])
}
