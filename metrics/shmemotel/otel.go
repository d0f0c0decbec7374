// Package shmemotel observes the metrics of shared memory segments for OpenTelemetry. It is a
// module of its own; package metrics says what the metrics are.
package shmemotel

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/shmembox/shmem/metrics"
)

// Register makes an observable instrument of each metric, which observe the segments in a
// directory. A nil opts is the default. Each collection is one scan; see metrics.Scanner. If the
// directory cannot be read, the collection gets the error. Unregister of the Registration ends it.
//
//	_, err := shmemotel.Register(otel.Meter("shmem"), nil)
//
// Name says what the instruments are called. Attributes are the labels of the metric.
func Register(meter metric.Meter, opts *metrics.Options) (metric.Registration, error) {
	o := &observer{
		scanner:     metrics.New(opts),
		instruments: map[*metrics.Metric]metric.Float64Observable{},
	}
	var all []metric.Observable
	for _, m := range metrics.Table() {
		i, err := instrument(meter, m)
		if err != nil {
			return nil, fmt.Errorf("shmemotel: %s: %w", Name(m), err)
		}
		o.instruments[m] = i
		all = append(all, i)
	}
	return meter.RegisterCallback(o.observe, all...)
}

// instrument makes the instrument of a metric.
func instrument(meter metric.Meter, m *metrics.Metric) (metric.Float64Observable, error) {
	if m.Type == metrics.Counter {
		return meter.Float64ObservableCounter(Name(m),
			metric.WithDescription(m.Help), metric.WithUnit(unit(m)))
	}
	return meter.Float64ObservableGauge(Name(m),
		metric.WithDescription(m.Help), metric.WithUnit(unit(m)))
}

// Name returns the name of the instrument of a metric: a dot behind shmem and behind the thing, and
// no suffix for the unit and the type. So shmem_queue_sent_messages_total is
// shmem.queue.sent_messages. An exporter for Prometheus makes the same name of it again.
func Name(m *metrics.Metric) string {
	name := strings.TrimSuffix(m.Name, "_total")
	if u := m.Unit(); u != "" {
		name = strings.TrimSuffix(name, "_"+u)
	}
	return strings.Replace(name, "_", ".", 2)
}

// unit returns the unit as UCUM has it.
func unit(m *metrics.Metric) string {
	return map[string]string{"bytes": "By", "seconds": "s"}[m.Unit()]
}

// An observer is safe for concurrent use: instruments does not change, and a Scanner locks itself.
type observer struct {
	scanner     *metrics.Scanner
	instruments map[*metrics.Metric]metric.Float64Observable
}

// observe is called at each collection.
func (o *observer) observe(_ context.Context, to metric.Observer) error {
	samples, err := o.scanner.Scan()
	if err != nil {
		return err
	}
	for _, s := range samples {
		labels := make([]attribute.KeyValue, len(s.Labels))
		for i, l := range s.Labels {
			labels[i] = attribute.String(s.Metric.Labels[i], l)
		}
		to.ObserveFloat64(o.instruments[s.Metric], s.Value, metric.WithAttributes(labels...))
	}
	return nil
}
