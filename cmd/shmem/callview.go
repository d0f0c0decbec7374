package main

import (
	"fmt"
	"time"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/layout"
)

// hasNoValue reports whether a segment of that type is a map, a cache or a service: it has no
// version, no undo image and no lock of its own.
func hasNoValue(typ string) bool {
	return typ == layout.MapName || typ == layout.CacheName || typ == layout.CallsName
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
