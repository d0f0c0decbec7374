package natsbridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// stalled is for how long a route may be without progress. Tests change it.
var stalled = 5 * time.Second

// hung is for how long the loop of a route may not run. It waits for nothing that takes as long.
const hung = 30 * time.Second

// Alive returns an error if a route hangs: its loop did not run for 30 seconds, which is a fault of
// the bridge. A watchdog that asks for it, or gets no answer, ends the process.
func (b *Bridge) Alive() error { return b.aliveAt(time.Now()) }

func (b *Bridge) aliveAt(now time.Time) error {
	for _, s := range b.Stats() {
		if s.State == "running" && !s.Turn.IsZero() && now.Sub(s.Turn) > hung {
			return fmt.Errorf("natsbridge: %s hangs since %s; restart the process", s.Route,
				s.Turn.Format(time.RFC3339))
		}
	}
	return nil
}

// Handler serves /healthz, which is 200 while Alive returns nil, /readyz and /metrics. /readyz is
// 503 while the connection is cut, and while a route is refused, fails, is stopped, or makes no
// progress for 5 seconds; the reason is in the body. A route that waits for its segment is ready.
// So is one whose origin is silent: the body says since when.
func (b *Bridge) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := b.Alive(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := b.unready(time.Now()); len(why) > 0 {
			http.Error(w, strings.Join(why, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
		for _, s := range b.Stats() {
			if since, stale := s.Stale(time.Now()); stale {
				fmt.Fprintf(w, "%s: stale since %s\n", s.Route, since.Format(time.RFC3339))
			}
		}
	})
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{b})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return mux
}

// unready returns why the bridge is not ready; nothing if it is.
func (b *Bridge) unready(now time.Time) (why []string) {
	if !b.nc.IsConnected() {
		why = append(why, fmt.Sprintf("the connection is cut%s", b.said()))
	}
	for _, s := range b.Stats() {
		switch {
		case s.State == "refused" || s.State == "stopped" || s.State == "cut" ||
			s.State == "waiting" && s.Err != nil && !errors.Is(s.Err, fs.ErrNotExist) ||
			s.State == "waiting" && s.Err == nil &&
				errors.Is(b.nc.LastError(), nats.ErrPermissionViolation):
			why = append(why, fmt.Sprintf("%s: %s: %q%s", s.Route, s.State, fmt.Sprint(s.Err),
				b.said()))
		case s.State == "running" && !s.Progress.IsZero() && s.InFlight+s.Lag > 0 &&
			now.Sub(s.Progress) > stalled:
			why = append(why, fmt.Sprintf("%s: no progress for %v", s.Route,
				now.Sub(s.Progress).Round(time.Second)))
		}
	}
	return why
}

// said returns what the server has refused last, or why the connection failed, as a part of a
// sentence: a request without permission has no other answer.
func (b *Bridge) said() string {
	if err := b.nc.LastError(); err != nil {
		return fmt.Sprintf("; the connection says %q", err.Error())
	}
	return ""
}

// A collector is the metrics of a bridge.
type collector struct{ b *Bridge }

type metric struct {
	name, help string
	kind       prometheus.ValueType
	of         func(*RouteStats) float64
}

var metrics = []metric{
	{"sent_total", "Messages or values put, or stored in a mirror.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Sent) }},
	{"acknowledged_total", "Messages or frames that the server accepted.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Acked) }},
	{"conflated_total", "Values replaced by a newer one before they were sent.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Conflated) }},
	{"lost_total", "Messages that the ring of a topic lost at the origin.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Lost) }},
	{"duplicates_total", "Messages removed because they had come before.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Duplicates) }},
	{"redelivered_total", "Messages delivered again.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Redelivered) }},
	{"resets_total", "Times that the route began anew.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Resets) }},
	{"other_writer_total", "Times that another bridge wrote the same key or stream.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.OtherWriter) }},
	{"local_writes_total", "Changes of a mirror that were put right.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.LocalWrites) }},
	{"poison_total", "Messages moved to the dead letters.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Poison) }},
	{"in_flight", "Messages sent and not accepted yet.",
		prometheus.GaugeValue, func(s *RouteStats) float64 { return float64(s.InFlight) }},
	{"evicted_total", "Entries that the mirror of a map evicted to make room.",
		prometheus.CounterValue, func(s *RouteStats) float64 { return float64(s.Evicted) }},
	{"no_room", "Entries that the mirror of a map has no room for.",
		prometheus.GaugeValue, func(s *RouteStats) float64 { return float64(s.NoRoom) }},
	{"lag", "Messages that wait in the stream.",
		prometheus.GaugeValue, func(s *RouteStats) float64 { return float64(s.Lag) }},
	{"running", "1 while the route runs, 0 while it waits, is cut, refused or stopped.",
		prometheus.GaugeValue, func(s *RouteStats) float64 {
			if s.State == "running" {
				return 1
			}
			return 0
		}},
	{"origin_seconds", "When the bridge that sends last said that it lives, Unix time; 0: never.",
		prometheus.GaugeValue, func(s *RouteStats) float64 {
			if s.Origin.IsZero() {
				return 0
			}
			return float64(s.Origin.UnixNano()) / 1e9
		}},
}

func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc("shmem_bridge_"+m.name, m.help, []string{"route"}, nil)
}

// Describe is that of a prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for i := range metrics {
		ch <- metrics[i].desc()
	}
}

// Collect is that of a prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	all := c.b.Stats()
	for i := range metrics {
		m := &metrics[i]
		desc := m.desc()
		for j := range all {
			ch <- prometheus.MustNewConstMetric(desc, m.kind, m.of(&all[j]), all[j].Route)
		}
	}
}
