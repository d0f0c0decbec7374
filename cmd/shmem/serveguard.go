package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
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
	if s.cmd.AnyUser {
		return ctx
	}
	from, ok := c.(*limitedConn)
	if !ok {
		return context.WithValue(ctx, strangerKey{}, true)
	}
	if !from.local {
		return ctx
	}
	if !from.known || from.uid != 0 && from.uid != os.Geteuid() {
		return context.WithValue(ctx, strangerKey{}, true)
	}
	return ctx
}
