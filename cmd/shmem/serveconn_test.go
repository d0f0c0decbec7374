//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// An unread response is one whose client does not read until released.
type unread struct {
	http.ResponseWriter
	begun, released chan struct{}
}

func (u unread) Write(b []byte) (int, error) {
	close(u.begun)
	<-u.released
	return len(b), nil
}

// TestServeUnread: a client that does not read its response holds up no other one.
func TestServeUnread(t *testing.T) {
	s := newServer(&env{ctx: t.Context(), dir: t.TempDir(), unlinked: inspect.Unlinked},
		&serveCmd{Listen: "127.0.0.1:0"})
	defer s.lookout.close()
	for _, path := range []string{"/metrics", "/api/state", "/api/segment?id=x", "/", "/app.js"} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		u := unread{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
		first, second := make(chan struct{}), make(chan struct{})
		go func() { s.handler().ServeHTTP(u, r); close(first) }()
		<-u.begun
		go func() { s.handler().ServeHTTP(httptest.NewRecorder(), r); close(second) }()
		select {
		case <-second:
		case <-time.After(20 * time.Second):
			t.Errorf("%s waits for a client that does not read", path)
		}
		close(u.released)
		<-first
	}
}

// TestServeCrowd: clients that connect and send nothing keep no other one out.
func TestServeCrowd(t *testing.T) {
	url := served(t, t.TempDir(), &serveCmd{Listen: "127.0.0.1:0"})
	var all []net.Conn
	for range maxConns + 8 {
		c, err := net.Dial("tcp", url[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	client := &http.Client{Timeout: 20 * time.Second}
	for _, path := range []string{"/metrics", "/api/state"} {
		a, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
	}
	// The first ones have been displaced, the last one has not.
	b := make([]byte, 1)
	if n, err := all[0].Read(b); n != 0 || err == nil {
		t.Errorf("the first connection reads %d bytes, %v", n, err)
	}
	if _, err := fmt.Fprint(all[len(all)-1], "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Error(err)
	}
	if n, err := all[len(all)-1].Read(b); n != 1 || err != nil {
		t.Errorf("the last connection reads %d bytes, %v", n, err)
	}
}

// TestDisplaced: which connection one more displaces.
func TestDisplaced(t *testing.T) {
	const busy = true
	at := func(name string, busy bool, s int) *limitedConn {
		return &limitedConn{client: client{name: name}, busy: busy, since: time.Unix(int64(s), 0)}
	}
	for want, all := range map[string][]*limitedConn{
		"none": {at("a", busy, 1), at("b", !busy, 2)},
		"b 2":  {at("a", !busy, 1), at("b", !busy, 2), at("b", !busy, 3)},
		"b 3":  {at("b", busy, 2), at("b", !busy, 3), at("a", !busy, 4)},
		"b 1":  {at("b", busy, 1), at("a", !busy, 0), at("b", busy, 3)},
		"a 1":  {at("a", !busy, 1), at("b", !busy, 2), at("c", !busy, 3)},
	} {
		l := newLimited(nil, 2)
		for _, c := range all {
			l.all[c] = true
		}
		got := "none"
		if c := l.displaced(all[len(all)-1]); c != nil {
			got = fmt.Sprintf("%s %d", c.name, c.since.Unix())
		}
		if got != want {
			t.Errorf("%s is displaced, want %s", got, want)
		}
	}
}

// TestServeSocket: a socket is for this user alone from the moment that it has a name, and takes
// the place of one that a killed server has left, of nothing else.
func TestServeSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	c := &serveCmd{Listen: "unix:" + path}
	defer syscall.Umask(syscall.Umask(0))
	watch, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(watch)
	if _, err := syscall.InotifyAddWatch(watch, dir, syscall.IN_CREATE|syscall.IN_ATTRIB); err != nil {
		t.Fatal(err)
	}
	l, err := c.listen()
	if err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 4096)
	n, err := syscall.Read(watch, events)
	if err != nil || n < 16 {
		t.Fatalf("%d bytes of events, %v", n, err)
	}
	var masks []uint32
	for b := events[:n]; len(b) >= 16; b = b[16+binary.NativeEndian.Uint32(b[12:]):] {
		masks = append(masks, binary.NativeEndian.Uint32(b[4:]))
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 || len(masks) != 1 || masks[0] != syscall.IN_CREATE {
		t.Errorf("mode %v, %v after events %x: it was made with another mode", st.Mode(), err, masks)
	}
	if l, err := c.listen(); err == nil {
		l.Close()
		t.Error("two servers listen at one path")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if it had been killed
	l.Close()
	if l, err = c.listen(); err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := c.listen(); err == nil {
		l.Close()
		t.Error("it listens in place of a file")
	}
	if b, err := os.ReadFile(path); !bytes.Equal(b, []byte("data")) {
		t.Errorf("the file has %q, %v", b, err)
	}
}
