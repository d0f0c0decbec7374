//go:build linux

package main

import (
	"io"
	"net"
	"os"
	"syscall"
)

// makeConduit makes a Unix socket pair or a pipe. The next child inherits the other end.
func makeConduit(unix bool) io.ReadWriteCloser {
	if !unix {
		r, w, err := os.Pipe()
		must(err)
		extra = []*os.File{r}
		return w
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(err)
	extra = []*os.File{os.NewFile(uintptr(fds[1]), "")}
	return socketOf(os.NewFile(uintptr(fds[0]), ""))
}

// inheritedConduit returns the end that the parent made.
func inheritedConduit(unix bool) io.ReadWriteCloser {
	f := os.NewFile(3, "")
	if !unix {
		return f
	}
	return socketOf(f)
}

func socketOf(f *os.File) io.ReadWriteCloser {
	defer f.Close()
	c, err := net.FileConn(f)
	must(err)
	return c
}

// streamWriter writes n messages of size/batch bytes, batch of them at a time.
type streamWriter struct {
	unix        bool
	size, batch int
	w           io.ReadWriteCloser
}

func (x *streamWriter) open()  { x.w = makeConduit(x.unix) }
func (x *streamWriter) close() { x.w.Close() }

func (x *streamWriter) run(n int) {
	b := make([]byte, x.size)
	for i := 0; i < n; i += x.batch {
		_, err := x.w.Write(b)
		must(err)
	}
}

// streamReader is the other side of streamWriter.
type streamReader struct {
	unix        bool
	size, batch int
	r           io.ReadWriteCloser
}

func (x *streamReader) open()  { x.r = inheritedConduit(x.unix) }
func (x *streamReader) close() {}

func (x *streamReader) run(n int) {
	b := make([]byte, x.size)
	for i := 0; i < n/x.batch*x.batch; i += x.batch {
		_, err := io.ReadFull(x.r, b)
		must(err)
	}
}
