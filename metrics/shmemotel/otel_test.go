package shmemotel_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/shmembox/shmem/metrics"
	"github.com/shmembox/shmem/metrics/shmemotel"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/tests/metricstage"
)

func TestMain(m *testing.M) { shmemtest.Main(m, metricstage.Role) }

// reader returns what collects the metrics of a directory.
func reader(t *testing.T, opts *metrics.Options) *metric.ManualReader {
	t.Helper()
	r := metric.NewManualReader()
	p := metric.NewMeterProvider(metric.WithReader(r))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	if _, err := shmemotel.Register(p.Meter("shmem"), opts); err != nil {
		t.Fatal(err)
	}
	return r
}

// collect returns the metrics by their names.
func collect(t *testing.T, r *metric.ManualReader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// points returns the data of a metric, and whether it is a sum that only grows.
func points(m metricdata.Metrics) (all []metricdata.DataPoint[float64], counter bool) {
	switch d := m.Data.(type) {
	case metricdata.Gauge[float64]:
		return d.DataPoints, false
	case metricdata.Sum[float64]:
		return d.DataPoints, d.IsMonotonic
	}
	return nil, false
}

// value returns the value of a metric with some attributes.
func value(t *testing.T, all map[string]metricdata.Metrics, name string, labels ...string) float64 {
	t.Helper()
	data, _ := points(all[name])
next:
	for _, p := range data {
		for i := 0; i < len(labels); i += 2 {
			if v, ok := p.Attributes.Value(attribute.Key(labels[i])); !ok ||
				v.AsString() != labels[i+1] {
				continue next
			}
		}
		return p.Value
	}
	t.Errorf("there is no %s of %q", name, labels)
	return -1
}

// TestEveryMetric: each metric of the table is collected, with its type and unit, and says what
// there is, also when a process is killed between two collections.
func TestEveryMetric(t *testing.T) {
	stage := metricstage.Start(t)
	r := reader(t, &metrics.Options{Dir: stage.Dir, Timeout: -1, Process: true,
		Findings: func() []metrics.Finding {
			return []metrics.Finding{{Kind: "wedged", Level: "critical"}}
		}})
	all := collect(t, r)
	for _, m := range metrics.Table() {
		got := all[shmemotel.Name(m)]
		data, counter := points(got)
		if len(data) == 0 || counter != (m.Type == metrics.Counter) || got.Description != m.Help {
			t.Errorf("%s: %d points, a counter: %v, %q", m.Name, len(data), counter,
				got.Description)
		}
		if name := exported(got, counter); name != m.Name {
			t.Errorf("an exporter would make %s of %s", name, m.Name)
		}
		if len(data) > 0 && data[0].Attributes.Len() != len(m.Labels) {
			t.Errorf("%s has attributes %v", m.Name, data[0].Attributes)
		}
	}
	if len(all) != len(metrics.Table()) {
		t.Errorf("%d metrics, want %d", len(all), len(metrics.Table()))
	}
	const holders, dead = "shmem.lock.holders", "shmem.locks.dead"
	if n := value(t, all, holders, "segment", "config", "state", "alive"); n != 1 {
		t.Errorf("%v holders, want 1", n)
	}
	stage.Child.Kill()
	all = collect(t, r)
	if n := value(t, all, holders, "segment", "config", "state", "dead"); n != 1 {
		t.Errorf("%v dead holders after the kill, want 1", n)
	}
	if n := value(t, all, dead, "segment", "config"); n != 1 {
		t.Errorf("%v dead locks after the kill, want 1", n)
	}
}

// exported is the name that an exporter for Prometheus makes.
func exported(m metricdata.Metrics, counter bool) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if unit := map[string]string{"By": "_bytes", "s": "_seconds"}[m.Unit]; unit != "" {
		name += unit
	}
	if counter {
		name += "_total"
	}
	return name
}

// TestNoDirectory: a directory that cannot be read is the error of the collection.
func TestNoDirectory(t *testing.T) {
	r := reader(t, &metrics.Options{Dir: filepath.Join(t.TempDir(), "none")})
	err := r.Collect(context.Background(), new(metricdata.ResourceMetrics))
	if err == nil || !strings.Contains(err.Error(), "shmem: metrics scan") {
		t.Errorf("the collection returned %v", err)
	}
}

func ExampleRegister() {
	registration, err := shmemotel.Register(otel.Meter("shmem"), &metrics.Options{Process: true})
	if err != nil {
		panic(err)
	}
	defer registration.Unregister()
}

// TestDocument: the page has the line of the example, which is compiled here.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.ReadFile("otel_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, block := range strings.Split(string(page), "```golang\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		found = found || strings.Contains(string(here), "\n\t"+block)
	}
	if !found {
		t.Error("docs/observe.md does not have the example of this file")
	}
}
