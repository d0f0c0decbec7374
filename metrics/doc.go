// Package metrics counts what the segments of a directory do, for Prometheus, OpenTelemetry and the
// like. It looks at them from outside, as package inspect does: it takes no lock and no slot.
//
// Table has all metrics. A Scanner reads them; its WriteText writes the text that Prometheus
// scrapes. Collectors for the Prometheus client library and for OpenTelemetry are modules of their
// own, so that the library needs none of their code:
//
//	github.com/shmembox/shmem/metrics/shmemprom
//	github.com/shmembox/shmem/metrics/shmemotel
//
// docs/observe.md says what to watch, and has rules for alerts and a dashboard.
//
// The number of time series grows with the number of segments, and with nothing else: at most 35
// for a segment. Options.MaxSegments bounds the segments, and Options.Segments chooses them.
package metrics
