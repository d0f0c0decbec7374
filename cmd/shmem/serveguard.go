package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// What the server takes no part in: requests that another site has a browser make, requests under a
// name that is not ours (DNS rebinding), and those of other users of this machine.

// securityHeaders go with every response. The page has no inline script or style, and loads nothing
// from elsewhere.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; " +
		"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	"Cache-Control":                "no-store",
}

// guard refuses what is not for this server, and sets the headers.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range securityHeaders {
			w.Header().Set(name, value)
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "it only reads: GET and HEAD")
		case !s.isHost(r.Host):
			refuse(w, http.StatusMisdirectedRequest, "not a host name of this server; "+
				"shmem serve --host adds one")
		case isCrossSite(r):
			refuse(w, http.StatusForbidden, "the request comes from another web site")
		case r.URL.Path != "/metrics" && isStranger(r.Context()):
			refuse(w, http.StatusForbidden, "the request comes from another user; "+
				"shmem serve --any-user takes it")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func refuse(w http.ResponseWriter, code int, why string) {
	http.Error(w, "shmem serve: "+why, code)
}

// isHost reports whether a Host header names this server. The port may be another one: that of a
// tunnel. A name that is not known may be one that its owner has pointed here, so that a page of
// theirs counts as ours in a browser; an IP address cannot be.
func (s *server) isHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "localhost" || slices.ContainsFunc(s.cmd.Host, func(h string) bool {
		return strings.EqualFold(h, name)
	}) {
		return true
	}
	own := s.cmd.Listen
	if h, _, err := net.SplitHostPort(own); err == nil {
		own = h
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return strings.EqualFold(name, own) && own != ""
	}
	if ip.IsLoopback() {
		return true
	}
	ours, err := netip.ParseAddr(own)
	return own == "" || err == nil && (ours.IsUnspecified() || ours == ip)
}

// isCrossSite reports whether a page of another site has a browser make the request. To follow a
// link to the page is all right: the page shows the other site nothing.
func isCrossSite(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate" ||
		r.Header.Get("Sec-Fetch-Dest") != "document"
}

// A strangerKey marks the context of a connection of another user of this machine.
type strangerKey struct{}

func isStranger(ctx context.Context) bool { return ctx.Value(strangerKey{}) != nil }

// peer notes whether a connection comes from another user.
func (s *server) peer(ctx context.Context, c net.Conn) context.Context {
	from, ok := c.RemoteAddr().(*net.TCPAddr)
	to, ok2 := c.LocalAddr().(*net.TCPAddr)
	if s.cmd.AnyUser || !ok || !ok2 || !from.IP.IsLoopback() {
		return ctx
	}
	uid, ok := socketUser(from.AddrPort(), to.AddrPort())
	if !ok || uid != 0 && uid != os.Geteuid() {
		return context.WithValue(ctx, strangerKey{}, true)
	}
	return ctx
}

// A limited listener has so many connections at a time. More of them wait in the kernel.
type limited struct {
	net.Listener
	room chan struct{} // an element for each connection
	done chan struct{} // closed by Close
	once sync.Once
}

func newLimited(l net.Listener, most int) *limited {
	return &limited{Listener: l, room: make(chan struct{}, most), done: make(chan struct{})}
}

// Accept waits for room, and for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

// Close ends Accept.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection, and makes room.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// socketUser returns the user of the process at the other end of a connection on this machine, by
// the addresses of both ends as that process has them.
func socketUser(from, to netip.AddrPort) (uid int, ok bool) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(b)) {
			f := strings.Fields(l)
			if len(f) < 8 || kernelAddress(f[1]) != plainAddress(from) ||
				kernelAddress(f[2]) != plainAddress(to) {
				continue
			}
			uid, err := strconv.Atoi(f[7])
			return uid, err == nil
		}
	}
	return 0, false
}

func plainAddress(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// kernelAddress reads an address of /proc/net/tcp or tcp6: words of 32 bits in hex, in the order of
// bytes of this machine, and the port.
func kernelAddress(s string) netip.AddrPort {
	address, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(address)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil {
		return netip.AddrPort{}
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	ip, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n))
}
