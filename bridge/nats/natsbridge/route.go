package natsbridge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shmembox/shmem"
)

// Kinds of routes.
const (
	kindBox   = "box"
	kindTopic = "topic"
	kindQueue = "queue"
	kindMap   = "map"
)

// codes are the kinds in a frame.
var codes = map[string]byte{kindBox: 1, kindTopic: 2, kindQueue: 3, kindMap: 4}

// ErrRoute is returned when a route is not KIND:NAME or KIND:NAME=SEGMENT.
var ErrRoute = errors.New("not a route")

// A route is one segment that goes out or comes in.
type route struct {
	kind, name string
	segment    string // its name here
	out        bool
	stats      counters
	claim      claim
	living     living
}

func parseRoute(s string, out bool) (*route, error) {
	kind, rest, ok := strings.Cut(s, ":")
	name, local, other := strings.Cut(rest, "=")
	if !other {
		local = name
	}
	if codes[kind] == 0 || !ok || !plain(name) || !plain(local) {
		return nil, fmt.Errorf("%w: %q; use box:NAME, topic:NAME, queue:NAME or map:NAME, "+
			"and =SEGMENT where the segment has another name", ErrRoute, s)
	}
	if strings.HasSuffix(local, stateSuffix) {
		return nil, fmt.Errorf("%w: %q: names that end with %s are those of what the bridge "+
			"keeps; use another name for the segment", ErrRoute, s, stateSuffix)
	}
	if kind == kindMap && strings.Contains(name, ".") {
		return nil, fmt.Errorf("%w: %q: the name of a bucket has no dots; use map:%s=%s",
			ErrRoute, s, strings.ReplaceAll(name, ".", "-"), local)
	}
	return &route{kind: kind, name: name, segment: local, out: out}, nil
}

// plain reports whether a name can be that of a segment and of a subject.
func plain(name string) bool {
	if name == "" || len(name) > shmem.MaxName-len(stateSuffix) || name[0] == '.' ||
		strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return r > 127 || !strings.ContainsRune("._-", r) && (r < '0' || r > '9') &&
			(r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// String returns the route with its direction.
func (r *route) String() string {
	way := "in"
	if r.out {
		way = "out"
	}
	return way + " " + r.kind + ":" + r.name
}

// key is that of a box in the bucket.
func (r *route) key() string { return kindBox + "." + r.name }

// subject is that of a topic or queue.
func (r *route) subject(prefix string) string { return prefix + "." + r.kind + "." + r.name }

// stream is the name of the stream of a topic or queue. A name of a segment has no =.
func (r *route) stream(prefix string) string {
	return prefix + "_" + r.kind + "_" + strings.ReplaceAll(r.name, ".", "=")
}

// bucket is the name of the bucket of a map.
func (r *route) bucket(prefix string) string { return prefix + "_" + r.kind + "_" + r.name }
