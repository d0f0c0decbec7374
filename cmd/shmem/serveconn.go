package main

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The connections of serve: how many there are at a time, of which clients, and the socket of a
// path.

// A limited listener has at most so many connections at a time. One more displaces another: of the
// client that has the most, the one that has been idle for longest, or else the one whose request
// is the oldest. So a client that opens many, or reads slowly, displaces its own ones only.
type limited struct {
	net.Listener
	most int

	mu  sync.Mutex // guards all, and busy and since of its elements
	all map[*limitedConn]bool
}

// A limitedConn is a connection of a limited listener.
type limitedConn struct {
	net.Conn
	of *limited
	client
	busy  bool      // a request is under way
	since time.Time // the last change of busy, or the beginning
}

// A client is at the other end of a connection.
type client struct {
	name  string // the same for all connections of a user, or of another machine
	local bool   // a process of this machine, by TCP
	uid   int    // of a local process, if known
	known bool
}

func newLimited(l net.Listener, most int) *limited {
	return &limited{Listener: l, most: most, all: map[*limitedConn]bool{}}
}

// Accept waits for a connection.
func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	one := &limitedConn{Conn: c, of: l, client: clientOf(c), since: time.Now()}
	l.mu.Lock()
	l.all[one] = true
	worst := l.displaced(one)
	l.mu.Unlock()
	if worst != nil {
		_ = worst.Close()
	}
	return one, nil
}

// displaced returns the connection that the newest one displaces: nil if there is room. l.mu is
// held.
func (l *limited) displaced(newest *limitedConn) *limitedConn {
	if len(l.all) <= l.most {
		return nil
	}
	counts, most := map[string]int{}, 0
	for c := range l.all {
		counts[c.name]++
		most = max(most, counts[c.name])
	}
	var worst *limitedConn
	for c := range l.all {
		if c != newest && counts[c.name] == most && (worst == nil || c.before(worst)) {
			worst = c
		}
	}
	return worst
}

// before reports whether c is displaced sooner than b.
func (c *limitedConn) before(b *limitedConn) bool {
	if c.busy != b.busy {
		return b.busy
	}
	return c.since.Before(b.since)
}

// changed notes the state of a connection.
func (l *limited) changed(c net.Conn, state http.ConnState) {
	one, ok := c.(*limitedConn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one.busy, one.since = state == http.StateActive, time.Now()
}

// Close closes the connection, and makes room.
func (c *limitedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.all, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// clientOf says which client a connection is of.
func clientOf(c net.Conn) client {
	from, ok := c.RemoteAddr().(*net.TCPAddr)
	to, ok2 := c.LocalAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return client{name: "socket"}
	}
	ip, _ := netip.AddrFromSlice(from.IP)
	if ip = ip.Unmap(); !ip.IsLoopback() && !from.IP.Equal(to.IP) {
		if ip.Is6() { // a machine has all addresses of its network
			if p, err := ip.Prefix(64); err == nil {
				ip = p.Addr()
			}
		}
		return client{name: ip.String()}
	}
	uid, ok := socketUser(from.AddrPort(), to.AddrPort())
	return client{name: "user " + strconv.Itoa(uid), local: ip.IsLoopback(), uid: uid, known: ok}
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
