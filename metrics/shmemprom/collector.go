// Package shmemprom collects the metrics of shared memory segments for the Prometheus client
// library. It is a module of its own; package metrics says what the metrics are.
package shmemprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shmembox/shmem/metrics"
)

// NewCollector returns a Collector of the metrics of the segments in a directory. A nil opts is the
// default. Each Collect is one scan; see metrics.Scanner. If the directory cannot be read, so that
// there are no samples, the scrape gets the error.
//
//	prometheus.MustRegister(shmemprom.NewCollector(nil))
//
// Two collectors, for two directories, need a label that tells their metrics apart: see
// prometheus.WrapRegistererWith.
func NewCollector(opts *metrics.Options) prometheus.Collector {
	c := &collector{scanner: metrics.New(opts), descs: map[*metrics.Metric]*prometheus.Desc{}}
	for _, m := range metrics.Table() {
		c.descs[m] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

// A collector is safe for concurrent use: descs does not change, and a Scanner locks itself.
type collector struct {
	scanner *metrics.Scanner
	descs   map[*metrics.Metric]*prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics.Table() {
		ch <- c.descs[m]
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	samples, err := c.scanner.Scan()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.descs[metrics.Table()[0]], err)
		return
	}
	for _, s := range samples {
		kind := prometheus.GaugeValue
		if s.Metric.Type == metrics.Counter {
			kind = prometheus.CounterValue
		}
		m, err := prometheus.NewConstMetric(c.descs[s.Metric], kind, s.Value, s.Labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(c.descs[s.Metric], err)
		}
		ch <- m
	}
}
