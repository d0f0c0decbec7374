package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/layout"
)

// hasNoValue reports whether a segment of that type is a map, a cache, a service or a pool: it has
// no version, no undo image and no lock of its own.
func hasNoValue(typ string) bool {
	return typ == layout.MapName || typ == layout.CacheName || typ == layout.CallsName ||
		typ == layout.PoolName
}

// isService reports whether a segment is a service of package rpc.
func isService(o *inspect.Observer) bool { return kindOfSegment(o) == kindService }

// serviceOf reads the counters of a service.
func serviceOf(o *inspect.Observer) (*inspect.CallStats, error) {
	stats, err := o.CallStats()
	if err == nil && stats == nil {
		err = noCounters(o)
	}
	return stats, err
}

// callParts are the counters of a service, each with its label.
func callParts(s *inspect.CallStats) (all [][2]string) {
	add := func(label, format string, args ...any) {
		all = append(all, [2]string{label, fmt.Sprintf(format, args...)})
	}
	add("calls", "%d of %d", s.Waiting+s.Running, s.Capacity)
	add("waiting", "%d, which no server has begun", s.Waiting)
	add("running", "%d, of which clients have given up %d", s.Running, s.Canceled)
	oldest := "-"
	if s.Oldest > 0 {
		oldest = s.Oldest.Round(time.Millisecond).String()
	}
	add("oldest", "%s", oldest)
	add("servers", "%d", s.Servers)
	add("clients", "%d with calls", s.Clients)
	add("handled", "%d, with an error %d", s.Handled, s.Failed)
	add("freed", "%d, whose clients died", s.Freed)
	add("made again", "%d, whose servers died", s.Requeued)
	return all
}

// partLines are counters, each on a line with its label.
func partLines(s style, columns int, parts [][2]string) string {
	longest := 0
	for _, p := range parts {
		longest = max(longest, len(p[0]))
	}
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%s  %s\n", s.cyan(pad(p[0], longest)), cut(p[1], columns-longest-gap))
	}
	return b.String()
}

// service shows a service.
func (c *catCmd) service(e *env, o *inspect.Observer) error {
	stats, err := serviceOf(o)
	if err != nil {
		return err
	}
	if c.JSON {
		return e.json(jsonCallStatsOf(o.Type(), stats))
	}
	fmt.Fprint(e.out, cut(typeName(o.Type()), e.width)+"\n"+
		partLines(e.style, e.width, callParts(stats)))
	return nil
}

// serviceStats reads the counters of a service, also of a newer one that has taken the name.
func (w *watched) serviceStats() (*inspect.CallStats, error) {
	w.follow()
	if !isService(w.o) {
		return nil, fmt.Errorf("%s: %w: another segment has taken the name, which is no service",
			w.cmd.Name, shmem.ErrMismatch)
	}
	return serviceOf(w.o)
}

// serviceLine prints the counters as JSON if they have changed.
func (w *watched) serviceLine() error {
	stats, err := w.serviceStats()
	if err != nil {
		return err
	}
	return w.line(json.Marshal(jsonCallStatsOf(w.o.Type(), stats)))
}

// serviceFrame shows the counters, and how many calls are handled a second.
func (w *watched) serviceFrame() (string, error) {
	stats, err := w.serviceStats()
	if err != nil {
		return "", err
	}
	return w.partFrame(stats.Handled, callParts(stats))
}

// partFrame shows counters, and the rate of n, which only grows.
func (w *watched) partFrame(n uint64, parts [][2]string) (string, error) {
	st, err := w.o.Status()
	if err != nil {
		return "", err
	}
	rate, now := "", time.Now()
	if !w.at.IsZero() {
		rate = perSecond(float64(n-w.sent)/now.Sub(w.at).Seconds()) + "/s"
	}
	w.sent, w.at = n, now
	return w.head(st, typeName(w.o.Type()), rate, now) +
		w.style.faint(fmt.Sprintf("%d attached", len(st.Peers))) + "\n\n" +
		partLines(w.style, w.width, parts), nil
}

// callText is the counters of a service on one line.
func callText(s *inspect.CallStats) string {
	text := fmt.Sprintf("%d of %d calls: %d waiting, %d running", s.Waiting+s.Running, s.Capacity,
		s.Waiting, s.Running)
	if s.Canceled > 0 {
		text += fmt.Sprintf(" (%d given up by their clients)", s.Canceled)
	}
	text += fmt.Sprintf("; %s, %s with calls", plural(uint64(s.Servers), "server"),
		plural(uint64(s.Clients), "client"))
	if s.Oldest > 0 {
		text += ", the oldest call for " + s.Oldest.Round(time.Millisecond).String()
	}
	text += fmt.Sprintf("; %d handled", s.Handled)
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d with an error", s.Failed)
	}
	if s.Freed > 0 {
		text += fmt.Sprintf(", %d freed (their client died)", s.Freed)
	}
	if s.Requeued > 0 {
		text += fmt.Sprintf(", %d made again (their server died)", s.Requeued)
	}
	return text
}

// callName is the type of a service.
func callName(request, reply *inspect.Type) string {
	return layout.CallsName + "[" + cut(request.String(), 40) + ", " + cut(reply.String(), 40) + "]"
}

type jsonCallStats struct {
	Request  string  `json:"request"`
	Reply    string  `json:"reply"`
	Capacity int     `json:"capacity"`
	Servers  int     `json:"servers"`
	Clients  int     `json:"clients"` // with calls
	Waiting  int     `json:"waiting"`
	Running  int     `json:"running"`
	Canceled int     `json:"canceled"`
	Oldest   float64 `json:"oldestSeconds"` // of the oldest call
	Handled  count64 `json:"handled"`
	Failed   count64 `json:"failed"`
	Freed    count64 `json:"freed"`
	Requeued count64 `json:"requeued"`
}

func jsonCallStatsOf(t *inspect.Type, s *inspect.CallStats) *jsonCallStats {
	request, reply := t.CallTypes()
	return &jsonCallStats{
		Request: request.String(), Reply: reply.String(), Capacity: s.Capacity, Servers: s.Servers,
		Clients: s.Clients, Waiting: s.Waiting, Running: s.Running, Canceled: s.Canceled,
		Oldest: s.Oldest.Seconds(), Handled: count64(s.Handled), Failed: count64(s.Failed),
		Freed: count64(s.Freed), Requeued: count64(s.Requeued),
	}
}
