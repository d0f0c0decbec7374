package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// shmem serve: this file has the command and the server, serveconn.go its connections,
// serveguard.go which requests it takes, lookout.go the look that all clients share, servejson.go
// the JSON, page what a browser shows.

// serveCmd serves a live page and metrics.
type serveCmd struct {
	Listen  string   `default:"127.0.0.1:9110" placeholder:"ADDRESS" help:"Address and port, or unix:PATH (${default})."`
	Values  bool     `help:"Show values and messages too."`
	Host    []string `placeholder:"NAME" help:"Another host name under which clients may ask, such as that of a proxy."`
	AnyUser bool     `help:"Take requests of other users of this machine, and count their segments."`
}

func (*serveCmd) Help() string {
	return `Serves a page for a browser, and /metrics for Prometheus. The page shows what check
finds, and all segments with their traffic; a segment's own page has its schema, attachments, locks
and waiters. It only reads, and looks at the segments only while a client asks.

It listens on loopback unless --listen says otherwise. There it takes requests of processes of this
user and of root; --any-user takes all. /metrics is open to all processes that can connect. On
another address there is no such check, and no password: all processes that can connect can read.
With unix:PATH the permissions of the socket decide, and "ssh -L 9110:PATH" leads to it.

A request must name the host as loopback, as --listen or --host have it, or by an IP address if
--listen is one. Requests that another web site has a browser make are refused.`
}

func (c *serveCmd) Run(e *env) error {
	l, err := c.listen()
	if err != nil {
		return usageError{err}
	}
	s := newServer(e, c)
	defer s.lookout.close()
	if l.Addr().Network() == "unix" {
		fmt.Fprintf(e.out, "serving %s at %s (Ctrl-C ends it)\n", clean(e.dir), l.Addr())
	} else {
		fmt.Fprintf(e.out, "serving %s at http://%s/ (Ctrl-C ends it)\n", clean(e.dir), l.Addr())
	}
	if err := e.stdout.flush(); err != nil {
		return err
	}
	return s.serve(e.ctx, l)
}

// listen opens the address. The socket of a path is for this user alone.
func (c *serveCmd) listen() (net.Listener, error) {
	path, ok := strings.CutPrefix(c.Listen, "unix:")
	if !ok {
		return net.Listen("tcp", c.Listen)
	}
	removeStale(path)
	// The mode is set before the socket has a name: at no time can other users connect.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = setMode(fd, 0o600) }), err)
	}}
	return private.Listen(context.Background(), "unix", path)
}

// removeStale removes a socket of this user that no process listens at: a killed server leaves it.
func removeStale(path string) {
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Type() != fs.ModeSocket {
		return
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	if uid, ok := userOf(st); ok && int(uid) == os.Geteuid() && errors.Is(err, errNoListener) {
		os.Remove(path)
	}
}

// A server answers the requests of clients.
type server struct {
	*env
	cmd     *serveCmd
	lookout *lookout
	metrics http.Handler
}

func newServer(e *env, c *serveCmd) *server {
	l := newLookout(e)
	return &server{env: e, cmd: c, lookout: l, metrics: newGauge(l, c.AnyUser)}
}

// Bounds of what a client may keep busy.
const (
	maxConns   = 64
	maxHeader  = 16 << 10
	maxServing = 20 * time.Second // of a response, also to a slow client
	partingFor = 3 * time.Second  // for responses that are under way when the server ends
)

// serve takes requests until ctx is done.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	conns := newLimited(l, maxConns)
	h := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      maxServing,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       s.peer,
		ConnState:         conns.changed,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that break off
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(conns) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	parting, cancel := context.WithTimeout(context.Background(), partingFor)
	defer cancel()
	if err := h.Shutdown(parting); err != nil {
		_ = h.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil // a signal is how a server is meant to end
}

// handler returns what answers requests.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, asset := range assets {
		mux.Handle("/"+path, asset)
	}
	mux.Handle("/{$}", assets["index.html"])
	mux.HandleFunc("/api/state", s.state)
	mux.HandleFunc("/api/segment", s.segment)
	mux.Handle("/metrics", s.metrics)
	return s.guard(mux)
}

// state answers with the JSON of all segments, or of those that have changed since the look that
// the client has seen.
func (s *server) state(w http.ResponseWriter, r *http.Request) {
	b, err := s.lookout.state(r.URL.Query().Get("since"), s.cmd.Values)
	s.answer(w, b, err)
}

// segment answers with the JSON of one segment.
func (s *server) segment(w http.ResponseWriter, r *http.Request) {
	b, err := s.lookout.segment(r.URL.Query().Get("id"), s.cmd.Values)
	s.answer(w, b, err)
}

// errNoSegment is returned for an id that no segment has.
var errNoSegment = errors.New("there is no such segment any more")

// answer writes JSON, or an error as JSON.
func (s *server) answer(w http.ResponseWriter, b []byte, err error) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, errNoSegment) {
			code = http.StatusNotFound
		}
		w.WriteHeader(code)
		b = encodeJSON(jsonServeError{clean(err.Error())})
	}
	_, _ = w.Write(b) // the client is gone
}
